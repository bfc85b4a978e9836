"""Source files that moved: nothing is made again, and they are found where they lie now."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.sources import Moves, lost_files, moved
from enrich_assets.cli import main
from enrich_assets_tests.defs.made_archive import is_fresh, make_cells, opened, write_stills
from enrich_assets_tests.studies.made_dicom import dataset, save, sector


def enrich(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Stills, one of them in a zip, and a sealed DICOM folder, ingested and decoded."""
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ENRICH_PROFILE", str(tmp_path / "home" / "own.yaml"))
    archive = opened(tmp_path / "home")
    folder = write_stills(tmp_path / "old" / "in", [{"patient_id": p, "clip_id": p, "label": "NT"} for p in "abc"])
    with zipfile.ZipFile(folder / "i2.zip", "w") as packed:
        packed.write(folder / "i2.png", "first.png")
        packed.write(folder / "i1.png", "second.png")
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("i2.png", "i2.zip"))
    (folder / "i2.png").unlink()
    ingest(archive, str(folder), "one")
    save(dataset(sector(2), modality="US"), tmp_path / "old" / "DOE" / "IM1")
    ingest(archive, str(tmp_path / "old" / "DOE"), "two")
    for batch in ("one", "two"):
        make_cells(archive, batch, "studies", "frames")
    return archive


def test_files_are_found_where_they_lie_now_and_nothing_is_made_again(archive: Archive, tmp_path: Path) -> None:
    before = Catalogue(archive).frames().frame_table
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert lost_files(archive, "one") is not None
    told = enrich("relocate", str(tmp_path / "old"), str(tmp_path / "new"))
    assert told.exit_code == 0, told.output
    assert "5 of 5 files are there; 5 were compared" in told.output
    for batch in ("one", "two"):
        assert lost_files(archive, batch) is None
        assert is_fresh(archive, "frames", batch)
    make_cells(archive, "one", "frames")
    make_cells(archive, "two", "frames")
    assert Catalogue(Archive.open()).frames().frame_table.equals(before), (
        "decoded again from the new place: the same, paths too"
    )
    again = enrich("ingest", str(tmp_path / "new" / "in"))
    assert "nothing new" in again.output


def test_a_place_where_nothing_lies_or_other_files_do_is_refused(archive: Archive, tmp_path: Path) -> None:
    empty = enrich("relocate", str(tmp_path / "old"), str(tmp_path / "nowhere"))
    assert empty.exit_code == 1
    assert "none of the 5 files" in empty.output
    foreign = enrich("relocate", str(tmp_path / "else"), str(tmp_path / "new"))
    assert foreign.exit_code == 1
    assert "no file of this archive lies below" in foreign.output
    shutil.copytree(tmp_path / "old", tmp_path / "other")
    (tmp_path / "other" / "in" / "i0.png").write_bytes(b"something else")
    changed = enrich("relocate", str(tmp_path / "old"), str(tmp_path / "other"))
    assert changed.exit_code == 1
    assert "are others below" in changed.output
    assert Moves(archive.home).all() == [], "what was refused changes nothing"


def test_what_is_missing_at_the_new_place_is_counted(archive: Archive, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    (tmp_path / "new" / "in" / "i0.png").unlink()
    told = enrich("relocate", str(tmp_path / "old"), str(tmp_path / "new"))
    assert told.exit_code == 0
    assert "4 of 5 files are there" in told.output
    assert "1 are not there" in told.output


def test_moves_follow_one_another_and_leave_likely_names_alone() -> None:
    moves = [("/a", "/b"), ("/b", "/c")]
    assert moved("/a/x.png", moves) == "/c/x.png"
    assert moved("/ab/x.png", moves) == "/ab/x.png"
    assert moved("zip://m.png::/a/z.zip", moves) == "zip://m.png::/c/z.zip"
