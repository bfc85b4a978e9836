"""What is no picture is refused by name, with the reason and what to do; a zip reads as what is in it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers import read_clip
from enrich_assets_tests.studies.made_dicom import as_bytes, dataset, sector
from enrich_assets_tests.studies.readers.made_pictures import GREY, SMOOTH, video


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", b"", "is empty"),
        ("a.txt", b"hello", "kind that is not read"),
        ("a.npy", b"\x93NUMPY\x01\0", "kind that is not read"),
        ("a.mp4", b"<html>404</html>" * 30, "does not open as a video"),
        ("a.dcm", b"<html>404</html>" * 30, "DICOM"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + b"x" * 300, "does not decode"),
        ("a.avi", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("a.zip", b"PK\x03\x04 cut", "zip"),
    ],
)
def test_what_is_no_picture_is_refused_with_file_reason_and_remedy(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=reason) as caught:
        read_clip(str(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))
    assert caught.value.remedy


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(UnreadableFile):
            read_clip(str(path))
    with pytest.raises(UnreadableFile, match="no such file"):
        read_clip("memory://nowhere/none.png")


def test_a_zip_with_one_file_reads_as_that_file_and_several_must_be_named(tmp_path: Path) -> None:
    made = as_bytes(dataset(sector(2)))
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    with zipfile.ZipFile(one, "w") as archive:
        archive.writestr("folder/IM1.dcm", made)
        archive.writestr("__MACOSX/._IM1.dcm", b"x")
    assert np.array_equal(read_clip(str(one)).frames, sector(2))
    with zipfile.ZipFile(two, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", made)
        archive.writestr("b.dcm", made)
    with pytest.raises(UnreadableFile, match="2 files"):
        read_clip(str(two))
    assert np.array_equal(read_clip(f"zip://b.dcm::{two}").frames, sector(2))


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.mkv"])
def test_a_damaged_file_in_a_zip_is_refused(tmp_path: Path, name: str) -> None:
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "PNG")
    content = {"a.png": out.getvalue(), "a.dcm": as_bytes(dataset(sector(1)))}.get(name, b"")
    if name == "a.mkv":
        content = Path(video(tmp_path / name, SMOOTH)).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, content)
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    whole[len(content) // 2] ^= 255  # the checksum no longer fits
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(UnreadableFile, match=name):
        read_clip(str(tmp_path / "a.zip"))
