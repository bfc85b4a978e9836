"""Writing a phantom clip as a scanner or an export would: multi-frame DICOM, video, stills, masks.

Every identity written here is made up. It is written all the same, into headers and pixels, because real files carry
such text and de-identification must have something to remove.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage

UID_ROOT = "1.2.826.0.1.3680043.10.511."  # of no manufacturer
_UNCOMPRESSED_FRAMES = 4  # so many frames at most are written without compression
_JPEG_QUALITY = 88
# libx264's AVX-512 code (its macroblock tree) reads memory that it never wrote: of 100 encodings of the same three frames
# a third differed, by up to 10 grey levels. Up to SSE4.2 all 100 are the ones that AVX-512 gives most of the time.
_REPEATABLE_X264 = (
    {"x264-params": "asm=MMX2,SSE2Fast,SSSE3,SSE4.2"} if platform.machine().lower() in ("x86_64", "amd64") else {}
)


@dataclass(frozen=True)
class Identity:
    """A made-up person and examination."""

    name: str  # as DICOM writes it: FAMILY^GIVEN
    number: str
    birth_date: str  # YYYYMMDD
    study_date: str
    study_number: int  # for UIDs
    hospital: str
    physician: str
    weeks: str  # of gestation, as printed


def write_dicom(
    path: Path, frames: NDArray[np.uint8], frame_ms: float, identity: Identity, clip_number: int, box: tuple[int, ...]
) -> None:
    """A US multi-frame object.

    Parameters
    ----------
    path : Path
        Where to write it.
    frames : (n, h, w) uint8
        JPEG-compressed where there are more than four.
    frame_ms : float
        Milliseconds from one frame to the next.
    identity : Identity
        Written into the header in full.
    clip_number : int
        In the study, from 1.
    box : tuple of int
        x0, y0, x1, y1 of the cone in pixels, for SequenceOfUltrasoundRegions.
    """
    n, rows, columns = frames.shape
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "", "0001"]
    ds.SOPClassUID = UltrasoundMultiFrameImageStorage
    ds.StudyInstanceUID = f"{UID_ROOT}1.{identity.study_number}"
    ds.SeriesInstanceUID = f"{UID_ROOT}2.{identity.study_number}"
    ds.SOPInstanceUID = f"{UID_ROOT}3.{identity.study_number}.{clip_number}"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = identity.study_date
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = f"09{clip_number % 60:02d}00"
    ds.Modality = "US"
    ds.Manufacturer = "Phantom"
    ds.InstitutionName = identity.hospital
    ds.ReferringPhysicianName = identity.physician
    ds.StudyDescription = "Fetal echocardiography"
    ds.PatientName = identity.name
    ds.PatientID = identity.number
    ds.PatientBirthDate = identity.birth_date
    ds.PatientSex = "F"
    ds.PatientComments = f"GA {identity.weeks}"
    ds.StudyID = str(identity.study_number)
    ds.AccessionNumber = f"A{identity.study_number}"
    ds.SeriesNumber, ds.InstanceNumber = 1, clip_number
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.NumberOfFrames = rows, columns, n
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.FrameTime = f"{frame_ms:.3f}"
    ds.FrameIncrementPointer = 0x00181063
    ds.BurnedInAnnotation = "YES"
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = box[0], box[1]
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = box[2], box[3]
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.025
    ds.SequenceOfUltrasoundRegions = Sequence([region])
    compressed = n > _UNCOMPRESSED_FRAMES
    if compressed:
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
        ds.PixelData = encapsulate([_jpeg(frame) for frame in frames])
    else:
        ds.PixelData = frames.tobytes() + b"\0" * (frames.size % 2)
    ds["PixelData"].VR = "OB"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = JPEGBaseline8Bit if compressed else ExplicitVRLittleEndian
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True)


def _jpeg(frame: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def write_video(path: Path, frames: NDArray[np.uint8], frames_per_second: int) -> None:
    """An avi (motion JPEG) or mp4 (H.264) of high quality; the suffix of `path` decides. One thread, so that bytes repeat."""
    _, rows, columns = frames.shape
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        if path.suffix == ".avi":
            stream = container.add_stream("mjpeg", rate=frames_per_second)
            stream.pix_fmt = "yuvj420p"
            stream.options = {"qmin": "3", "qmax": "3", "threads": "1"}
        else:
            stream = container.add_stream("libx264", rate=frames_per_second)
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "19", "preset": "veryfast", "threads": "1", **_REPEATABLE_X264}
        stream.width, stream.height = columns, rows
        stream.codec_context.time_base = Fraction(1, frames_per_second)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="gray")
            picture.pts = number
            for packet in stream.encode(picture):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """A still, or a mask of class indices."""
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 3]):
        raise OSError(f"{path}: cannot be written; is the disk full?")
