"""The contents of one file: its bytes as a whole, or the names of the files in a zip; nothing larger than any clip.

What the bytes mean belongs to the readers.
"""

from __future__ import annotations

import io
import zipfile

from enrich_assets.studies import addresses
from enrich_assets.studies.errors import UnreadableFile

MAX_FILE_BYTES = 4 << 30


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
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        reason = "there is no such file"
    except Exception as error:
        reason = f"cannot be read to its end ({type(error).__name__})"
    if reason:
        raise UnreadableFile(path, reason, "check the path, or copy it again")
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableFile(path, "is larger than 4 GiB", "cut it into clips")
    return content


def members(archive: str, content: bytes | None = None) -> list[str]:
    """The files inside a zip, by name; folders and what archivers add are left out.

    Parameters
    ----------
    archive : str
        Address of the zip.
    content : bytes, optional
        Its bytes, where they are at hand.

    Raises
    ------
    UnreadableFile
        It is no zip, or is encrypted, or holds a file of more than 4 GiB.
    """
    reason = ""
    try:
        with zipfile.ZipFile(io.BytesIO(content if content is not None else read_bytes(archive))) as opened:
            names = []
            for info in opened.infolist():
                if info.is_dir() or _is_bookkeeping(info.filename):
                    continue
                if info.flag_bits & 0x1:
                    raise UnreadableFile(archive, "is encrypted", "unpack it before ingesting")
                if info.file_size > MAX_FILE_BYTES:
                    raise UnreadableFile(archive, "unpacks to more than 4 GiB a file", "cut it into clips")
                names.append(info.filename)
            return sorted(names)
    except UnreadableFile:
        raise
    except FileNotFoundError:
        reason = "there is no such file"
    except Exception as error:
        reason = f"does not open as a zip ({type(error).__name__}); it may be cut off"
    raise UnreadableFile(archive, reason, "copy it again")


def _is_bookkeeping(member: str) -> bool:
    """Hidden files, a Mac's resource forks, the index of a DICOM medium: of no patient's study."""
    name = member.rstrip("/").rpartition("/")[2]
    return name.startswith((".", "__MACOSX")) or member.startswith("__MACOSX/") or name.upper() == "DICOMDIR"
