"""Batches of which little or nothing can be used: told by name, and no trouble to the others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.core.stages import Goal
from enrich_assets.settings import Profile
from enrich_assets.studies.errors import ManifestError
from enrich_assets.studies.phantom import write_phantom
from enrich_assets_tests.defs.made_archive import opened, write_stills
from enrich_assets_tests.made_home import finished, run, sql

pytestmark = pytest.mark.long

NO_TRAINING = Goal(train=False)


def undecodable(folder: Path) -> Path:
    (folder / "junk").mkdir()
    (folder / "junk" / "z.png").write_bytes(b"junk")
    (folder / "junk" / "manifest.csv").write_text("path,patient_id,label\nz.png,pz,NT\n")
    return folder / "junk"


def absent(folder: Path) -> Path:
    (folder / "wrong").mkdir()
    (folder / "wrong" / "manifest.csv").write_text("path,patient_id,label\nnowhere/i0.png,p,NT\n")
    return folder / "wrong"


Broken = Callable[[Path], Path]


@pytest.mark.parametrize("bad", [undecodable, absent])
@pytest.mark.parametrize("bad_comes_first", [True, False])
def test_a_batch_without_a_frame_stops_nothing(tmp_path: Path, bad: Broken, bad_comes_first: bool) -> None:
    archive = opened(tmp_path / "home")
    write_phantom(str(tmp_path / "phantom"), patients=8, scale=0.15)
    folders = [bad(tmp_path), tmp_path / "phantom"]
    for folder in folders if bad_comes_first else folders[::-1]:
        ingest(archive, str(folder))
    finished(archive, NO_TRAINING)
    assert sql(archive, "SELECT count(*) n FROM frames")["n"].item() > 50
    (refused,) = sql(archive, "SELECT * FROM refused").itertuples()
    assert refused.path.startswith(str(folders[0]))
    assert run(archive, NO_TRAINING).runs == 0


def test_what_was_ingested_is_corrected_under_its_batchs_name_or_refused(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    rows: list[dict[str, object]] = [{"patient_id": p, "clip_id": "c", "label": "NT"} for p in "ab"]
    folder = write_stills(tmp_path / "drop", rows)
    ingest(archive, str(folder), "one")
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("b,c,NT", "b,c,A4C"))
    again = ingest(archive, str(folder))
    (refused,) = archive.register.refused(again.batch).itertuples()
    assert refused.path == str(folder / "i1.png")
    assert "known from batch one with another label" in refused.reason
    assert "--batch one" in refused.reason
    assert archive.register.rows(archive.batch("one"))["label"].tolist() == ["NT", "NT"]
    ingest(archive, str(folder), "one")
    assert archive.register.rows(archive.batch("one"))["label"].tolist() == ["NT", "A4C"]


def test_frames_of_a_clip_that_is_there_whole_are_not_ingested_again(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    folder = write_stills(tmp_path / "drop", [{"patient_id": "a", "clip_id": "c"}])
    ingest(archive, str(folder), "one")
    (folder / "manifest.csv").write_text("path,patient_id,clip_id,frame_index,mask_path\ni0.png,a,c,0,i0.png\n")
    again = ingest(archive, str(folder))
    assert again.n_files == 0
    (refused,) = archive.register.refused(again.batch).itertuples()
    assert "its clip is in batch one already" in refused.reason


def test_a_batch_is_registered_by_one_at_a_time(tmp_path: Path) -> None:
    """A sensor and a command may ingest at the same moment; neither loses the other's batch."""
    archive = opened(tmp_path / "home")
    folders = [write_stills(tmp_path / f"d{i}", [{"patient_id": f"p{i}", "clip_id": "c"}]) for i in range(8)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as both:
        list(both.map(ingest_one, [(archive.home, archive.profile, folder) for folder in folders]))
    archive.look_again()
    assert archive.batches == [f"batch-{i:04d}" for i in range(1, 9)]


def ingest_one(given: tuple[Path, Profile, Path]) -> None:
    home, profile, folder = given
    ingest(Archive(home, profile), str(folder))


def test_labels_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "tasks: {view: {classes: [NT, A4C]}}\n")
    write_stills(tmp_path / "drop", [{"patient_id": p, "clip_id": "c", "label": "X"} for p in "ab"])
    ingest(archive, str(tmp_path / "drop"))
    lines: list[str] = []
    run(archive, NO_TRAINING, lines.append)
    assert "2 labels not usable for view (a/c/0: label 'X' is no class of task view (NT, A4C)" in lines[0]
    found = sql(archive, "SELECT task, item FROM label_problems ORDER BY item")
    assert found.values.tolist() == [["view", "a/c/0"], ["view", "b/c/0"]]


@pytest.mark.parametrize("name", ["i0.png", "nowhere", "pictures", "several"])
def test_what_is_no_archive_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    archive = opened(tmp_path / "home")
    write_stills(tmp_path / "pictures", [{"patient_id": "a"}])
    (tmp_path / "pictures" / "manifest.csv").rename(tmp_path / "pictures" / "list.csv")
    (tmp_path / "i0.png").write_bytes((tmp_path / "pictures" / "i0.png").read_bytes())
    write_stills(tmp_path / "several" / "one", [{"patient_id": "a"}])
    with pytest.raises((ManifestError, FileNotFoundError)) as error:
        ingest(archive, str(tmp_path / name))
    said = {
        "i0.png": "is neither a table nor a folder",
        "nowhere": "there is no such file or folder",
        "several": f"1 of its folders do; ingest each: {tmp_path}/several/one",
        "pictures": f"name the table that is one: {tmp_path}/pictures/list.csv",
    }
    assert said[name] in str(error.value)
    assert archive.batches == []
