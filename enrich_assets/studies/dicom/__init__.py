"""DICOM: folders without a manifest, headers, pixels, and what identifies a patient.

The door of the room. Only `reading` (one file to one clip) is entered by its own name, because it loads OpenCV and
FFmpeg.
"""

from enrich_assets.studies.dicom.folder import NO_DICOM, scan_dicom
from enrich_assets.studies.dicom.header import looks_like_dicom

__all__ = ["NO_DICOM", "looks_like_dicom", "scan_dicom"]
