"""Addresses of source files: local paths, fsspec URLs, members of a zip; joining, shortening, opening them.

What the bytes at an address mean belongs to the readers beside this module.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from itertools import takewhile
from typing import BinaryIO

import fsspec

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


def member_of_zip(archive: str, member: str) -> str:
    """The address of one file inside a zip archive, as fsspec chains them."""
    return f"zip://{member}::{archive}"


def flat(url: str) -> str:
    """One slash-separated path for any address: the member of a zip stands below its archive, as below a folder."""
    if url.startswith("zip://") and "::" in url:
        member, _, archive = url.removeprefix("zip://").partition("::")
        return f"{archive}/{member}"
    return url


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
    """Open for reading; a local file directly, anything else through fsspec."""
    path = local_path(url)
    return open(path, "rb") if path is not None else fsspec.open(url, "rb")


def is_folder(url: str) -> bool:
    """Whether a folder lies there; False where nothing does."""
    if (local := local_path(url)) is not None:
        return os.path.isdir(local)
    fs, path = fsspec.core.url_to_fs(url)
    return bool(fs.isdir(path))


def names_in(folder: str) -> list[str]:
    """Names of what stands directly in a folder, in order; none where there is no folder."""
    fs, path = fsspec.core.url_to_fs(folder)
    if not fs.isdir(path):
        return []
    fs.invalidate_cache()
    return sorted(posixpath.basename(str(found).rstrip("/")) for found in fs.ls(path, detail=False))


def exists(url: str) -> bool:
    """Whether a file or folder lies there."""
    fs, path = fsspec.core.url_to_fs(url)
    return bool(fs.exists(path))


def files_below(url: str) -> list[str]:
    """Every file under a folder, in order, as absolute addresses.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    """
    fs, path = fsspec.core.url_to_fs(url)
    if not fs.isdir(path):
        raise FileNotFoundError(url)
    fs.invalidate_cache()
    folder, start = absolute(url), len(path.rstrip("/"))
    if not folder.endswith("/"):
        folder += "/"
    return sorted(folder + str(found)[start:].lstrip("/") for found in fs.find(path))


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
