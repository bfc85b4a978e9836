"""Rows of which none is nearly the same as one before it: near-duplicates left out, in a given order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 512


def first_of_near_duplicates(vectors: NDArray[np.int16], least_product: int) -> NDArray[np.int64]:
    """Positions of the rows that are kept: a row goes where it is nearly the same as one kept before it.

    Parameters
    ----------
    vectors : (n, d) int16
        Fixed-point unit vectors, the one to be kept rather first.
    least_product : int
        From this inner product on, two rows are nearly the same (a cosine times `SCALE`^2).

    Returns
    -------
    (k,) int64
        In ascending order; the first row is among them.

    Notes
    -----
    Products of fixed-point unit vectors are exact in float32 (`embeddings.fixed_point`), so the result does not depend on the blocks.
    """
    rows = np.ascontiguousarray(vectors, np.float32)
    kept = np.empty(0, np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        is_new = np.ones(len(block), bool)
        for at in range(0, len(kept), _BLOCK):
            is_new &= ~(block @ rows[kept[at : at + _BLOCK]].T >= least_product).any(axis=1)
        alike = block @ block.T >= least_product
        chosen: list[int] = []
        for row in np.flatnonzero(is_new):
            if not alike[row, chosen].any():
                chosen.append(int(row))
        kept = np.concatenate([kept, start + np.array(chosen, np.int64)])
    return kept
