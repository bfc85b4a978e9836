"""What arrives: sides of the split, files that change behind our back, pictures that do not fit the crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from enrich_assets.method.split import side_of
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import make, opened, write_stills


def test_patients_whose_split_the_manifest_leaves_open_are_split_by_hash(tmp_path: Path) -> None:
    wished = {"a": "train", "b": "test"}
    patients = [*wished, *"cdefgh"]
    rows = [{"patient_id": p, "clip_id": p, "split": wished.get(p), "label": "NT"} for p in patients]
    archive = opened(tmp_path / "home")
    archive.ingest(str(write_stills(tmp_path / "drop", rows)), "one")
    make(archive, "one")
    settings = archive.profile.split
    sides = dict(archive.split("one")[["patient_id", "split"]].itertuples(index=False))
    assert sides == {p: wished.get(p) or side_of(p, settings.test_share, settings.salt) for p in patients}
    assert archive.frame_table()["split"].isin(["train", "test"]).all()
    checks = archive.store.receipts.require(Cell("split", "one")).figures["checks"]
    assert [(check["name"], check["passed"]) for check in checks] == [("patients_disjoint", True)]


def test_a_file_that_changed_since_it_was_taken_in_is_refused(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    folder = write_stills(tmp_path / "drop", [{"patient_id": p, "clip_id": p, "label": "NT"} for p in "ab"])
    archive.ingest(str(folder), "one")
    Image.fromarray(np.zeros((60, 60), np.uint8)).save(folder / "i0.png")
    make(archive, "one", "studies", "frames")
    (refused,) = archive.frames.refused("one").itertuples()
    assert refused.path == str(folder / "i0.png")
    assert "has changed since it was taken in" in refused.reason
    assert list(archive.frames.table(["one"])["clip_id"]) == ["b/b"]


def test_a_picture_too_small_for_the_crop_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "frames: {crop: [0, 0, 50]}\n")
    folder = write_stills(tmp_path / "drop", [{"patient_id": p, "clip_id": p, "label": "NT"} for p in "ab"])
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(folder / "i1.png")
    archive.ingest(str(folder), "one")
    make(archive, "one", "studies", "frames")
    (refused,) = archive.frames.refused("one").itertuples()
    assert refused.path == str(folder / "i1.png")
    assert "crop [0, 0, 50] leaves the picture of 40x60" in refused.reason
    assert list(archive.frames.table(["one"])["clip_id"]) == ["a/a"]


def test_a_mask_that_changed_since_it_was_taken_in_is_not_used(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "tasks: {chambers: {classes: [background, LV]}}\n")
    rows = [{"patient_id": p, "clip_id": p, "mask_path": f"m{p}.png"} for p in "ab"]
    folder = write_stills(tmp_path / "drop", rows)
    for patient in "ab":
        Image.fromarray(np.eye(60, dtype=np.uint8)).save(folder / f"m{patient}.png")
    archive.ingest(str(folder), "one")
    Image.fromarray(np.ones((60, 60), np.uint8)).save(folder / "ma.png")
    make(archive, "one")
    assert list(archive.labels("chambers")["frame_id"]) == ["b/b/0"]
    receipt = archive.store.receipts.require(Cell("labels", "one"))
    (problem,) = archive.store.table(receipt, "chambers_problems").itertuples()
    assert problem.item == "a/a/0"
    assert f"{folder}/ma.png" in problem.reason
    assert "has changed since it was taken in" in problem.reason
