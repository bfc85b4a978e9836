"""The inner loops of `covering`, compiled: products of a few frames with all, and how what each frame would add changes by them.

The products stay in registers and cache, tile by tile (`pairs.tiles`). Here: the loops and their threads; numba is loaded by
whoever imports this. `covering` has the same in numpy, for small pools.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.pairs.tiles import (
    COLUMNS,
    ROWS,
    as_panels,
    as_rows,
    compiled,
    inlined,
    products_tile,
    raise_by_one,
    raise_by_six,
)
from enrich_assets.method.ranking.kernels import SHIFT, Kernel
from enrich_assets.method.ranking.order import NOT_COMPARED
from enrich_assets.method.threads import n_threads

WORTH_A_THREAD = 200_000  # products, some 0.3 ms
NEVER = 2 * EXACT  # no product is as great


@compiled
def _greatest(rows, n_rows, panels, best, first, last):
    """Raise best to the greatest product of each frame of panels first..last-1 with any of the first n_rows rows."""
    n_pairs = rows.shape[1]
    for panel in range(first, last):
        at = 0
        while at + ROWS <= n_rows:
            raise_by_six(rows, at, panels, panel, n_pairs, best, panel * COLUMNS)
            at += ROWS
        while at < n_rows:
            raise_by_one(rows, at, panels, panel, n_pairs, best, panel * COLUMNS)
            at += 1


@inlined
def _change(gains, panel, product, c, now, then, table, radius):
    """gains[x] += max(0, k - now) - max(0, k - then) for frame x, the c-th of the panel."""
    if radius < NEVER:
        value = np.int64(1) if product >= radius else np.int64(0)
    elif table.shape[0] > 0:
        value = table[(np.int64(product) + EXACT) >> SHIFT]
    else:
        value = np.int64(product)
    gains[panel * COLUMNS + c] += max(value - now, 0) - max(value - then, 0)


@compiled
def _change_gains(
    gains, rows, panels, served, table, radius, gates, first, last, products
):  # ten: a kernel takes no record of arrays of two ranks
    """Change the gains of the frames of panels first..last-1 by each of the rows; served: (2, a) now and before."""
    n_rows, n_pairs = served.shape[1], rows.shape[1]
    for panel in range(first, last):
        for row in range(0, n_rows, ROWS):
            products_tile(rows, row, panels, panel, n_pairs, products, gates, 0, NEVER)
            for r in range(min(ROWS, n_rows - row)):
                now, then = served[0, row + r], served[1, row + r]
                for c in range(COLUMNS):
                    _change(gains, panel, products[r * COLUMNS + c], c, now, then, table, radius)


@cache
def _team(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "gains")


class Tiled:
    """A pool of frames as the tiles take it.

    Parameters
    ----------
    q : (n, d) int16
        Fixed-point vectors.
    """

    def __init__(self, q: NDArray[np.int16]) -> None:
        self.n, self.rows = len(q), as_rows(q)
        self.panels = as_panels(self.rows)

    def greatest(self, frames: NDArray[np.int64]) -> NDArray[np.int32]:
        """(n,) the greatest product of each frame with any of these; NOT_COMPARED where there are none."""
        best = np.full(len(self.rows), NOT_COMPARED, np.int32)
        rows = np.ascontiguousarray(self.rows[frames])
        self._in_pieces(len(frames), lambda first, last: _greatest(rows, len(frames), self.panels, best, first, last))
        return best[: self.n]

    def change_gains(
        self,
        gains: NDArray[np.int64],
        frames: NDArray[np.int64],
        served: NDArray[np.int64],
        before: NDArray[np.int64] | None,
        kernel: Kernel,
    ) -> None:
        """Change (n,) gains in place.

        Parameters
        ----------
        gains : (n,) int64
        frames : (a,) int64
            Those that are served better.
        served, before : (a,) int64
            By what kernel they are served now, and were before; None: nothing of them stands in the gains yet.
        kernel : Kernel
        """
        then = np.full(len(frames), np.iinfo(np.int64).max // 2) if before is None else before
        both = np.stack([served, then])
        rows = np.zeros((-(-max(len(frames), 1) // ROWS) * ROWS, self.rows.shape[1]), np.int32)
        rows[: len(frames)] = self.rows[frames]
        gates = np.full(max(len(rows), COLUMNS), NEVER, np.int32)
        change = np.zeros(len(self.rows), np.int64)

        def piece(first: int, last: int) -> None:
            products = np.empty(ROWS * COLUMNS, np.int32)
            _change_gains(change, rows, self.panels, both, kernel.table, kernel.radius, gates, first, last, products)

        self._in_pieces(len(frames), piece)
        gains += change[: self.n]

    def _in_pieces(self, n_rows: int, piece: Callable[[int, int], object]) -> None:
        """`piece(first, last)` over all panels, by several threads where it is much."""
        n_panels = len(self.panels)
        workers = min(n_threads(), 1 + n_rows * self.n // WORTH_A_THREAD)
        if workers == 1:
            piece(0, n_panels)
            return
        ends = [n_panels * at // workers for at in range(workers + 1)]
        list(_team(workers).map(piece, ends[:-1], ends[1:]))
