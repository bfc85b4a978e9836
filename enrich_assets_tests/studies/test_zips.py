"""Zips: a member is what lies in the archive, whatever it is called; an archive is opened once, however many files it holds."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from enrich_assets.studies import addresses, zips
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.examine import examine
from enrich_assets.studies.manifest import read_manifest


def write(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], **options: Any) -> str:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return str(path)


def test_a_member_named_like_an_address_is_itself(tmp_path: Path) -> None:
    """Incident: `x::file:///...` in one zip gave the pixels of a file in another."""
    other = write(tmp_path / "other.zip", ("x", b"another's"))
    archive = write(tmp_path / "a.zip", (f"x::file://{other}", b"its own"), ("x", b"plain"))
    found = {}
    for member in zips.members(archive):
        with addresses.open_binary(zips.address_of(archive, member)) as file:
            found[member] = file.read()
    assert found == {"x": b"plain", f"x::file://{other}": b"its own"}


def test_an_archive_is_opened_once_for_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Incident: 1,000 members took 17 s, four times as many sixteen times as long."""
    write(tmp_path / "a.zip", *((f"{i}.png", b"%d" % i) for i in range(300)))
    (tmp_path / "manifest.csv").write_text("path,patient_id\na.zip,p\n")
    opened: list[object] = []
    real = zipfile.ZipFile

    def counting(*given: Any, **options: Any) -> zipfile.ZipFile:
        opened.append(given)
        return real(*given, **options)

    monkeypatch.setattr(zipfile, "ZipFile", counting)
    rows, refused = examine(read_manifest(str(tmp_path)))
    assert (len(rows), len(refused), len(opened)) == (300, 0, 1)
    assert rows["sha256"].is_unique


def test_an_archive_written_again_is_opened_again(tmp_path: Path) -> None:
    archive = write(tmp_path / "a.zip", ("x", b"first"))
    before = addresses.source_digest(zips.address_of(archive, "x"))
    write(tmp_path / "a.zip", ("x", b"then another"))
    assert addresses.source_digest(zips.address_of(archive, "x")) != before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_what_is_no_file_in_a_zip_is_refused(tmp_path: Path, kind: int) -> None:
    link = zipfile.ZipInfo("x.png")
    link.create_system, link.external_attr = 3, (kind | 0o644) << 16
    with pytest.raises(UnreadableFile, match="no regular file"):
        zips.members(write(tmp_path / "a.zip", (link, b"/etc/passwd")))


def test_a_zip_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    """Each entry says 3 GiB; two thousand of them share what is there."""
    path = tmp_path / "a.zip"
    write(path, *((f"{i:04d}.png", b"x") for i in range(2000)))
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 24 : at + 28] = struct.pack("<I", 3 << 30)
        at = content.find(b"PK\x01\x02", at + 4)
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"unpacks to 6,000 GiB"):
        zips.members(str(path))


def test_lzma_is_not_unpacked(tmp_path: Path) -> None:
    """Its header says how much memory it wants, up to 4 GiB."""
    with pytest.raises(UnreadableFile, match="compressed in a way that is not read"):
        zips.members(write(tmp_path / "a.zip", ("x", b"x" * 99), compression=zipfile.ZIP_LZMA))
