"""An order of frames: the record that every rule returns, and what is checked of a start set.

Here: what all rules share. How an order is found stands in `greedy` and `rules`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT, SCALE, to_cosine

NOT_COMPARED = -2 * EXACT  # `Ranking.similarity_to_chosen` of frames that nothing was compared with
_BLOCK = 2048


@dataclass(frozen=True)
class Ranking:
    """An order of frames and how similar each was to those before it."""

    order: NDArray[np.int64]  # (budget,) frames, the start set first
    similarity_to_chosen: NDArray[np.int64]  # (budget,) greatest product with a frame before it; else NOT_COMPARED
    unit: int = SCALE**2  # what a product is divided by to make a similarity

    def cosine_to_chosen(self) -> NDArray[np.float64]:
        """(budget,) the greatest similarity to a frame before it; NaN for the start set and where none was measured."""
        if self.unit == SCALE**2:
            value = to_cosine(self.similarity_to_chosen)
        else:
            value = self.similarity_to_chosen / self.unit
        return np.where(self.similarity_to_chosen == NOT_COMPARED, np.nan, value)


def checked_start(start: ArrayLike, budget: int, n: int) -> NDArray[np.int64]:
    """`start` as indices into a pool of n frames.

    Returns
    -------
    (m,) int64

    Raises
    ------
    ValueError
        For an index outside the pool, one that stands there twice, or more of them than the budget.
    """
    given = np.asarray(start)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f"start must be a vector of indices, not {given.dtype} {given.shape}")
    chosen = given.astype(np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= n):
        raise ValueError(f"start holds an index outside 0..{n - 1}")
    if len(np.unique(chosen)) < len(chosen):
        raise ValueError("start holds a frame twice")
    if not len(chosen) <= budget <= n:
        raise ValueError(f"the budget must lie between the start set ({len(chosen)}) and the pool ({n}), not {budget}")
    return chosen


def similarity_to_earlier(q: NDArray[np.int16], order: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """How similar each frame of any order is to those before it.

    Parameters
    ----------
    q : (n, d) int16
        Fixed-point vectors.
    order : (m,) int64
        Frames.
    first : int
        The place from which on they are compared.

    Returns
    -------
    (m,) int64
        The greatest product with a frame before it; NOT_COMPARED before place `first`, and at place 0.
    """
    x = q[order].astype(np.float32)
    greatest = np.full(len(x), NOT_COMPARED, np.int64)
    for at in range(first, len(x), _BLOCK):
        block = x[at : at + _BLOCK]
        among = np.where(np.tri(len(block), k=-1, dtype=bool), block @ block.T, np.float32(NOT_COMPARED)).max(axis=1)
        for begin in range(0, at, _BLOCK):
            among = np.maximum(among, (block @ x[begin : min(begin + _BLOCK, at)].T).max(axis=1))
        greatest[at : at + _BLOCK] = among
    return greatest
