"""The pixels of a DICOM dataset as greyscale of 8 bits: (n, h, w) uint8.

Every photometric interpretation and compression that pydicom's plug-ins decode, frame by frame, so that a
colour cine never stands in memory as a whole; MPEG in DICOM through the video reader. What pixels mean
follows PS3.3: modality values (rescale or table), then the display window (the first one) or table; where a
file of more than 8 bits has none, the range of the clip's own values is stretched. Brightness that means
black (MONOCHROME1) is turned round.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import pydicom.encaps
import pydicom.pixels
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.uid import UID, JPEGBaseline8Bit

from enrich_assets.studies.decoding import Clip, read_video, refuse_absurd_size, to_grey
from enrich_assets.studies.dicom.header import keep_quiet
from enrich_assets.studies.errors import UnreadableFile

_EXPORT_AGAIN = "export it again from the scanner or the archive"
_END_OF_JPEG = b"\xff\xd9"
_VIDEO_SYNTAX = "1.2.840.10008.1.2.4.10"  # MPEG-2, MPEG-4 and HEVC all begin so


class _Wrong(Exception):
    """Inside this module: a reason, in words that hold no attribute's value."""


def decode(dataset: Dataset, path: str) -> Clip:
    """The frames, with warnings where the last ones are lost.

    Parameters
    ----------
    dataset : Dataset
        Is used up: its pixel data is let go.
    path : str
        For messages.

    Raises
    ------
    UnreadableFile
        No pixels, contradictory or absurd dimensions, an unknown compression, data cut off.
    """
    keep_quiet()
    reason = ""
    try:
        return _decode(dataset, path)
    except (UnreadableFile, MemoryError):
        raise
    except _Wrong as wrong:
        reason = str(wrong)
    except NotImplementedError:
        reason = "is compressed in a way that no decoder here knows"
    except Exception as error:  # whatever a decoder throws may quote the header: its kind must do
        reason = f"its pixel data does not decode ({type(error).__name__})"
    raise UnreadableFile(path, reason, _EXPORT_AGAIN)


def _whole_number(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    try:
        value = dataset.get(keyword)
        if value in (None, "") and default is not None:
            return default
        return int(value)
    except Exception:
        raise _Wrong(f"its {keyword} is missing or no whole number") from None


class _Layout(NamedTuple):
    """How the header says that the pixels lie."""

    height: int
    width: int
    n_frames: int
    samples: int  # per pixel
    bits: int  # allocated

    @classmethod
    def of(cls, dataset: Dataset) -> _Layout:
        layout = cls(
            _whole_number(dataset, "Rows"),
            _whole_number(dataset, "Columns"),
            _whole_number(dataset, "NumberOfFrames", default=1) or 1,
            _whole_number(dataset, "SamplesPerPixel", default=1),
            _whole_number(dataset, "BitsAllocated"),
        )
        if layout.samples not in (1, 3):
            raise _Wrong("its SamplesPerPixel is neither 1 nor 3")
        if layout.bits not in (1, 8, 16, 32):
            raise _Wrong("its BitsAllocated is none of 1, 8, 16, 32")
        return layout


def _decode(dataset: Dataset, path: str) -> Clip:
    """The steps: what the header announces, what is there of it, frame by frame to grey, stored values to brightness."""
    if "PixelData" not in dataset:
        raise _Wrong("holds no pixel data (a report, a waveform or a directory?)")
    layout = _Layout.of(dataset)
    refuse_absurd_size(path, layout.height, layout.width, layout.n_frames, layout.samples * max(1, layout.bits // 8))
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax.startswith(_VIDEO_SYNTAX):
        return read_video(path, io.BytesIO(b"".join(pydicom.encaps.generate_fragments(dataset.PixelData))))
    warnings: list[str] = []
    if not syntax.is_encapsulated:
        n_whole = _whole_frames(dataset, layout)
        if n_whole == 0:
            raise _Wrong("is cut off: its pixel data is shorter than one frame")
        if n_whole < layout.n_frames:
            warnings.append(f"is cut off: {n_whole} of {layout.n_frames} frames were read")
            layout = layout._replace(n_frames=n_whole)
            dataset.NumberOfFrames = n_whole
    raw = _read_to_first_damage(dataset, syntax, layout)
    if len(raw) < layout.n_frames:
        warnings.append(f"is damaged: {len(raw)} of {layout.n_frames} frames were read")
    del dataset.PixelData
    grey = raw if layout.samples == 3 else _values_to_grey(dataset, raw, layout.bits)
    return Clip(grey, warnings=warnings, is_partial=bool(warnings))


def _read_to_first_damage(dataset: Dataset, syntax: UID, layout: _Layout) -> NDArray[Any]:
    """(n, h, w): grey of colours, stored values of one channel. Raises where not even the first frame decodes."""
    shape = (layout.height, layout.width)
    raw: NDArray[Any] = np.empty((0, *shape))
    n_read = 0
    frames = _decoded_frames(dataset, syntax, layout.n_frames, shape)
    while n_read < layout.n_frames:
        try:
            frame = next(frames)
        except StopIteration:
            break
        except Exception:
            if n_read == 0:
                raise
            break
        if layout.samples == 3:
            frame = _colour_to_grey(frame, _whole_number(dataset, "BitsStored", default=layout.bits))
        if frame.shape != shape:
            raise _Wrong("its frames have another size than its header says")
        if n_read == 0:
            raw = np.empty((layout.n_frames, *shape), frame.dtype.newbyteorder("="))
        raw[n_read] = frame
        n_read += 1
    if n_read == 0:
        raise _Wrong("its pixel data holds no frame")
    return raw[:n_read]


def _whole_frames(dataset: Dataset, layout: _Layout) -> int:
    """How many complete frames uncompressed pixel data holds."""
    size = layout.height * layout.width * layout.samples * layout.bits
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        size = size * 2 // 3
    return len(dataset.PixelData) * 8 // size


def _decoded_frames(dataset: Dataset, syntax: UID, n_frames: int, shape: tuple[int, int]) -> Iterator[NDArray[Any]]:
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if syntax == JPEGBaseline8Bit and photometric in (
        "YBR_FULL",
        "YBR_FULL_422",
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        # The luma of a JPEG is the grey we want: no need to make colours first, and fifty times faster.
        for encoded in pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=n_frames):
            with Image.open(io.BytesIO(encoded)) as header:
                if (header.height, header.width) != shape:
                    raise _Wrong("its frames have another size than its header says")
            grey = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
            if grey is None or _END_OF_JPEG not in encoded[-16:]:  # OpenCV fills half an image up without a word
                raise _Wrong("its JPEG data is cut off or does not decode")
            yield grey[:, :, None].repeat(3, axis=2) if photometric.startswith("YBR") else grey
        return
    yield from pydicom.pixels.iter_pixels(dataset)


def _colour_to_grey(frame: NDArray[Any], bits_stored: int) -> NDArray[np.uint8]:
    if frame.dtype.kind == "u" and frame.dtype.itemsize > 1:
        frame = (frame >> max(0, bits_stored - 8)).astype(np.uint8)
    return to_grey(frame)


# -- values of one channel -----------------------------------------------------------------------------------


def _values_to_grey(dataset: Dataset, raw: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Stored values (n, h, w) of one channel to brightness: modality, window or table, polarity. bits: allocated."""
    if bits == 1:
        return (raw != 0).astype(np.uint8) * np.uint8(255)
    if raw.dtype.itemsize > 2:
        grey = np.empty(raw.shape, np.uint8)
        present = _ends(dataset, raw)
        for at, frame in enumerate(raw):  # one by one: as float64, all of them may be eight times the file
            grey[at] = _windowed(dataset, _modality_values(dataset, frame), present)
        return _turned(dataset, grey)
    stored = np.arange(1 << (8 * raw.dtype.itemsize), dtype=f"u{raw.dtype.itemsize}")
    unsigned = raw.view(stored.dtype)
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return _palette_in_grey(dataset, stored)[unsigned]
    # Whatever becomes of a value depends on the value alone, so it is worked out once for each of the 65,536.
    values = _modality_values(dataset, _true_values(dataset, stored, bits))
    if raw.dtype.itemsize == 1 and raw.dtype.kind == "u" and not _has_display_rule(dataset):
        return _turned(dataset, unsigned)
    present = np.zeros(len(stored), np.bool_)
    present[np.unique(unsigned)] = True
    padding = dataset.get("PixelPaddingValue")
    if isinstance(padding, int) and present.sum() > 1:
        present[padding % len(stored)] = False
    return _turned(dataset, _windowed(dataset, values, values[present])[unsigned])


def _ends(dataset: Dataset, raw: NDArray[Any]) -> NDArray[np.float64]:
    """The least and the greatest brightness that occurs in any frame."""
    ends = np.array([[values.min(), values.max()] for values in (_modality_values(dataset, frame) for frame in raw)])
    return np.array([ends[:, 0].min(), ends[:, 1].max()])


def _has_display_rule(dataset: Dataset) -> bool:
    return (
        any(
            _attribute(dataset, keyword) is not None
            for keyword in ("WindowCenter", "VOILUTSequence", "ModalityLUTSequence", "RescaleSlope")
        )
        or dataset.get("BitsStored", 8) < 8
    )


def _attribute(dataset: Dataset, keyword: str) -> Any:
    """From the header, or, in enhanced objects, from the functional groups that all frames share."""
    value = dataset.get(keyword)
    if value not in (None, ""):
        return value
    for shared in dataset.get("SharedFunctionalGroupsSequence") or []:
        for group in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in shared.get(group) or []:
                if (value := item.get(keyword)) not in (None, ""):
                    return value
    return None


def _first_number(dataset: Dataset, keyword: str) -> float | None:
    value = _attribute(dataset, keyword)
    if isinstance(value, list | tuple) or (hasattr(value, "__len__") and not isinstance(value, str)):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _true_values(dataset: Dataset, stored: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Stored words without what lies outside their BitsStored (old files put overlays there), with their sign."""
    bits_stored = min(max(1, _whole_number(dataset, "BitsStored", default=bits)), bits)
    high_bit = _whole_number(dataset, "HighBit", default=bits_stored - 1)
    shift = min(max(0, high_bit + 1 - bits_stored), bits - bits_stored)
    values = (stored.astype(np.int64) >> shift) & ((1 << bits_stored) - 1)
    if dataset.get("PixelRepresentation") == 1:
        values -= (values >> (bits_stored - 1)) << bits_stored
    return values


def _modality_values(dataset: Dataset, values: NDArray[Any]) -> NDArray[np.float64]:
    if dataset.get("ModalityLUTSequence"):
        return apply_modality_lut(values, dataset).astype(np.float64)
    slope = _first_number(dataset, "RescaleSlope")
    intercept = _first_number(dataset, "RescaleIntercept")
    if slope in (None, 0.0):
        slope = 1.0
    return values.astype(np.float64) * slope + (intercept or 0.0)


def _windowed(dataset: Dataset, values: NDArray[np.float64], present: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Display values 0-255 (PS3.3 C.11.2.1.2); `present` are the values that occur, for the range where none
    is set."""
    centre, width = _first_number(dataset, "WindowCenter"), _first_number(dataset, "WindowWidth")
    if centre is not None and width is not None and width >= 1:
        function = str(_attribute(dataset, "VOILUTFunction") or "LINEAR").strip()
        if function == "SIGMOID":
            share = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
        elif function == "LINEAR_EXACT":
            share = (values - centre) / width + 0.5
        elif width > 1:
            share = (values - (centre - 0.5)) / (width - 1) + 0.5
        else:
            share = (values > centre - 0.5).astype(np.float64)
    elif dataset.get("VOILUTSequence"):
        table = apply_voi(values.astype(np.int64), dataset).astype(np.float64)
        depth = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        share = table / ((1 << depth) - 1)
    else:
        low, high = float(present.min(initial=np.inf)), float(present.max(initial=-np.inf))
        share = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    return np.round(np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)


def _turned(dataset: Dataset, grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return 255 - grey if dataset.get("PhotometricInterpretation") == "MONOCHROME1" else grey


def _palette_in_grey(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.uint8]:
    colours = apply_color_lut(stored[None], dataset)  # (1, values, 3)
    if colours.dtype.itemsize > 1:
        colours = (colours >> 8 if colours.max(initial=0) > 255 else colours).astype(np.uint8)
    return to_grey(colours)[0]
