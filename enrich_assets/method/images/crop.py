"""The square window that a model sees of a clip: chosen around the cone or named in the profile, the same for all frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Crop = Literal["cone", "none"] | tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """A square window, in pixels of the original picture: rows top..top+side, columns left..left+side."""

    top: int
    left: int
    side: int


def crop_box(mask: NDArray[np.bool_], share: float = 0.8, size: int | None = None) -> Box:
    """The square window centred on the mask's bounding box, moved to lie inside the picture.

    Parameters
    ----------
    mask : (h, w) bool
        An empty one counts as the whole picture.
    share : float
        Side of the window as a share of the shorter side (0.8 of 300: the paper's 240).
    size : int, optional
        Side in pixels, instead of the share.

    Raises
    ------
    ValueError
        Where the window is larger than the picture.
    """
    h, w = mask.shape
    if size is None and not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], not {share}")
    side = size if size is not None else max(1, round(share * min(h, w)))
    if not 1 <= side <= min(h, w):
        raise ValueError(f"a window of side {side} does not fit into a picture of {h}x{w}")

    def start(occupied: Any, length: int) -> int:
        at = np.flatnonzero(occupied)
        first, last = (int(at[0]), int(at[-1])) if len(at) else (0, length - 1)
        return min(max((first + last + 1 - side) // 2, 0), length - side)

    return Box(start(mask.any(axis=1), h), start(mask.any(axis=0), w), side)


def crop(frames: NDArray, box: Box) -> NDArray:
    """The window of every frame: (n, h, w) -> (n, side, side), a view. ValueError outside the picture."""
    h, w = frames.shape[-2:]
    if box.side < 1 or box.top < 0 or box.left < 0 or box.top + box.side > h or box.left + box.side > w:
        raise ValueError(f"crop [{box.top}, {box.left}, {box.side}] leaves the picture of {h}x{w}")
    return frames[..., box.top : box.top + box.side, box.left : box.left + box.side]


def window(cone: NDArray[np.bool_], crop_to: Crop, share: float) -> Box:
    """The window that a profile names, the same for all frames of a clip.

    Parameters
    ----------
    cone : (h, w) bool
        Of `cone_mask`.
    crop_to : "cone", "none" or (top, left, side)
        A square of `share` of the shorter side, centred on the cone; the largest centred square, whatever the share;
        or a window in pixels.
    share : float
        In (0, 1].

    Raises
    ------
    ValueError
        For another name; whether the window lies in the picture is for `crop` to say.
    """
    if crop_to == "cone":
        return crop_box(cone, share)
    if crop_to == "none":
        return crop_box(np.ones_like(cone), 1.0)
    if isinstance(crop_to, str):
        raise ValueError(f"crop must be cone, none or [top, left, side], not {crop_to!r}")
    return Box(*map(int, crop_to))
