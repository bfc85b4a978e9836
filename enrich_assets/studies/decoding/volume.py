"""Volumes: NIfTI (.nii, .nii.gz), MetaImage (.mha) and NRRD (.nrrd) through SimpleITK, slice by slice as the frames of one clip.

A file must hold its own pixels: headers that name another file (.mhd, .hdr, detached NRRD) are refused, since what is ingested is what was hashed.
SimpleITK reads files only, so the bytes are laid into a folder of their own, where no other file can be found.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.decoding.clip import Clip, refuse_absurd_bytes, refuse_absurd_size
from enrich_assets.studies.errors import UnreadableFile

if TYPE_CHECKING:
    from SimpleITK import Image, ImageFileReader

Plane = Literal["stored", "axial", "coronal", "sagittal"]

_TOGETHER = (".nii", ".nii.gz", ".mha", ".nrrd")
_DETACHED = {".mhd": ".mha", ".hdr": ".nii", ".img": ".nii", ".nhdr": ".nrrd"}
_AXIS = {"axial": 0, "coronal": 1, "sagittal": 2}  # of an array (slices, rows, columns) whose image lies LPS
_HEADER, _PIECE = 1 << 16, 1 << 20
_NIFTI_1, _NIFTI_2 = 348, 540  # bytes of a header
_WINDOW = (0.5, 99.5)  # percentiles that become black and white


def suffix_of_volume(path: str) -> str | None:
    """`.nii.gz` and its like; None where the name is of no volume."""
    name = posixpath.basename(path).lower()
    return next((suffix for suffix in (*_TOGETHER, *_DETACHED) if name.endswith(suffix)), None)


def read_volume(path: str, content: bytes, plane: Plane = "stored") -> Clip:
    """The slices of a volume, in grey of 8 bits.

    Parameters
    ----------
    path : str
        For messages and for the kind of file.
    content : bytes
        The whole file.
    plane : {'stored', 'axial', 'coronal', 'sagittal'}
        'stored': slices along the last axis as the file holds them, rows and columns as well (what ultrasound sequences
        are made for). Else the volume is turned to lie as DICOM has it (columns to the left, rows to the back, slices to
        the head of the patient), then cut along that axis; coronal and sagittal slices have the head on top.

    Returns
    -------
    Clip
        Frames (n, h, w). The half percent darkest and brightest values of the whole volume are cut off before it is
        stretched to 0 to 255; uint8 stays as it is. Of four dimensions, volume after volume. `kept` has `orientation` (of the
        file, ITK's three letters for where its axes *go to*, LPS for instance), `plane`, `spacing_mm`.

    Raises
    ------
    UnreadableFile
        It is not whole, has pixels elsewhere, is too large, or shows colours.
    """
    image, suffix = _read(path, content), suffix_of_volume(path)
    values, orientation = _slices(path, image, plane)
    kept = {
        "orientation": orientation,
        "plane": plane,
        "spacing_mm": [float(s) for s in image.GetSpacing()],
        "file": suffix,
    }
    action = f"slices {plane} of a volume that lies {orientation or 'nowhere stated'}; header dropped"
    return Clip(_windowed(path, values), kept=kept, actions=[action])


def read_mask_volume(path: str, content: bytes, plane: Plane = "stored") -> NDArray[Any]:
    """The slices of a volume of class indices, cut as `read_volume` cuts its image.

    Returns
    -------
    (n, h, w), of the file's dtype; floats that are whole numbers as int64

    Raises
    ------
    UnreadableFile
        As `read_volume`; values that are no whole numbers.
    """
    values, _ = _slices(path, _read(path, content), plane)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.round(values)).any():
            raise UnreadableFile(path, "holds values that are no class index", "save it as whole numbers")
        return values.astype(np.int64)
    return values


def _read(path: str, content: bytes) -> Image:
    """The image, its header looked at before memory is asked for. Raises UnreadableFile."""
    suffix = suffix_of_volume(path) or ""
    if suffix in _DETACHED:
        raise UnreadableFile(
            path, "holds a header alone, its pixels lie in another file", f"save both as one {_DETACHED[suffix]}"
        )
    _refuse_detached(path, suffix, content)
    try:
        import SimpleITK as sitk
    except ImportError:
        raise UnreadableFile(
            path, "is a volume, and what reads volumes is not installed", "`pip install 'enrich-assets[volumes]'`"
        ) from None
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"volume{suffix}"
            file.write_bytes(content)
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(file))
            reader.ReadImageInformation()
            n_bytes = _size_of(path, reader)
            if suffix in (".nii", ".nii.gz"):
                _refuse_cut_off(path, content, n_bytes)
            return reader.Execute()
    except (UnreadableFile, MemoryError):
        raise
    except Exception as error:
        reason = f"does not decode as a volume ({type(error).__name__}); it may be cut off"
    raise UnreadableFile(path, reason, "export or copy it again")


def _refuse_detached(path: str, suffix: str, content: bytes) -> None:
    """Refuse a header that sends its reader to another file. Raises UnreadableFile."""
    head = content[:_HEADER]
    if suffix == ".nii.gz":
        try:
            head = gzip.GzipFile(fileobj=io.BytesIO(content)).read(352)
        except (OSError, EOFError) as error:
            raise UnreadableFile(path, f"is not whole ({type(error).__name__})", "copy it again") from None
    elsewhere = {
        ".nii": head[344:347] == b"ni1",
        ".nii.gz": head[344:347] == b"ni1",
        ".mha": b"ElementDataFile" not in head
        or head.split(b"ElementDataFile", 1)[1].split(b"\n", 1)[0].strip(b" =\r\t").upper() != b"LOCAL",
        ".nrrd": any(
            line.lower().replace(b" ", b"").startswith((b"datafile:", b"data_file:"))
            for line in head.split(b"\n\n", 1)[0].splitlines()
        ),
    }
    if elsewhere.get(suffix, False):
        raise UnreadableFile(path, "names another file for its pixels", "save header and pixels as one file")


def _refuse_cut_off(path: str, content: bytes, n_bytes: int) -> None:
    """SimpleITK fills what is missing of a NIfTI with zeros and says nothing. Raises UnreadableFile."""
    found = len(content)
    if content[:2] == b"\x1f\x8b":
        found = 0
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            while piece := file.read(_PIECE):
                found += len(piece)
        content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_NIFTI_2)
    order = "<" if struct.unpack_from("<i", content)[0] in (_NIFTI_1, _NIFTI_2) else ">"
    is_first = struct.unpack_from(f"{order}i", content)[0] == _NIFTI_1
    (offset,) = (
        struct.unpack_from(f"{order}f", content, 108) if is_first else struct.unpack_from(f"{order}q", content, 168)
    )
    if found < int(offset) + n_bytes:
        raise UnreadableFile(path, f"is cut off: {found:,} of {int(offset) + n_bytes:,} bytes", "copy it again")


def _size_of(path: str, reader: ImageFileReader) -> int:
    """Bytes of its voxels, by its header. Raises UnreadableFile where it is no volume that can be read."""
    size = [int(n) for n in reader.GetSize()]
    if reader.GetNumberOfComponents() != 1:
        raise UnreadableFile(
            path, f"has {reader.GetNumberOfComponents()} values at each place", "save it as one grey value each"
        )
    if not 2 <= len(size) <= 4:
        raise UnreadableFile(path, f"has {len(size)} dimensions", "save images, volumes, or volumes over time")
    width, height = size[:2]
    n_frames = int(np.prod(size[2:], dtype=np.int64)) if len(size) > 2 else 1
    refuse_absurd_size(path, height, width, n_frames)
    n_bytes = width * height * n_frames * _bytes_of(reader.GetPixelID())
    refuse_absurd_bytes(path, n_bytes)
    return n_bytes


def _bytes_of(pixel_id: int) -> int:
    import SimpleITK as sitk

    small = {sitk.sitkUInt8: 1, sitk.sitkInt8: 1, sitk.sitkUInt16: 2, sitk.sitkInt16: 2, sitk.sitkUInt32: 4}
    return {**small, sitk.sitkInt32: 4, sitk.sitkFloat32: 4}.get(pixel_id, 8)


def _slices(path: str, image: Image, plane: Plane) -> tuple[NDArray[Any], str]:
    """(n, h, w) slices along a plane, and how the file lies ('' where it does not say: fewer than three dimensions)."""
    import SimpleITK as sitk

    dimensions = image.GetDimension()
    if dimensions == 2:
        if plane != "stored":
            raise UnreadableFile(
                path, f"is one image, and the profile asks for {plane} slices", "set frames.slices to stored"
            )
        return sitk.GetArrayFromImage(image)[None], ""
    volumes = [image[..., k] for k in range(image.GetSize()[3])] if dimensions == 4 else [image]
    direction = volumes[0].GetDirection()
    orientation = str(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction))
    if plane == "stored":
        return np.concatenate([sitk.GetArrayFromImage(volume) for volume in volumes]), orientation
    turned = [sitk.GetArrayFromImage(sitk.DICOMOrient(volume, "LPS")) for volume in volumes]
    cut = [np.moveaxis(array, _AXIS[plane], 0) for array in turned]
    if plane != "axial":
        cut = [array[:, ::-1] for array in cut]  # rows ran from feet to head
    return np.concatenate(cut), orientation


def _windowed(path: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey of 8 bits, one scale for the whole volume. Raises UnreadableFile where no value is a number."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    numbers = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not numbers.size:
        raise UnreadableFile(path, "holds no number in any voxel (all are NaN or infinite)", "export it again")
    low, high = (float(v) for v in np.percentile(numbers, _WINDOW))
    if high <= low:
        low, high = float(numbers.min()), float(numbers.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    scaled = (np.nan_to_num(values.astype(np.float32), nan=low, posinf=high, neginf=low) - low) * (255.0 / (high - low))
    return np.round(np.clip(scaled, 0, 255)).astype(np.uint8)
