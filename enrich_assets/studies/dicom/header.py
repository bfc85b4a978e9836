"""Opening DICOM: recognising it among other files, and parsing it without a word in any log.

pydicom puts attribute values into warnings, log lines and exceptions. A patient's name must reach none of them, so the
warnings and log lines are shut off here, and of an exception nothing but its type is reported.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Sequence

import pydicom
import pydicom.config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from enrich_assets.studies import addresses
from enrich_assets.studies.contents import read_bytes
from enrich_assets.studies.errors import UnreadableFile

_MOST_INFLATED = 512 << 20  # pydicom inflates such a file as a whole
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_VALUE_REPRESENTATIONS = frozenset(b"AE AS CS DA DT IS LO LT OB PN SH ST TM UI UL US UT".split())


def keep_quiet() -> None:
    """Shut off what pydicom would log about values. Called by each reader, since others may reset the filters."""
    for name in ("pydicom", "pylibjpeg", "libjpeg", "openjpeg"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    if not any(
        entry[0] == "ignore" and "pydicom" in str(getattr(entry[3], "pattern", "")) for entry in warnings.filters
    ):
        warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes or more are those of a DICOM file, with its preamble or (old files) without."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16:
        return False
    for order in "<>":
        group, element, length = struct.unpack(f"{order}HHI", head[:8])
        if group in (0x0002, 0x0008) and element < 0x0100:
            if head[4:6] in _VALUE_REPRESENTATIONS:
                return True
            if order == "<" and length < 1024 and length % 2 == 0:
                return True
    return False


def open_dataset(path: str, content: bytes | None = None, only: Sequence[str] | None = None) -> Dataset:
    """Parse a DICOM file.

    Parameters
    ----------
    path : str
        A local path or any fsspec URL.
    content : bytes, optional
        Its bytes where they are at hand; else they are read from `path`.
    only : sequence of str, optional
        The keywords wanted; pixels are then left out.

    Returns
    -------
    Dataset
        With a transfer syntax, guessed from how it parsed where an old file does not state it.

    Raises
    ------
    UnreadableFile
        It does not parse, or has no header of an image.
    """
    keep_quiet()
    reason = ""
    try:
        local = addresses.local_path(path)
        if content is None and local is None:
            content = read_bytes(path)
        source: str | io.BytesIO = io.BytesIO(content) if content is not None else str(local)
        _refuse_deflate_bomb(path, source)
        dataset = pydicom.dcmread(
            source,
            force=True,
            stop_before_pixels=only is not None,
            specific_tags=list(only) if only else None,
        )
        if "SOPClassUID" not in dataset and "Rows" not in dataset:
            reason = "is not DICOM, or has lost its header"
        else:
            _state_transfer_syntax(dataset)
            return dataset
    except UnreadableFile:
        raise
    except MemoryError:
        raise
    except FileNotFoundError:
        reason = "there is no such file"
    except Exception as error:
        reason = f"does not parse as DICOM ({type(error).__name__}); it may be cut off"
    raise UnreadableFile(path, reason, "export it again from the scanner or the archive")


def _state_transfer_syntax(dataset: Dataset) -> None:
    meta = getattr(dataset, "file_meta", None)
    if meta is None:
        meta = dataset.file_meta = FileMetaDataset()
    if meta.get("TransferSyntaxUID"):
        return
    is_implicit, is_little = dataset.original_encoding
    if is_implicit:
        meta.TransferSyntaxUID = ImplicitVRLittleEndian
    else:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian


def _refuse_deflate_bomb(path: str, source: str | io.BytesIO) -> None:
    """pydicom inflates a deflated file whole; a thousandfold growth must not take the machine down."""
    if isinstance(source, str):
        with addresses.open_binary(source) as file:
            head = file.read(1024)
            if _DEFLATED not in head:
                return
            content = head + file.read()
    else:
        content = source.getvalue() if _DEFLATED in source.getbuffer()[:1024].tobytes() else b""
    if content[132:138] != b"\x02\x00\x00\x00UL":
        return
    (length,) = struct.unpack("<I", content[140:144])
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    size, piece = 0, content[144 + length :]
    while piece and size <= _MOST_INFLATED:
        size += len(inflating.decompress(piece, 1 << 24))
        piece = inflating.unconsumed_tail
    if size > _MOST_INFLATED:
        raise UnreadableFile(
            path, f"inflates to more than {_MOST_INFLATED >> 20} MiB", "cut it into clips, or export it uncompressed"
        )
