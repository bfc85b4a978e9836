"""Names of DICOM files, read or refused, stand nowhere but on the disk they came from; who holds the key can open them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from enrich_assets.archive import Archive
from enrich_assets.cli import main
from enrich_assets.studies.sealed_paths import short_name
from enrich_assets_tests.studies.made_dicom import dataset, save, sector

NAME = "VANMALIUS"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path / "home"))
    folder = tmp_path / f"{NAME}_ANNA"
    good = save(dataset(sector(2), modality="US"), folder / f"{NAME}_1.dcm")
    (folder / f"{NAME}_copy.dcm").write_bytes(Path(good).read_bytes())
    (folder / f"{NAME}_broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    os.mkfifo(folder / f"{NAME}_fifo.dcm")
    Path(os.fsdecode(os.fsencode(folder) + f"/{NAME}_".encode() + b"\xff.dcm")).write_bytes(b"x")
    return folder


def test_refused_files_go_by_a_short_name_that_the_key_opens(home: Path) -> None:
    said = CliRunner().invoke(main, ["ingest", str(home)])
    assert said.exit_code == 0, said.output
    assert "1 files" in said.output
    assert "4 refused" in said.output
    assert NAME not in said.output
    archive = Archive.open()
    refused = archive.register.refused(archive.register.all()[0])
    opened = {}
    for path, reason in refused.itertuples(index=False):
        assert NAME not in path + reason
        name = short_name(path)
        assert name in said.output
        found = CliRunner().invoke(main, ["open-name", name])
        opened[Path(found.output.strip()).name] = reason
    assert set(opened) == {f"{NAME}_{what}.dcm" for what in ("copy", "broken", "fifo", "\\xff")}
    original = opened[f"{NAME}_copy.dcm"].removeprefix("is a copy of ")
    assert CliRunner().invoke(main, ["open-name", original]).output.strip() == str(home / f"{NAME}_1.dcm")


def test_nothing_kept_holds_the_name(home: Path) -> None:
    CliRunner().invoke(main, ["ingest", str(home)])
    files = [path for path in (home.parent / "home").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if NAME.encode() in path.read_bytes() or NAME in str(path)]


def test_without_the_key_a_name_stays_closed(home: Path) -> None:
    CliRunner().invoke(main, ["ingest", str(home)])
    archive = Archive.open()
    name = short_name(archive.register.refused(archive.register.all()[0])["path"].iloc[0])
    key = home.parent / "home/pseudonym.key"
    key.unlink()
    key.write_text("ab" * 32)
    found = CliRunner().invoke(main, ["open-name", name])
    assert found.exit_code != 0
    assert "pseudonym.key" in found.output
    assert "no sealed file goes by the name F000" in CliRunner().invoke(main, ["open-name", "F000"]).output
