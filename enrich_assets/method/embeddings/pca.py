"""Principal components of the pixels: an embedding in seconds, and the baseline that every other one must beat.

As exact as whole numbers make it. The covariance of uint8 pixels is a matrix of integers that float64 holds, so it is the
same on every machine. Its eigenvectors are LAPACK's, good to about 1e-12; they are rounded to multiples of 2^-15, which is
the same integer everywhere but for an entry that lies on a rounding edge (of 32 components about one fit in a hundred has
one, and it moves that entry by 2^-15). From the stored components on, a frame's projection is a sum of integers, exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNIT = 1 << 15  # a component's entry of 1
_EXACT = 1 << 53  # float64 holds every integer below this
_ROWS = 4096


@dataclass(frozen=True)
class PrincipalComponents:
    """Directions of the greatest variance, in whole numbers.

    Attributes
    ----------
    components : (d, p) int32
        Unit vectors in multiples of 2^-15, the greatest variance first. Of each, the entry of the greatest absolute value
        (the first of equals) is positive.
    offsets : (d,) int64
        The mean frame's projection, in multiples of 2^-15 grey values.
    variance_share : (d,) float64
        Share of the pixels' variance along each.
    """

    components: NDArray[np.int32]
    offsets: NDArray[np.int64]
    variance_share: NDArray[np.float64]


def fit_pca(frames: NDArray[np.uint8], dimensions: int) -> PrincipalComponents:
    """The first principal components of frames.

    Parameters
    ----------
    frames : (n, h, w) uint8
        n at least 2.
    dimensions : int
        How many; fewer are given where the frames vary in fewer directions.

    Returns
    -------
    PrincipalComponents
        Of p = h * w pixels.

    Raises
    ------
    ValueError
        For fewer than two frames, frames that are all alike, or so many that sums are no longer exact.

    Notes
    -----
    With X the (n, p) pixels and s their sum, n^2 times the covariance is n X'X - s s', a matrix of integers. Where n < p,
    the eigenvectors u of the n x n Gram matrix of the centred pixels are taken instead, and X'u is scaled to unit length: the
    same directions (Jolliffe 2002, Principal Component Analysis, 2nd ed., section 3.5, by the singular value decomposition).
    """
    from scipy.linalg import eigh

    n, pixels = len(frames), frames[0].size if len(frames) else 0
    if n < 2:
        raise ValueError(f"principal components need two frames or more, not {n}")
    if 255 * 255 * n * n * max(1, pixels // n) >= _EXACT:
        raise ValueError(f"{n:,} frames of {pixels:,} pixels are beyond exact sums; fit to fewer frames")
    x = frames.reshape(n, pixels).astype(np.float64)
    total = x.sum(axis=0)
    if n < pixels:
        gram, sums = x @ x.T, x @ total
        # n^2 (x_i - m)(x_j - m) = n^2 x_i x_j - n (x_i s + x_j s) + s s, all whole
        matrix = n * n * gram - n * (sums[:, None] + sums[None, :]) + total @ total
    else:
        matrix = n * (x.T @ x) - np.outer(total, total)
    trace = float(np.trace(matrix))
    if trace <= 0:
        raise ValueError("all frames are the same picture: there is nothing to tell them apart by")
    side, wanted = len(matrix), min(dimensions, len(matrix))
    values, vectors = eigh(matrix, subset_by_index=(side - wanted, side - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > 1e-9 * trace
    values, vectors = values[kept], vectors[:, kept]
    directions = (x - total / n).T @ vectors if n < pixels else vectors  # (p, d)
    components = directions.T / np.linalg.norm(directions, axis=0)[:, None]
    whole = np.rint(_signed(components) * UNIT).astype(np.int32)
    # Integers again: below 255 n p 2^15, which stays far below 2^53.
    offsets = np.rint(whole.astype(np.float64) @ total / n).astype(np.int64)
    return PrincipalComponents(whole, offsets, values / trace)


def _signed(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """An eigenvector's sign is arbitrary: the greatest entry is made positive."""
    # Rounded before they are compared, so that entries equal but for noise are a tie that the first wins.
    greatest = np.abs(np.round(components, 9)).argmax(axis=1)
    return components * np.sign(components[np.arange(len(components)), greatest])[:, None]


def project(fitted: PrincipalComponents, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where frames lie along the components.

    Parameters
    ----------
    fitted : PrincipalComponents
        Of p pixels.
    frames : (n, h, w) uint8
        h * w = p.

    Returns
    -------
    (n, d) float64
        Whole numbers, in multiples of 2^-15 grey values: exact.

    Raises
    ------
    ValueError
        For frames of another size.
    """
    components, pixels = fitted.components.astype(np.float64).T, fitted.components.shape[1]
    flat = frames.reshape(len(frames), -1) if len(frames) else np.empty((0, pixels), np.uint8)
    if flat.shape[1] != pixels:
        raise ValueError(f"frames of {flat.shape[1]:,} pixels, but components of {pixels:,}")
    projected = np.empty((len(flat), components.shape[1]), np.float64)
    for at in range(0, len(flat), _ROWS):  # |x c| <= 255 p 2^15 < 2^53: no sum rounds, whatever its order
        projected[at : at + _ROWS] = flat[at : at + _ROWS].astype(np.float64) @ components
    return projected - fitted.offsets
