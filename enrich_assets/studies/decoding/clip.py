"""What reading a file gives: the frames of one clip and what was learnt on the way. No reading happens here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.errors import UnreadableFile

# Far above anything a scanner writes, far below what would bring a machine down.
MAX_FRAME_PIXELS = 1 << 26
MAX_CLIP_PIXELS = 1 << 31
MAX_DECODED_BYTES = 1 << 31  # of all channels of all frames


@dataclass
class Clip:
    """The frames of one file.

    Attributes
    ----------
    frames : (n, h, w) uint8
        Greyscale.
    kept : dict
        Attributes of the file that identify nobody.
    warnings : list of str
        What a user should know.
    actions : list of str
        What de-identification did.
    frame_times_ms : (n,) float64, optional
        Milliseconds from the first frame on, where known.
    is_partial : bool
        Fewer frames than the file announces.
    """

    frames: NDArray[np.uint8] = field(repr=False)
    kept: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    frame_times_ms: NDArray[np.float64] | None = field(default=None, repr=False)
    is_partial: bool = False

    def __len__(self) -> int:
        return len(self.frames)


def refuse_absurd_size(path: str, height: int, width: int, n_frames: int = 1, bytes_per_pixel: int = 1) -> None:
    """Refuse what no real recording needs, before memory is asked for.

    Parameters
    ----------
    path : str
        For messages.
    height, width, n_frames : int
        As the header announces them.
    bytes_per_pixel : int
        Of all channels together.

    Raises
    ------
    UnreadableFile
        No pixels at all, or more than can be one clip.
    """
    if height < 1 or width < 1 or n_frames < 1:
        raise UnreadableFile(path, f"has no pixels ({n_frames} frames of {height}x{width})", "export it again")
    if height * width > MAX_FRAME_PIXELS or height * width * n_frames > MAX_CLIP_PIXELS:
        raise UnreadableFile(
            path,
            f"announces {n_frames} frames of {height}x{width}, more than can be one clip",
            "cut or shrink it; if its true size is smaller, its header is damaged",
        )
    refuse_absurd_bytes(path, height * width * n_frames * bytes_per_pixel)


def refuse_absurd_bytes(path: str, n_bytes: int) -> None:
    """Refuse what decodes to more than can be held. Raises UnreadableFile."""
    if n_bytes > MAX_DECODED_BYTES:
        raise UnreadableFile(
            path,
            f"decodes to more than {MAX_DECODED_BYTES >> 30} GiB, and no clip is as large",
            "cut or shrink it; if its true size is smaller, its header is damaged",
        )
