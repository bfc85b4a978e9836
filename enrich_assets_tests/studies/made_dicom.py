"""DICOM files made for the tests: no reader of the package is used to write them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"
MAGNETIC_RESONANCE = "1.2.840.10008.5.1.4.1.1.4"


def dataset(pixels: NDArray[Any], photometric: str = "MONOCHROME2", modality: str = "MR", **attributes: Any) -> Dataset:
    """pixels: (n, h, w) or (n, h, w, 3) of uint8, uint16 or int16. Modality MR keeps its corners (no cone is
    sought)."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = ULTRASOUND if modality == "US" else MAGNETIC_RESONANCE
    made.SOPInstanceUID = generate_uid()
    made.StudyInstanceUID = generate_uid()
    made.SeriesInstanceUID = generate_uid()
    made.PatientID, made.PatientName = "4711", "Doe^Jane"
    made.Modality, made.InstanceNumber = modality, 1
    made.Rows, made.Columns = pixels.shape[1:3]
    made.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    if pixels.ndim == 4:
        made.PlanarConfiguration = 0
    if len(pixels) > 1:
        made.NumberOfFrames = len(pixels)
    made.PhotometricInterpretation = photometric
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OW" if made.BitsAllocated > 8 else "OB"
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def as_bytes(made: Dataset) -> bytes:
    out = io.BytesIO()
    syntax = made.file_meta.TransferSyntaxUID
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(
        out,
        enforce_file_format=True,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
    )
    return out.getvalue()


def save(made: Dataset, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_bytes(made))
    return str(path)


def sector(n: int = 3, height: int = 300, width: int = 400, text: str = "") -> NDArray[np.uint8]:
    """A speckled ultrasound sector on black, with `text` burned into the upper left corner."""
    rows, columns = np.mgrid[:height, :width]
    depth = np.hypot(rows - 10, columns - width / 2)
    angle = np.arctan2(columns - width / 2, rows - 9)
    inside = (depth > 25) & (depth < height - 20) & (np.abs(angle) < 0.65)
    rng = np.random.default_rng(4)
    frames = np.where(inside, rng.gamma(2.0, 35.0, (n, height, width)).clip(12, 255), 0).astype(np.uint8)
    for frame in frames:
        if text:
            cv2.putText(frame, text, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
            cv2.putText(frame, text, (4, height - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
    return frames
