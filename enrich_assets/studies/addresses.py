"""Addresses of source files: local paths, fsspec URLs, members of a zip; joining, shortening, opening them.

What the bytes at an address mean belongs to the readers beside this module.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import takewhile
from typing import Any, BinaryIO

import fsspec

from enrich_assets.studies import files, zips
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.files import NotAFile

_ABSOLUTE = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.\-]+://|/|[A-Za-z]:[/\\])")


def local_path(url: str) -> str | None:
    """The path on this machine, or None where the address is a URL of another kind."""
    if url.startswith("file://"):
        return url.removeprefix("file://")
    return None if "://" in url else url


def absolute(url: str) -> str:
    """A local path from the root on (without `file://`); a URL as it is."""
    path = local_path(url)
    return url if path is None else os.path.abspath(path)


def parent(url: str) -> str:
    """The folder that holds `url`: `/a/b.csv` -> `/a`, `memory://m.csv` -> `memory://`."""
    scheme, found, rest = url.rpartition("://")
    folder = posixpath.dirname(rest)
    if not found:
        return folder or "."
    return f"{scheme}://{folder}"


def join(folder: str, name: str) -> str:
    """`name` as an absolute address, resolved against `folder` where it is relative; backslashes become slashes."""
    if "://" not in name:
        name = name.replace("\\", "/")
    if _ABSOLUTE.match(name):
        return posixpath.normpath(name) if name.startswith("/") else name
    scheme, found, rest = folder.rpartition("://")
    joined = posixpath.normpath(posixpath.join(rest, name))
    return f"{scheme}://{joined}" if found else joined


def flat(url: str) -> str:
    """One slash-separated path for any address: the member of a zip stands below its archive, as below a folder."""
    inside = zips.parts(url)
    return f"{inside[0]}/{inside[1]}" if inside else url


def common_folder(urls: Iterable[str]) -> str:
    """The deepest folder that holds all of `urls`, without a slash at its end; empty where they share none.

    Of `/a/b/1.png` and `/a/c/2.png` it is `/a`.
    """
    folders = {posixpath.dirname(flat(url)) for url in urls}
    levels = zip(*(folder.split("/") for folder in folders), strict=False)
    return "/".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels))


def relative(url: str, folder: str) -> str:
    """`url` as seen from `folder`; unchanged where it does not lie below."""
    path = flat(url)
    return path[len(folder) :].lstrip("/") if folder and path.startswith(folder + "/") else path


def open_binary(url: str) -> AbstractContextManager[BinaryIO]:
    """Open a regular file for reading: of this machine or of a zip directly, anything else through fsspec.

    Raises
    ------
    NotAFile
        A FIFO, a socket, a device; an address that chains others (`x::y`, but for a file of a zip).
    OSError
        It is not there, or cannot be read (KeyError: not in the zip).
    """
    if (inside := zips.parts(url)) is not None:
        _refuse_chain(inside[0])
        return zips.open_member(*inside)
    if (path := local_path(url)) is not None:
        return files.open_regular(path)
    _refuse_chain(url)
    return fsspec.open(url, "rb")


def _refuse_chain(url: str) -> None:
    """fsspec reads `a::b` as a file system in another: whoever names a file could name any other so."""
    if "::" in url:
        raise NotAFile("has `::` in its address, which would lead to another file", "rename it")


def _file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of an address that is no local path, and the path in it; nothing remembered of earlier looks."""
    _refuse_chain(url)
    fs, path = fsspec.core.url_to_fs(url)
    fs.invalidate_cache()
    return fs, path


def is_folder(url: str) -> bool:
    """Whether a folder lies there; False where nothing does."""
    if (local := local_path(url)) is not None:
        return os.path.isdir(local)
    if (inside := zips.parts(url)) is not None:
        if zips.has(*inside):
            return inside[1].endswith("/")
        return zips.has(inside[0], inside[1] + "/") or any(
            name.startswith(inside[1] + "/") for name in _members(inside[0])
        )
    fs, path = _file_system(url)
    return bool(fs.isdir(path))


def _members(archive: str) -> list[str]:
    try:
        return zips.members(archive)
    except UnreadableFile:
        return []


def names_in(folder: str) -> list[str]:
    """Names of what stands directly in a folder, in order; none where there is no folder."""
    if (local := local_path(folder)) is not None:
        return sorted(os.listdir(local)) if os.path.isdir(local) else []
    fs, path = _file_system(folder)
    if not fs.isdir(path):
        return []
    return sorted(posixpath.basename(str(found).rstrip("/")) for found in fs.ls(path, detail=False))


def exists(url: str) -> bool:
    """Whether a file or folder lies there."""
    if (local := local_path(url)) is not None:
        return os.path.exists(local)
    if (inside := zips.parts(url)) is not None:
        return zips.has(*inside)
    fs, path = _file_system(url)
    return bool(fs.exists(path))


def below(url: str) -> list[tuple[str, NotAFile | None]]:
    """All that lies below a folder, in order, as absolute addresses; with its problem what is no regular file.

    On this machine links to files count as files and links to folders are not followed (`files.below`).

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    """
    if not is_folder(url):
        raise FileNotFoundError(url)
    folder = absolute(url)
    if (local := local_path(url)) is not None:
        return sorted(files.below(os.path.abspath(local)), key=lambda found: found[0])
    if (inside := zips.parts(url)) is not None:
        start = inside[1].rstrip("/") + "/"
        return [(zips.address_of(inside[0], name), None) for name in _members(inside[0]) if name.startswith(start)]
    fs, path = _file_system(url)
    if not folder.endswith("/"):
        folder += "/"
    start_of_name = len(path.rstrip("/"))
    return sorted((folder + str(found)[start_of_name:].lstrip("/"), None) for found in fs.find(path))


def files_below(url: str) -> list[str]:
    """Every regular file below a folder, in order. Raises FileNotFoundError."""
    return [path for path, problem in below(url) if problem is None]


@contextmanager
def at_hand(url: str) -> Iterator[str]:
    """An address of the same bytes that another process of this machine can open: a copy, where it lies elsewhere.

    Raises
    ------
    OSError
        As `open_binary`.
    """
    inside = zips.parts(url)
    if local_path(inside[0] if inside else url) is not None:
        yield url
        return
    name = posixpath.basename(flat(url))
    suffix = ".nii.gz" if name.lower().endswith(".nii.gz") else posixpath.splitext(name)[1]
    with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
        with open_binary(url) as file:
            shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        yield copy.name


def source_digest(url: str) -> str:
    """sha256 in hex of a file's bytes, or of a folder's (names and digests of the files below it).

    Raises
    ------
    OSError
        The file cannot be read.
    """
    return digest_and_size(url)[0]


def digest_and_size(url: str) -> tuple[str, int]:
    """`source_digest`, and how many bytes it read."""
    if is_folder(url):
        parts = [(relative(file, url), *digest_and_size(file)) for file in files_below(url)]
        text = "\n".join(f"{name} {digest}" for name, digest, _ in parts)
        return hashlib.sha256(text.encode()).hexdigest(), sum(size for _, _, size in parts)
    digest, size = hashlib.sha256(), 0
    with open_binary(url) as file:  # in pieces, so that size does not matter
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
