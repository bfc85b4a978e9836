"""Only regular files are opened: a FIFO, a device or a socket holds nobody up, and a link to a folder leads nowhere."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from enrich_assets.archive.ingest import ingest
from enrich_assets.studies import addresses
from enrich_assets.studies.dicom import scan_dicom
from enrich_assets.studies.errors import ManifestError, UnreadableFile
from enrich_assets.studies.examine import examine
from enrich_assets.studies.files import NotAFile, below, shown
from enrich_assets.studies.manifest import read_manifest
from enrich_assets.studies.pseudonyms import Pseudonyms
from enrich_assets.studies.readers import read_clip
from enrich_assets_tests.defs.made_archive import opened
from enrich_assets_tests.studies.made_dicom import dataset, save, sector

KEY = Pseudonyms(bytes(range(32)))


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder of all that is no regular file, beside a good one."""
    folder = tmp_path / "drop"
    save(dataset(sector(1), modality="US"), folder / "good.dcm")
    os.mkfifo(folder / "fifo.dcm")
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket.dcm")
    finally:
        os.chdir(here)
    (folder / "device.dcm").symlink_to("/dev/zero")
    (folder / "nothing.dcm").symlink_to("gone")
    (folder / "loop").symlink_to(folder)
    (folder / "circle").symlink_to("circle")
    (folder / "linked.dcm").symlink_to(save(dataset(sector(1), modality="US"), tmp_path / "elsewhere.dcm"))
    Path(os.fsdecode(os.fsencode(folder) + b"/na\xefve.dcm")).write_bytes(b"x")
    return folder


def test_each_thing_that_is_no_file_is_refused_by_name_and_the_rest_is_read(odd: Path) -> None:
    rows, refused = scan_dicom(str(odd), KEY)
    assert sorted(Path(path).name for path in rows["path"]) == ["good.dcm", "linked.dcm"]
    reasons = {Path(path).name: reason for path, reason in refused.itertuples(index=False)}
    assert "a FIFO (named pipe), not a regular file" in reasons["fifo.dcm"]
    assert "a socket" in reasons["socket.dcm"]
    assert "a device" in reasons["device.dcm"]
    assert "a link to nothing" in reasons["nothing.dcm"]
    assert "a link to a folder, which is not followed" in reasons["loop"]
    assert "cannot be looked at" in reasons["circle"]
    assert "name that is not UTF-8" in reasons["na\\xefve.dcm"]
    assert len(reasons) == 7


def test_a_walk_through_links_that_lead_back_ends(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/up").symlink_to(tmp_path)
    (tmp_path / "a/b/file").write_bytes(b"x")
    found = dict(below(str(tmp_path)))
    assert [path for path, problem in found.items() if problem is None] == [str(tmp_path / "a/b/file")]


def test_a_manifest_may_name_no_fifo_and_no_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "manifest.csv").write_text("path,patient_id\nfifo.png,a\n/dev/zero,b\ngood.png,c\n")
    rows, refused = examine(read_manifest(str(tmp_path)))
    assert list(rows["patient_id"]) == ["c"]
    assert [reason.split(",")[0] for reason in refused["reason"]] == ["is a FIFO (named pipe)", "is a device"]
    for name in ("fifo.png", "/dev/zero"):
        with pytest.raises(UnreadableFile, match="not a regular file"):
            read_clip(str(tmp_path / name))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_manifest_that_is_no_file_is_refused_at_once(tmp_path: Path, make: object) -> None:
    make(tmp_path / "manifest.csv")  # type: ignore[operator]
    with pytest.raises(ManifestError, match=r"manifest\.csv: is a (FIFO|folder)"):
        read_manifest(str(tmp_path / "manifest.csv"))


def test_a_folder_whose_name_is_not_utf8_is_refused_with_its_name(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/J\xfcrgen")
    os.mkdir(folder)
    with pytest.raises(ManifestError, match=r"J\\xfcrgen: has a name that is not UTF-8"):
        ingest(opened(tmp_path / "home"), folder)
    assert KEY.clip(folder) == KEY.clip(folder)  # the register of drops knows it by a keyed hash


def test_names_are_shown_as_they_are_but_for_bytes_that_are_no_text() -> None:
    assert shown("Jürgen 心") == "Jürgen 心"
    assert shown(os.fsdecode(b"J\xfcrgen")) == "J\\xfcrgen"


@pytest.mark.parametrize("url", ["simplecache::memory://x/a.png", "filecache::file:///etc/hostname", "x::memory://x"])
def test_addresses_are_not_chained(url: str) -> None:
    with pytest.raises((NotAFile, FileNotFoundError)), addresses.open_binary(url) as file:
        file.read()


def test_a_local_name_may_hold_colons(tmp_path: Path) -> None:
    path = tmp_path / "a::file:b"
    path.write_bytes(b"mine")
    assert addresses.source_digest(str(path)) == addresses.source_digest(f"file://{path}")
    assert addresses.exists(str(path))
    assert addresses.files_below(str(tmp_path)) == [str(path)]
