"""Zip archives: what is in them, and one file of them. Each archive is opened once and read many times.

Members are read by our own hand, never through fsspec's chained addresses: a member called `x::file:///...` would be another file.
"""

from __future__ import annotations

import os
import stat
import threading
import zipfile
from collections import OrderedDict
from typing import IO, BinaryIO, cast

import fsspec

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.files import NotAFile, open_regular

MAX_FILE_BYTES = 4 << 30
_MOST_MEMBERS = 100_000
_MOST_GROWTH = 200  # what an archive of more than `MAX_FILE_BYTES` unpacked may be of its own size
_KEPT_OPEN = 8
_SCHEME, _OF = "zip://", "::"
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # LZMA asks for memory as its header says

_opened: OrderedDict[tuple[str, int, int], zipfile.ZipFile] = OrderedDict()
_opening = threading.Lock()


def address_of(archive: str, member: str) -> str:
    """The address of one file inside an archive."""
    return f"{_SCHEME}{member}{_OF}{archive}"


def parts(url: str) -> tuple[str, str] | None:
    """Archive and member of such an address (the archive stands behind the last `::`); None for any other."""
    if not url.startswith(_SCHEME):
        return None
    member, found, archive = url.removeprefix(_SCHEME).rpartition(_OF)
    return (archive, member) if found else None


def members(archive: str) -> list[str]:
    """The files inside a zip, by name; folders and what archivers add are left out.

    Parameters
    ----------
    archive : str
        Its address.

    Raises
    ------
    UnreadableFile
        It is no zip, is encrypted, holds what is no file, or unpacks to more than an archive of studies does.
    """
    reason = ""
    if _OF in archive:
        raise UnreadableFile(archive, f"has `{_OF}` in its name, which stands between a zip and its files", "rename it")
    try:
        opened, size = _open(archive)
        names = [_checked(archive, info) for info in opened.infolist() if not _is_bookkeeping(info)]
        unpacked = sum(info.file_size for info in opened.infolist())
        if unpacked > max(MAX_FILE_BYTES, _MOST_GROWTH * size):
            raise UnreadableFile(archive, f"unpacks to {unpacked / 2**30:,.0f} GiB, far more than it is", "unpack it")
        if len(names) > _MOST_MEMBERS:
            raise UnreadableFile(archive, f"holds {len(names):,} files", f"at most {_MOST_MEMBERS:,} go into one zip")
        return sorted(set(names))
    except UnreadableFile:
        raise
    except FileNotFoundError:
        reason = "there is no such file"
    except NotAFile as problem:
        raise UnreadableFile(archive, problem.reason, problem.remedy) from None
    except Exception as error:
        reason = f"does not open as a zip ({type(error).__name__}); it may be cut off"
    raise UnreadableFile(archive, reason, "copy it again")


def open_member(archive: str, member: str) -> BinaryIO:
    """Open one file of an archive for reading.

    Raises
    ------
    KeyError
        There is none of that name.
    NotAFile
        It is encrypted, too large, or no file.
    OSError
        The archive cannot be opened.
    """
    opened, _ = _open(archive)
    info = opened.getinfo(member)
    try:
        _checked(archive, info)
    except UnreadableFile as refusal:
        raise NotAFile(refusal.reason, refusal.remedy) from None
    return cast("BinaryIO", opened.open(info))


def has(archive: str, member: str) -> bool:
    """Whether a file of that name is in the archive; False where it does not open."""
    try:
        _open(archive)[0].getinfo(member)
    except (KeyError, OSError, zipfile.BadZipFile):
        return False
    return True


def _checked(archive: str, info: zipfile.ZipInfo) -> str:
    """The name of a member that can be read. Raises UnreadableFile."""
    mode = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 0x1:
        raise UnreadableFile(archive, "is encrypted", "unpack it before ingesting")
    if info.file_size > MAX_FILE_BYTES:
        raise UnreadableFile(archive, "unpacks to more than 4 GiB a file", "cut it into clips")
    if info.compress_type not in _COMPRESSIONS:
        raise UnreadableFile(archive, "is compressed in a way that is not read", "zip it again, or unpack it")
    if mode not in (0, stat.S_IFREG):
        raise UnreadableFile(archive, "holds what is no regular file (a link, a FIFO or a device)", "zip it again")
    return info.filename


def _is_bookkeeping(info: zipfile.ZipInfo) -> bool:
    """Folders, hidden files, a Mac's resource forks, the index of a DICOM medium: of no patient's study."""
    name = info.filename.rpartition("/")[2]
    return (
        info.is_dir()
        or name.startswith((".", "__MACOSX"))
        or info.filename.startswith("__MACOSX/")
        or name.upper() == "DICOMDIR"
    )


def _open(archive: str) -> tuple[zipfile.ZipFile, int]:
    """The archive, opened once as long as it stays as it is, and its size in bytes. What is read of it at once is safe to read at once."""
    local = archive.removeprefix("file://") if archive.startswith("file://") or "://" not in archive else None
    if local is not None:
        state = os.stat(local)
        key = (local, state.st_mtime_ns, state.st_size)
    else:
        fs, path = fsspec.core.url_to_fs(archive)
        key = (archive, 0, int(fs.info(path)["size"] or 0))
    with _opening:
        if key in _opened:
            _opened.move_to_end(key)
            return _opened[key], key[2]
        file = open_regular(local) if local is not None else cast("IO[bytes]", fs.open(path, "rb"))
        try:
            opened = zipfile.ZipFile(file)
        except BaseException:
            file.close()
            raise
        _opened[key] = opened
        while len(_opened) > _KEPT_OPEN:
            _opened.popitem(last=False)  # closed by whoever reads of it last
        return opened, key[2]
