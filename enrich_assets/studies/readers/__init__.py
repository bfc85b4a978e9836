"""Files to frames and masks: one file, whatever its kind, to one clip (`reading`); a mask file or folder to class indices.

The door of the room.
"""

from enrich_assets.studies.readers.masks import read_mask
from enrich_assets.studies.readers.reading import Clip, read_clip

__all__ = ["Clip", "read_clip", "read_mask"]
