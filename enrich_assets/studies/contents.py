"""The contents of one file: its bytes as a whole; nothing larger than any clip.

What the bytes mean belongs to the readers.
"""

from __future__ import annotations

from typing import BinaryIO

from enrich_assets.studies import addresses
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.files import NotAFile
from enrich_assets.studies.zips import MAX_FILE_BYTES

_PIECE = 16 << 20


def read_bytes(path: str) -> bytes:
    """The whole file.

    Parameters
    ----------
    path : str
        A local path or any fsspec URL.

    Raises
    ------
    UnreadableFile
        The file is larger than any clip (4 GiB), or reading breaks off (a damaged zip).
    """
    reason, content = "", b""
    try:
        with addresses.open_binary(path) as file:
            content = _to_the_end(file)
    except FileNotFoundError:
        reason = "there is no such file"
    except IsADirectoryError:
        raise UnreadableFile(path, "is a folder", "name a file") from None
    except NotAFile as problem:
        raise UnreadableFile(path, problem.reason, problem.remedy) from None
    except MemoryError:
        raise
    except Exception as error:
        reason = f"cannot be read to its end ({type(error).__name__})"
    if reason:
        raise UnreadableFile(path, reason, "check the path, or copy it again")
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableFile(path, "is larger than 4 GiB", "cut it into clips")
    return content


def _to_the_end(file: BinaryIO) -> bytes:
    """The content, or a little more than the most there may be of it; no memory is asked for before there is something to hold."""
    pieces: list[bytes] = []
    size = 0
    while size <= MAX_FILE_BYTES and (piece := file.read(_PIECE)):
        pieces.append(piece)
        size += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
