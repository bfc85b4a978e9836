"""Files on this machine: only regular ones are opened, and only names that are text are used. What they hold belongs to others.

A FIFO, a socket or a device would hold whoever opens it for ever; a link to a folder may lead anywhere, its own parent included.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
}


class NotAFile(OSError):
    """What lies there is no regular file, or its address is none that is opened.

    Attributes
    ----------
    reason, remedy : str
        What it is, and what to do.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


def shown(text: str) -> str:
    """A name as it can be written down: bytes that are not UTF-8 as `\\xff`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_text(name: str) -> bool:
    """Whether a name is UTF-8 on disk (others come as lone surrogates)."""
    return name.isascii() or shown(name) == name


def open_regular(path: str) -> BinaryIO:
    """Open a file for reading, never waiting for a writer.

    Raises
    ------
    NotAFile
        It is neither a regular file nor a folder.
    OSError
        As `open`: it is not there, is a folder, may not be read.
    """
    _require_regular(os.stat(path).st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # should it have become a FIFO meanwhile
    try:
        _require_regular(os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("is a folder")
    if not stat.S_ISREG(mode):
        raise NotAFile(f"is {_kind(mode)}, not a regular file", "take it out")


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def below(folder: str) -> Iterator[tuple[str, NotAFile | None]]:
    """All that lies below a folder: each regular file (or link to one), and with its problem what is none.

    Links to folders are not followed, wherever they lead: so loops end, and nothing outside the folder is read.

    Parameters
    ----------
    folder : str
        An absolute path.

    Yields
    ------
    path : str
        As `shown`.
    problem : NotAFile or None
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                found = list(entries)
        except OSError as error:
            if place == folder:
                raise
            yield place, NotAFile(f"cannot be opened ({type(error).__name__})", "check its permissions")
            continue
        for entry in found:
            if not is_text(entry.name):
                problem = NotAFile("has a name that is not UTF-8", "rename it")
                yield shown(entry.path), problem
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                yield entry.path, _problem(entry)


def _problem(entry: os.DirEntry[str]) -> NotAFile | None:
    """Why an entry that is no folder cannot be read."""
    try:
        mode = entry.stat().st_mode
    except FileNotFoundError:
        return NotAFile("is a link to nothing", "bring back what it leads to, or remove it")
    except OSError as error:  # a link that leads to itself
        return NotAFile(f"cannot be looked at ({type(error).__name__})", "remove it")
    if stat.S_ISDIR(mode):
        return NotAFile("is a link to a folder, which is not followed", "put the folder itself there, or ingest it")
    return None if stat.S_ISREG(mode) else NotAFile(f"is {_kind(mode)}, not a regular file", "take it out")
