"""Bins from thresholds: how many thresholds a product reaches, by a look into a table instead of a search.

Here: the tables of the compiled pass, and nothing about pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT

OFFSET = EXACT  # makes products positive
_WIDEST, _NARROWEST = 13, 8  # of the cells, as shifts: tables of 16 KB to 0.5 MB


@dataclass(frozen=True)
class BinTable:
    """A table that turns a product into the number of thresholds it reaches, without searching.

    Products, made positive, are cut into cells of 2^shift, at most one threshold in each. A table entry holds the number
    of thresholds below its cell, times 2^shift, and what the remainder of a product lacks to carry at the cell's own
    threshold. So the number of thresholds that w reaches is ((w mod 2^shift) + table[w >> shift]) >> shift.

    Examples
    --------
    Cells of 4, thresholds 5 and 10. Cell 0 holds none: its entry is 0. Cell 1 holds 5, at remainder 1, none below: 3 is
    lacking to carry, so 4 becomes (0 + 3) >> 2 = 0 and 5 becomes (1 + 3) >> 2 = 1. Cell 2 holds 10, at remainder 2, one
    below: its entry is 4 + 2, so 9 becomes (1 + 6) >> 2 = 1 and 10 becomes (2 + 6) >> 2 = 2.
    """

    shift: int
    table: NDArray[np.uint32]  # (2 EXACT >> shift,)
    places: NDArray[np.int64]  # which thresholds these are

    def reached(self, products: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of its thresholds each product reaches; the kernels do the same with their own words."""
        w = products + OFFSET
        return ((w & ((1 << self.shift) - 1)) + self.table[w >> self.shift]) >> self.shift


def bin_tables(thresholds: NDArray[np.int64]) -> list[BinTable]:
    """Tables that together hold all thresholds: one, unless some lie within 256 of one another.

    Parameters
    ----------
    thresholds : (t,) int64
        Products, strictly increasing, in (-2^24, 2^24).

    Returns
    -------
    list of BinTable
        Each threshold stands in exactly one of them; the widest cells that will do.
    """
    at = thresholds + OFFSET
    for shift in range(_WIDEST, _NARROWEST - 1, -1):
        if len(np.unique(at >> shift)) == len(at):
            return [_table(at, np.arange(len(at)), shift)]
    cell = at >> _NARROWEST
    turn = np.arange(len(at)) - np.searchsorted(cell, cell)  # how many thresholds its cell held before this one
    return [_table(at, np.flatnonzero(turn == t), _NARROWEST) for t in range(int(turn.max()) + 1)]


def _table(at: NDArray[np.int64], places: NDArray[np.int64], shift: int) -> BinTable:
    cells = np.arange(2 * OFFSET >> shift)
    below = np.searchsorted(at[places], cells << shift)
    remainder = np.full(len(cells), 1 << shift)  # of the cell's own threshold; where there is none, no product carries
    remainder[at[places] >> shift] = at[places] & ((1 << shift) - 1)
    return BinTable(shift, ((below << shift) + (1 << shift) - remainder).astype(np.uint32), places)
