"""Fixed-point unit vectors: the form in which embeddings are stored, compared and ranked.

Here: the conversion, its bound, and the check that others call at their door. What is done with the vectors stands in
`method/pairs` and `method/ranking`. numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCALE = 4000
EXACT = 1 << 24  # float32 holds every integer below this exactly
MAX_DIMENSIONS = 36_863  # the largest d with (SCALE + sqrt(d) / 2)^2 < EXACT
_ROWS = 8192  # at a time: a float64 copy of a large pool need not fit into memory


def to_fixed_point(vectors: ArrayLike) -> NDArray[np.int16]:
    """Unit vectors as integers: `round_half_even(4000 x / |x|)`.

    Parameters
    ----------
    vectors : (n, d) of any float type
        Lengths and quotients are float64, so the result does not depend on the input's precision beyond its values.

    Returns
    -------
    (n, d) int16

    Raises
    ------
    ValueError
        For another shape, for d above the bound, and for a vector that has no direction (zero, NaN or infinite), naming
        its row.

    Notes
    -----
    Why 4000. Rounding moves each component by at most 1/2, so |q| <= 4000 + sqrt(d)/2. By Cauchy-Schwarz every partial
    sum of a dot product, over any subset of the components and in any order, is at most |q|^2 in absolute value:
    (4000 + sqrt(128)/2)^2 = 16,045,287 < 2^24 for d = 128, and below 2^24 up to d = 36,863. The single products are
    smaller still. A float32 product therefore never rounds, and its result is the exact integer.
    """
    x = np.asarray(vectors)
    if x.ndim != 2:
        raise ValueError(f"vectors must be (n, d), not {x.shape}")
    if x.shape[1] > MAX_DIMENSIONS:
        raise ValueError(f"{x.shape[1]} dimensions: dot products are exact up to {MAX_DIMENSIONS}; reduce them first")
    fixed = np.empty(x.shape, np.int16)
    for at in range(0, len(x), _ROWS):
        fixed[at : at + _ROWS] = _in_float64(x[at : at + _ROWS].astype(np.float64), at)
    return fixed


def _in_float64(x: NDArray[np.float64], first_row: int) -> NDArray[np.float64]:
    # Divided by the greatest component first, so that the squares neither overflow nor vanish.
    greatest = np.abs(x).max(axis=1, initial=0.0, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(greatest[:, 0]) & (greatest[:, 0] > 0)))
    if len(bad):
        what = "is zero" if greatest[bad[0], 0] == 0 else "is not finite"
        raise ValueError(
            f"the vector of row {first_row + bad[0]} {what}: it has no direction; leave the frame out or embed it again"
        )
    x = x / greatest
    return np.rint(x * (SCALE / np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]))


def checked(embeddings: ArrayLike) -> NDArray[np.int16]:
    """The embeddings as a C-ordered (n, d) int16 array, checked to be in fixed point.

    Whoever computes with fixed point calls this once, at the door. It reads the vectors' lengths, since exactness hangs
    on them.

    Parameters
    ----------
    embeddings : (n, d) int16
        From `to_fixed_point`.

    Returns
    -------
    (n, d) int16

    Raises
    ------
    ValueError
        With the reason why they are not in fixed point.
    """
    q = np.asarray(embeddings)
    if q.ndim != 2 or q.dtype != np.int16:
        raise ValueError(f"embeddings must be (n, d) int16 from `to_fixed_point`, not {q.dtype} {q.shape}")
    q = np.ascontiguousarray(q)
    for at in range(0, len(q), _ROWS):
        part = q[at : at + _ROWS].astype(np.float32)
        # Squares of int16 sum without rounding up to EXACT; beyond that the comparison is decided all the same.
        long = np.flatnonzero(np.einsum("ij,ij->i", part, part) >= EXACT)
        if len(long):
            raise ValueError(f"the vector of row {at + int(long[0])} is longer than 4096: not from `to_fixed_point`")
    return q


def to_cosine(products: ArrayLike) -> NDArray[np.float64]:
    """Integer dot products as float64 cosines, clipped to [-1, 1] (rounding makes self-products differ from 1)."""
    return np.clip(np.asarray(products, dtype=np.float64) / SCALE**2, -1.0, 1.0)


def least_product(cosine: float, *, above: bool = False) -> int:
    """The least integer product whose cosine reaches a threshold, compared as float64.

    Parameters
    ----------
    cosine : float
        The threshold.
    above : bool
        Whether the product's cosine must be more than the threshold, or at least it.

    Returns
    -------
    int
        -2^25 when every product reaches it; 2^25 when none does.

    Raises
    ------
    ValueError
        For NaN.
    """
    if np.isnan(cosine):
        raise ValueError("a cosine to compare with must not be NaN")

    def reached(v: int) -> bool:
        value = float(to_cosine(v))
        return value > cosine if above else value >= cosine

    if reached(-(SCALE**2)):
        return -2 * EXACT
    if not reached(SCALE**2):
        return 2 * EXACT
    at = round(cosine * SCALE**2)  # within one of the answer: the quotient is rounded once
    while reached(at - 1):
        at -= 1
    while not reached(at):
        at += 1
    return at
