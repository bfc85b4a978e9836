"""Where a clip shows ultrasound: the cone of a sector probe, the rectangle of a linear one.

The steps are those of Chinn et al. 2023 (JAMIA 30:1079): bright-pixel mask, bilateral filter, threshold, largest contour.
Greyscale arrays in, a mask out; cutting a window around it is for `crop`.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_PROJECTED_FRAMES = 32  # evenly spaced frames of a clip show the whole cone
_WORKING_SIDE = 320  # longer side at which the cone is sought: its outline needs no more; bounds time
_FLAT = 2  # grey levels within which 7x7 pixels count as drawn, not scanned: ultrasound has speckle
_BACKGROUND_SHARE = 0.03  # of the picture: the commonest grey of drawn pixels is a background from here on
_ABOVE_BACKGROUND = 7  # grey levels above the background at which a smoothed pixel counts as bright
_LEAST_SHARE = 0.03  # a smaller contour is an icon or a caption
_PART_SHARE = 0.08  # of the largest contour: a dark chamber or shadow may cut the cone into pieces this large
_PART_ELONGATION = 4.0  # pieces of a cone are compact; tool bars and grey wedges are not


def cone_mask(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the clip shows ultrasound: the convex outline of its largest bright area.

    Parameters
    ----------
    frames : (n, h, w) uint8
        Of one clip, at least one.

    Returns
    -------
    (h, w) bool
        All True where there is no cone to find: nothing bright, or a picture that fills its frame.

    Raises
    ------
    ValueError
        For another shape or dtype, or no frames.

    Notes
    -----
    Sectors and the rectangles of linear probes are convex, so the hull gives back what shadows and weak gain took away,
    and joins pieces that a dark band cut apart. Text, rulers and icons are thin or apart and fall away; areas of one
    even grey (blanked boxes, a background that is not black) are drawn, not scanned, and never count.
    """
    if frames.ndim != 3 or frames.dtype != np.uint8 or frames.size == 0:
        raise ValueError(f"frames must be (n, h, w) uint8, at least one, not {frames.shape} {frames.dtype}")
    n, h, w = frames.shape
    everywhere = np.ones((h, w), bool)
    spaced = np.linspace(0, n - 1, min(n, _PROJECTED_FRAMES)).round().astype(int)
    bright = _bright_pixels(frames[spaced].max(axis=0))
    outline = _outline(bright)
    if outline is None:
        return everywhere
    mask = np.zeros(bright.shape, np.uint8)
    cv2.fillPoly(mask, [outline], 1)
    if _fills(mask):
        return everywhere
    return cv2.resize(mask, (w, h), interpolation=cv2.INTER_NEAREST).astype(bool)


def _bright_pixels(brightest: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scanned pixels brighter than the background, 0/1, at the working size, without thin strokes.

    brightest: (h, w), each pixel at its brightest over the clip.
    """
    h, w = brightest.shape
    square = np.ones((7, 7), np.uint8)
    drawn = cv2.subtract(cv2.dilate(brightest, square), cv2.erode(brightest, square)) <= _FLAT
    levels = np.bincount(brightest[drawn], minlength=256)
    background = int(levels.argmax()) if levels.max() >= _BACKGROUND_SHARE * h * w else 0

    scale = min(1.0, _WORKING_SIDE / max(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = cv2.resize(brightest, size, interpolation=cv2.INTER_AREA)
    scanned = cv2.resize((~drawn).astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 127
    smooth = cv2.bilateralFilter(small, 9, 60, 5)
    bright: Any = ((smooth > min(background + _ABOVE_BACKGROUND, 254)) & scanned).astype(np.uint8)
    # The filter carries brightness a pixel outwards: take that pixel back, and with it all thin strokes.
    bright = cv2.erode(bright, _disc(9))
    return cv2.morphologyEx(cv2.dilate(bright, _disc(7)), cv2.MORPH_CLOSE, _disc(5))


def _outline(bright: NDArray[np.uint8]) -> Any | None:
    """The convex hull of the largest contour and the pieces that belong to it; None where it is too small for a cone."""
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    parts = [part for part in contours if part is not largest and _belongs(part, largest)]
    outline = cv2.convexHull(np.concatenate([largest, *parts]))
    return None if cv2.contourArea(outline) < _LEAST_SHARE * bright.size else outline


def _belongs(part: Any, largest: Any) -> bool:
    width, height = cv2.minAreaRect(part)[1]
    compact = max(width, height) <= _PART_ELONGATION * min(width, height)
    return compact and cv2.contourArea(part) >= _PART_SHARE * cv2.contourArea(largest)


def _disc(diameter: int) -> Any:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))


def _fills(mask: NDArray[np.uint8]) -> bool:
    """Nearly all of the picture, or against all four of its edges."""
    edges = (mask[:2].max(axis=0), mask[-2:].max(axis=0), mask[:, :2].max(axis=1), mask[:, -2:].max(axis=1))
    return float(mask.mean()) > 0.93 or all(float(edge.mean()) > 0.2 for edge in edges)
