"""What is ingested: which batch holds it, sides of the split, files that change behind our back, pictures too small for the crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.method.split import draw_split
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import make_cells, opened, write_stills
from enrich_assets_tests.studies.isolation import tasks


def test_patients_whose_split_the_manifest_leaves_open_are_split_by_quota(tmp_path: Path) -> None:
    wished = {"a": "train", "b": "test"}
    patients = [*wished, *"cdefgh"]
    rows = [{"patient_id": p, "clip_id": p, "split": wished.get(p), "label": "NT"} for p in patients]
    archive = opened(tmp_path / "home")
    ingest(archive, str(write_stills(tmp_path / "drop", rows)), "one")
    make_cells(archive, "one")
    settings = archive.profile.split
    sides = Catalogue(archive).split(["one"]).sides.to_dict()
    drawn = draw_split({p: {"NT"} for p in patients}, test_share=settings.test_share, salt=settings.salt, given=wished)
    assert sides == {patient: placed.side for patient, placed in drawn.items()}
    assert list(sides.values()).count("test") == 3, "0.4 of eight"
    assert Catalogue(archive).frame_table()["split"].isin(["train", "test"]).all()
    for check in ("split@patients_disjoint", "split@manifest_moves_nobody"):
        assert archive.store.receipts.require(Cell(check, "one")).metrics["passed"]


def test_a_file_that_changed_since_it_was__refused(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    folder = write_stills(tmp_path / "drop", [{"patient_id": p, "clip_id": p, "label": "NT"} for p in "ab"])
    ingest(archive, str(folder), "one")
    Image.fromarray(np.zeros((60, 60), np.uint8)).save(folder / "i0.png")
    make_cells(archive, "one", "studies", "frames")
    (refused,) = Catalogue(archive).frames(["one"]).table("refused").itertuples()
    assert refused.path == str(folder / "i0.png")
    assert "has changed since it was ingested" in refused.reason
    assert list(Catalogue(archive).frames(["one"]).frame_table["clip_id"]) == ["b/b"]


def test_a_file_that_brings_its_decoder_down_is_refused_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrich_assets.studies.readers.read_pictures", tasks.read_or_die)
    archive = opened(tmp_path / "home")
    folder = write_stills(tmp_path / "drop", [{"patient_id": p, "clip_id": p, "label": "NT"} for p in "abcd"])
    for number, name in ((1, "crash"), (2, "hoard")):
        (folder / f"i{number}.png").rename(folder / f"{name}.png")
        manifest = folder / "manifest.csv"
        manifest.write_text(manifest.read_text().replace(f"i{number}.png", f"{name}.png"))
    ingest(archive, str(folder), "one")
    make_cells(archive, "one", "studies", "frames")
    frames = Catalogue(archive).frames(["one"])
    reasons = {
        Path(path).stem: reason for path, reason in frames.table("refused")[["path", "reason"]].itertuples(index=False)
    }
    assert reasons.keys() == {"crash", "hoard"}
    assert "brought its decoder down (SIGSEGV)" in reasons["crash"]
    assert "needs more than 4,096 MiB to be decoded" in reasons["hoard"]
    assert list(frames.frame_table["clip_id"]) == ["a/a", "d/d"]


def test_a_picture_too_small_for_the_crop_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "frames: {crop: [0, 0, 50]}\n")
    folder = write_stills(tmp_path / "drop", [{"patient_id": p, "clip_id": p, "label": "NT"} for p in "ab"])
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(folder / "i1.png")
    ingest(archive, str(folder), "one")
    make_cells(archive, "one", "studies", "frames")
    (refused,) = Catalogue(archive).frames(["one"]).table("refused").itertuples()
    assert refused.path == str(folder / "i1.png")
    assert "crop [0, 0, 50] leaves the picture of 40x60" in refused.reason
    assert list(Catalogue(archive).frames(["one"]).frame_table["clip_id"]) == ["a/a"]


def test_a_mask_that_changed_since_it_was__not_used(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "tasks: {chambers: {classes: [background, LV]}}\n")
    rows = [{"patient_id": p, "clip_id": p, "mask_path": f"m{p}.png"} for p in "ab"]
    folder = write_stills(tmp_path / "drop", rows)
    for patient in "ab":
        Image.fromarray(np.eye(60, dtype=np.uint8)).save(folder / f"m{patient}.png")
    ingest(archive, str(folder), "one")
    Image.fromarray(np.ones((60, 60), np.uint8)).save(folder / "ma.png")
    make_cells(archive, "one")
    assert list(Catalogue(archive).labels().of_task("chambers")["frame_id"]) == ["b/b/0"]
    receipt = archive.store.receipts.require(Cell("labels", "one"))
    (problem,) = archive.store.table(receipt, "chambers_problems").itertuples()
    assert problem.item == "a/a/0"
    assert f"{folder}/ma.png" in problem.reason
    assert "has changed since it was ingested" in problem.reason


def test_the_batch_that_holds_the_files_is_named_not_the_last_one(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    folders = {
        name: write_stills(tmp_path / name, [{"patient_id": f"{name}{i}", "clip_id": "c"} for i in range(2)])
        for name in ("one", "two")
    }
    for name, folder in folders.items():
        ingested = ingest(archive, str(folder), name)
        assert (ingested.batch.name, ingested.is_new) == (name, True)
    again = ingest(archive, str(folders["one"]))
    assert (again.batch.name, again.is_new) == ("one", False), "these very files"
    part = tmp_path / "part"
    part.mkdir()
    (part / "i0.png").write_bytes((folders["one"] / "i0.png").read_bytes())
    (part / "manifest.csv").write_text("path,patient_id,clip_id\ni0.png,one0,c\n")
    known = ingest(archive, str(part))
    assert (known.batch.name, known.is_new, known.n_known) == ("one", False, 1), (
        "all of it is known from an earlier batch"
    )
    assert archive.batches == ["one", "two"]
    with_more = write_stills(tmp_path / "more", [{"patient_id": "m", "clip_id": "c"}])
    third = ingest(archive, str(with_more))
    assert (third.batch.name, third.is_new) == ("batch-0001", True)
