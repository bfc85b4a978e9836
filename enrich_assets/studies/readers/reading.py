"""One file, whatever its kind, to one clip: recognised by its first bytes, then by its suffix.

Only the choice of a reader stands here; the readers are `decoding` (stills, videos) and `dicom`.
"""

from __future__ import annotations

import io
import posixpath
from enum import Enum

from enrich_assets.studies import addresses, zips
from enrich_assets.studies.contents import read_bytes
from enrich_assets.studies.decoding import Clip, Plane, read_still, read_video, read_volume, suffix_of_volume
from enrich_assets.studies.dicom import looks_like_dicom
from enrich_assets.studies.dicom.reading import read_dicom
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.files import NotAFile
from enrich_assets.studies.pseudonyms import Pseudonyms
from enrich_assets.studies.zips import members

__all__ = ["Clip", "Kind", "kind_of", "read_clip"]

_STILL_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"))
_VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".avi", ".mov", ".mpeg", ".mpg", ".mkv", ".webm", ".gif", ".wmv", ".ts", ".m2v", ".ogv")
)
_DICOM_SUFFIXES = frozenset((".dcm", ".dicom", ".ima", ".dic"))
_KINDS_READ = (
    "PNG, JPEG, TIFF, BMP, GIF, mp4, avi, mov, mpeg, mkv, webm, DICOM, NIfTI, MetaImage (.mha) and NRRD are read"
)


class Kind(Enum):
    """What a file is, as far as the choice of its reader goes."""

    STILL = "still"
    VIDEO = "video"
    DICOM = "dicom"
    VOLUME = "volume"
    ZIP = "zip"


def kind_of(head: bytes, path: str) -> Kind | None:
    """The kind of a file by its first bytes (264 are enough), then by its suffix; None if neither tells."""
    if looks_like_dicom(head) and head[128:132] == b"DICM":
        return Kind.DICOM
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")):
        return Kind.STILL
    if head.startswith(b"PK\x03\x04"):
        return Kind.ZIP
    if head.startswith((b"GIF8", b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"0&\xb2u", b"OggS")):
        return Kind.VIDEO
    if head.startswith(b"RIFF"):
        return Kind.STILL if head[8:12] == b"WEBP" else Kind.VIDEO
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return Kind.VIDEO
    if suffix_of_volume(path):
        return Kind.VOLUME
    suffix = posixpath.splitext(path)[1].lower()
    if suffix in _DICOM_SUFFIXES or looks_like_dicom(head):
        return Kind.DICOM
    if suffix in _STILL_SUFFIXES:
        return Kind.STILL
    return Kind.VIDEO if suffix in _VIDEO_SUFFIXES else None


def read_clip(path: str, *, pseudonyms: Pseudonyms | None = None, plane: Plane = "stored") -> Clip:
    """The frames of a file: one for a still image, all of a video, an animation, a multi-page TIFF, a DICOM cine, a volume.

    Parameters
    ----------
    path : str
        A local path or any fsspec URL (also `zip://member::archive.zip`); a zip with one file in it reads as that.
    pseudonyms : Pseudonyms, optional
        For the identifiers in DICOM headers; without them these are dropped.
    plane : {'stored', 'axial', 'coronal', 'sagittal'}
        Of the slices of a volume.

    Raises
    ------
    UnreadableFile
        Names the file, what is wrong and what to do.
    """
    match kind_of(_first_bytes(path), path):
        case Kind.VIDEO:
            return _read_video(path)
        case Kind.DICOM:
            return read_dicom(path, pseudonyms=pseudonyms)
        case Kind.STILL:
            return read_still(path, read_bytes(path))
        case Kind.VOLUME:
            return read_volume(path, read_bytes(path), plane)
        case Kind.ZIP:
            return _read_zip(path, pseudonyms, plane)
    raise UnreadableFile(path, "is of a kind that is not read", _KINDS_READ)


def _first_bytes(path: str) -> bytes:
    """What `kind_of` needs. Raises UnreadableFile where there is nothing to read."""
    reason = ""
    try:
        with addresses.open_binary(path) as file:
            head = file.read(264)
    except (FileNotFoundError, NotADirectoryError, KeyError):
        reason = "there is no such file"
    except IsADirectoryError:
        reason = "is a folder"
    except NotAFile as problem:
        raise UnreadableFile(path, problem.reason, problem.remedy) from None
    except Exception as error:
        reason = f"cannot be opened ({type(error).__name__})"
    if reason:
        raise UnreadableFile(path, reason, "check the path in the manifest")
    if not head:
        raise UnreadableFile(path, "is empty", "copy it again")
    if head.startswith(b"version https://git-lfs"):
        raise UnreadableFile(path, "is a Git LFS pointer, not the file itself", "run `git lfs pull`")
    return head


def _read_video(path: str) -> Clip:
    if zips.parts(path) is not None:  # going back in a zip means unpacking it again
        return read_video(path, io.BytesIO(read_bytes(path)))
    with addresses.open_binary(path) as file:
        return read_video(path, file)


def _read_zip(path: str, pseudonyms: Pseudonyms | None, plane: Plane) -> Clip:
    names = members(path)
    if len(names) != 1:
        raise UnreadableFile(
            path,
            f"is a zip of {len(names)} files, and one row of a manifest is one file",
            f"unpack it, or name each as {zips.address_of(path, 'FILE')}",
        )
    inner = zips.address_of(path, names[0])
    if names[0].lower().endswith(".zip"):
        raise UnreadableFile(path, "is a zip in a zip", "unpack it")
    return read_clip(inner, pseudonyms=pseudonyms, plane=plane)
