"""From a decoded frame to the square picture a model sees: find the ultrasound cone, crop, resize, digest.

Greyscale arrays in, greyscale arrays out. Decoding and de-identification belong to `studies`, keeping to
`store`. The steps are those of Chinn et al. 2023 (JAMIA 30:1079): bright-pixel mask, bilateral filter,
threshold, largest contour; a square window centred on it; local means. Resizing is done in whole numbers, so
that every machine, BLAS and thread count gives the same bytes and a pixel digest means the same everywhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Crop = Literal["cone", "none"] | tuple[int, int, int]

_PROJECTED_FRAMES = 32  # evenly spaced frames of a clip show the whole cone
_WORKING_SIDE = 320  # longer side at which the cone is sought: its outline needs no more; bounds time
_FLAT = 2  # grey levels within which 7x7 pixels count as drawn, not scanned: ultrasound has speckle
_ABOVE_BACKGROUND = 7  # grey levels above the background at which a smoothed pixel counts as bright
_LEAST_SHARE = 0.03  # a smaller contour is an icon or a caption
_PART_SHARE = 0.08  # of the largest contour: a dark chamber or shadow may cut the cone into pieces this large
_PART_ELONGATION = 4.0  # pieces of a cone are compact; tool bars and grey wedges are not
_CHUNK_PIXELS = 1 << 19  # per portion of a resize: stays in a core's cache
_EXACT_FLOAT32 = 1 << 24  # whole numbers up to here are exact in float32
_EXACT_FLOAT64 = 1 << 53


@dataclass(frozen=True)
class Box:
    """A square window, in pixels of the original picture: rows top..top+side, columns left..left+side."""

    top: int
    left: int
    side: int


# ------------------------------------------------------------------------------------------------- the cone


def cone_mask(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the clip shows ultrasound: the convex outline of its largest bright area.

    frames: (n, h, w) uint8. Returns (h, w) bool. Sectors and the rectangles of linear probes are convex, so
    the hull gives back what shadows and weak gain took away, and joins pieces that a dark band cut apart.
    Text, rulers and icons are thin or apart and fall away; areas of one even grey (blanked boxes, a
    background that is not black) are drawn, not scanned, and never count.
    All True where there is no cone to find: nothing bright, or a picture that fills its frame.
    Raises ValueError for another shape or dtype, or no frames.
    """
    _check(frames)
    n, h, w = frames.shape
    everywhere = np.ones((h, w), bool)
    some = np.linspace(0, n - 1, min(n, _PROJECTED_FRAMES)).round().astype(int)
    brightest: NDArray[np.uint8] = frames[some].max(axis=0)
    square = np.ones((7, 7), np.uint8)
    drawn = cv2.subtract(cv2.dilate(brightest, square), cv2.erode(brightest, square)) <= _FLAT
    levels = np.bincount(brightest[drawn], minlength=256)
    background = int(levels.argmax()) if levels.max() >= 0.03 * h * w else 0

    scale = min(1.0, _WORKING_SIDE / max(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = cv2.resize(brightest, size, interpolation=cv2.INTER_AREA)
    scanned = cv2.resize((~drawn).astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 127
    smooth = cv2.bilateralFilter(small, 9, 60, 5)
    bright: Any = ((smooth > min(background + _ABOVE_BACKGROUND, 254)) & scanned).astype(np.uint8)
    # The filter carries brightness a pixel outwards: take that pixel back, and with it all thin strokes.
    bright = cv2.erode(bright, _disc(9))
    bright = cv2.morphologyEx(cv2.dilate(bright, _disc(7)), cv2.MORPH_CLOSE, _disc(5))
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return everywhere
    largest = max(contours, key=cv2.contourArea)
    parts = [part for part in contours if part is not largest and _belongs(part, largest)]
    outline = cv2.convexHull(np.concatenate([largest, *parts]))
    if cv2.contourArea(outline) < _LEAST_SHARE * bright.size:
        return everywhere
    mask = np.zeros(bright.shape, np.uint8)
    cv2.fillPoly(mask, [outline], 1)
    if _fills(mask):
        return everywhere
    return cv2.resize(mask, (w, h), interpolation=cv2.INTER_NEAREST).astype(bool)


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


def _check(frames: NDArray) -> None:
    if frames.ndim != 3 or frames.dtype != np.uint8 or frames.size == 0:
        raise ValueError(f"frames must be (n, h, w) uint8, at least one, not {frames.shape} {frames.dtype}")


# ------------------------------------------------------------------------------------------------- the crop


def crop_box(mask: NDArray[np.bool_], share: float = 0.8, size: int | None = None) -> Box:
    """The square window centred on the mask's bounding box, moved to lie inside the picture.

    mask: (h, w) bool. side: `size` pixels, else `share` of the shorter side (0.8 of 300: the paper's 240).
    An empty mask counts as the whole picture. Raises ValueError where the window is larger than the picture.
    """
    h, w = mask.shape
    if size is None and not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], not {share}")
    side = size if size is not None else max(1, round(share * min(h, w)))
    if not 1 <= side <= min(h, w):
        raise ValueError(f"a window of side {side} does not fit into a picture of {h}x{w}")

    def start(occupied: Any, length: int) -> int:
        found = np.flatnonzero(occupied)
        first, last = (int(found[0]), int(found[-1])) if len(found) else (0, length - 1)
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

    cone: (h, w) bool, of `cone_mask`. crop_to: 'cone' (a square of `share` of the shorter side, centred on the cone),
    'none' (the largest centred square; `share` is not asked), or [top, left, side] in pixels.
    Raises ValueError for another name; whether the window lies in the picture is for `crop` to say.
    """
    if crop_to == "cone":
        return crop_box(cone, share)
    if crop_to == "none":
        return crop_box(np.ones_like(cone), 1.0)
    if isinstance(crop_to, str):
        raise ValueError(f"crop must be cone, none or [top, left, side], not {crop_to!r}")
    return Box(*map(int, crop_to))


# ----------------------------------------------------------------------------------------------- the resize


def resize(frames: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Every frame at side x side pixels.

    frames: (n, h, w) uint8. Returns (n, side, side) uint8, contiguous; unchanged where the size is right.
    Down: the mean over the area a new pixel covers (scikit-image's `resize_local_mean`; 240 to 80: of 3x3).
    Up (if either axis must grow): bilinear between pixel centres, edges repeated, as OpenCV's `INTER_LINEAR`.
    The weights are whole numbers over a common denominator and all sums stay below 2^24 (float32) or 2^53
    (float64), so the result is the true value rounded half to even, bit for bit everywhere. scikit-image rounds
    on its way: its result, rounded, differs by 1 at most, and only where the true value lies exactly halfway.
    Raises ValueError for another shape or dtype, or a side below 1.
    """
    if frames.ndim != 3 or frames.dtype != np.uint8 or side < 1:
        found = f"{frames.shape} {frames.dtype}, {side}"
        raise ValueError(f"frames must be (n, h, w) uint8 and side at least 1, not {found}")
    n, h, w = frames.shape
    if (h, w) == (side, side):
        return np.ascontiguousarray(frames)
    up = h < side or w < side
    (rows, by_row), (columns, by_column) = _weights(h, side, up), _weights(w, side, up)
    whole = by_row * by_column
    if 255 * whole >= _EXACT_FLOAT64:
        raise ValueError(f"{h}x{w} to {side}x{side} is beyond exact arithmetic; crop first")
    dtype = np.float32 if 255 * whole < _EXACT_FLOAT32 else np.float64
    across = np.ascontiguousarray(columns.T.astype(dtype))
    out = np.empty((n, side, side), np.uint8)
    step = max(1, _CHUNK_PIXELS // (h * w))
    for start in range(0, n, step):
        low = _sum_rows(frames[start : start + step], rows, dtype)  # (k, side, w)
        sums = low.reshape(-1, w) @ across  # (k * side, side), whole numbers
        # In float64 a quotient of these numbers is never rounded onto or across a half.
        means = np.rint(np.divide(sums, whole, dtype=np.float64))
        out[start : start + step] = means.reshape(-1, side, side)
    return out


def _sum_rows(frames: NDArray[np.uint8], weights: NDArray[np.int64], dtype: Any) -> NDArray[Any]:
    """(k, h, w) -> (k, new, w) weighted sums: a new row draws on few neighbours: no matrix product."""
    old = frames.shape[1]
    first = (weights > 0).argmax(axis=1)
    total = np.zeros((len(frames), len(weights), frames.shape[2]), dtype)
    for tap in range(int((weights > 0).sum(axis=1).max())):
        row = first + tap
        weight = np.where(row < old, weights[np.arange(len(weights)), np.minimum(row, old - 1)], 0)
        total += np.multiply(frames[:, np.minimum(row, old - 1)], weight[:, None].astype(dtype), dtype=dtype)
    return total


@lru_cache(maxsize=64)
def _weights(old: int, new: int, up: bool) -> tuple[NDArray[np.int64], int]:
    """(new, old) whole-numbered weights of one axis and their sum, the same for every new pixel."""
    if old == new:
        return np.eye(new, dtype=np.int64), 1
    i = np.arange(new)[:, None]
    if up:
        # Centre of new pixel i among the old ones, in units of 1 / (2 new); beyond the outermost, the edge.
        centre = np.clip((2 * i + 1) * old - new, 0, 2 * new * (old - 1))
        weights, total = np.maximum(0, 2 * new - np.abs(centre - 2 * new * np.arange(old))), 2 * new
    else:
        # With the axis cut into old * new units an old pixel spans `new` of them, a new one `old`: overlaps.
        j = np.arange(old)
        overlap = np.minimum((i + 1) * old, (j + 1) * new) - np.maximum(i * old, j * new)
        weights, total = np.maximum(0, overlap), old
    common = int(np.gcd.reduce(weights, axis=None))
    return (weights // common).astype(np.int64), total // common


def resize_mask(masks: NDArray, side: int) -> NDArray:
    """Class indices at side x side, nearest neighbour: (n, h, w) -> (n, side, side), same dtype and values.

    A new pixel takes the old pixel that holds its centre (the lower of two it lies between), so masks stay
    aligned with pictures from `resize`.
    """
    if masks.ndim != 3 or side < 1:
        raise ValueError(f"masks must be (n, h, w) and side at least 1, not {masks.shape}, {side}")

    def nearest(old: int) -> NDArray[np.int64]:
        return np.clip(((2 * np.arange(side) + 1) * old - 1) // (2 * side), 0, old - 1)

    return np.ascontiguousarray(masks[:, nearest(masks.shape[1])[:, None], nearest(masks.shape[2])])


# ----------------------------------------------------------------------------------------------- the digest


def pixel_digest(frame: NDArray[np.uint8]) -> str:
    """sha256 in hex of one frame's height, width and bytes: bytes in another shape are another picture."""
    h, w = frame.shape
    digest = hashlib.sha256(f"{h}x{w}:".encode())
    digest.update(np.ascontiguousarray(frame, np.uint8).tobytes())
    return digest.hexdigest()


def pixel_digests(frames: NDArray[np.uint8]) -> list[str]:
    """`pixel_digest` of each frame of (n, h, w)."""
    return [pixel_digest(frame) for frame in frames]
