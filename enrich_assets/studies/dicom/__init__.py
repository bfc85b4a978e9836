"""DICOM: folders without a manifest, headers, pixels, and what identifies a patient.

The door of the room. Only `reading` (one file to one clip) is entered by its own name, because it loads OpenCV and
FFmpeg, and whoever opens an archive needs the pseudonyms alone.
"""

from enrich_assets.studies.dicom.deidentify import Pseudonyms
from enrich_assets.studies.dicom.folder import NO_DICOM, scan_dicom
from enrich_assets.studies.dicom.header import looks_like_dicom
from enrich_assets.studies.dicom.sealed_paths import is_sealed, seal, short_name, unseal

__all__ = ["NO_DICOM", "Pseudonyms", "is_sealed", "looks_like_dicom", "scan_dicom", "seal", "short_name", "unseal"]
