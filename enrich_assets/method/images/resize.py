"""Pictures and masks at another size, in whole numbers: every machine, BLAS and thread count gives the same bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK_PIXELS = 1 << 19  # per portion of a resize: stays in a core's cache
_EXACT_FLOAT32 = 1 << 24  # whole numbers up to here are exact in float32
_EXACT_FLOAT64 = 1 << 53


def resize(frames: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Every frame at side x side pixels.

    Parameters
    ----------
    frames : (n, h, w) uint8
    side : int
        In pixels.

    Returns
    -------
    (n, side, side) uint8
        Contiguous; unchanged where the size is right.

    Raises
    ------
    ValueError
        For another shape or dtype, or a side below 1.

    Notes
    -----
    Down: the mean over the area a new pixel covers (scikit-image's `resize_local_mean`; 240 to 80: of 3x3).
    Up (if either axis must grow): bilinear between pixel centres, edges repeated, as OpenCV's `INTER_LINEAR`.
    The weights are whole numbers over a common denominator and all sums stay below 2^24 (float32) or 2^53
    (float64), so the result is the true value rounded half to even, bit for bit everywhere. scikit-image rounds
    on its way: its result, rounded, differs by 1 at most, and only where the true value lies exactly halfway.
    """
    if frames.ndim != 3 or frames.dtype != np.uint8 or side < 1:
        given = f"{frames.shape} {frames.dtype}, {side}"
        raise ValueError(f"frames must be (n, h, w) uint8 and side at least 1, not {given}")
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
    """Class indices at side x side, nearest neighbour.

    A new pixel takes the old pixel that holds its centre (the lower of two it lies between), so masks stay
    aligned with pictures from `resize`.

    Parameters
    ----------
    masks : (n, h, w) of any integer type
    side : int
        In pixels.

    Returns
    -------
    (n, side, side)
        Same dtype and values.

    Raises
    ------
    ValueError
        For another shape, or a side below 1.
    """
    if masks.ndim != 3 or side < 1:
        raise ValueError(f"masks must be (n, h, w) and side at least 1, not {masks.shape}, {side}")

    def nearest(old: int) -> NDArray[np.int64]:
        return np.clip(((2 * np.arange(side) + 1) * old - 1) // (2 * side), 0, old - 1)

    return np.ascontiguousarray(masks[:, nearest(masks.shape[1])[:, None], nearest(masks.shape[2])])
