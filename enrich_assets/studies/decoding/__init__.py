"""From encoded pictures to greyscale frames: stills, videos, volumes, and the `Clip` in which every reader hands frames over.

What is common to all kinds of files. Nothing here knows DICOM, manifests or masks.
"""

from enrich_assets.studies.decoding.clip import Clip, refuse_absurd_bytes, refuse_absurd_size
from enrich_assets.studies.decoding.greyscale import to_eight_bits, to_grey
from enrich_assets.studies.decoding.stills import read_still
from enrich_assets.studies.decoding.video import read_video
from enrich_assets.studies.decoding.volume import Plane, read_mask_volume, read_volume, suffix_of_volume

__all__ = [
    "Clip",
    "Plane",
    "read_mask_volume",
    "read_still",
    "read_video",
    "read_volume",
    "refuse_absurd_bytes",
    "refuse_absurd_size",
    "suffix_of_volume",
    "to_eight_bits",
    "to_grey",
]
