"""Files to frames and masks: one file, whatever its kind, to one clip (`reading`); a mask file or folder to class indices.

The door of the room.
"""

from enrich_assets.studies.readers.announced import frames_announced
from enrich_assets.studies.readers.masks import read_mask, size_of_mask
from enrich_assets.studies.readers.reading import Clip, Kind, kind_of, read_clip
from enrich_assets.studies.readers.views import Pictures, View, Wanted, read_frames, read_pictures

__all__ = [
    "Clip",
    "Kind",
    "Pictures",
    "View",
    "Wanted",
    "frames_announced",
    "kind_of",
    "read_clip",
    "read_frames",
    "read_mask",
    "read_pictures",
    "size_of_mask",
]
