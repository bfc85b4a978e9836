"""All pairs of a large pool in one sweep over blocks: compiled, threaded, exact.

The products of a tile (`tiles`) stay in cache: they are counted into fine bins (`bins`), and only a tile that holds
something remarkable (a nearer neighbour, a near-duplicate) is looked at pair by pair (`kernels`). The n x n matrix never
exists.

What makes it the same for any number of threads and any block size: counts are integers, and neighbours and
near-duplicates are the first of a total order (similarity, then index), whatever the order in which pairs come. What the
results mean stands in `panel`; `plain` is the slow definition.

Here: the order of the frames, the blocks and who sweeps them, and results from what the kernels leave.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.pairs import kernels
from enrich_assets.method.pairs.bins import BinTable, bin_tables
from enrich_assets.method.pairs.kernels import N_RELATIONS, NEVER
from enrich_assets.method.pairs.panel import (
    BIN_WIDTH,
    N_BINS,
    N_SIDE_PAIRS,
    NO_SIMILARITY,
    Counted,
    Panel,
    PanelRequest,
    first_near_duplicates,
)
from enrich_assets.method.pairs.tiles import COLUMNS, GRAIN, ROWS, as_panels, as_rows
from enrich_assets.method.threads import n_threads, work_off

Progress = Callable[[int, int, dict[str, float]], None]
BLOCK = 2016  # frames to a side of a task: 0.5 MB a side at 128 dimensions, 20 ms of work


def panel(
    q: NDArray[np.int16],
    clips: NDArray[np.int32],
    patients: NDArray[np.int32],
    request: PanelRequest,
    progress: Progress | None = None,
    *,
    threads: int | None = None,
    block: int = BLOCK,
) -> Panel:
    """The panel of q, as `plain.panel` defines it.

    Parameters
    ----------
    q, clips, patients, request
        As `similarity.all_pairs` has checked them.
    threads : int, optional
        As many as `threads.n_threads` says without it.
    block : int
        Frames to a side of a task; a multiple of GRAIN. The result does not depend on it.
    """
    n, workers = len(q), threads or n_threads()
    sides = np.zeros(n, np.int32) if request.sides is None else request.sides
    order = _order(clips, patients, sides, request.n_earlier)
    in_order = order is None
    names = np.arange(n, dtype=np.int32) if order is None else order
    codes = kernels.Frames(clips[names], patients[names], names, sides[names])
    n_kinds = N_RELATIONS if request.sides is None else N_RELATIONS * N_SIDE_PAIRS
    pool = _Pool.of(q if in_order else q[names], codes, request.n_earlier, n_kinds)
    lists = _Lists(n, request.n_neighbours, request.near_duplicate, request.max_near_duplicates, workers)
    lists.between_patients = request.between_patients
    if request.so_far and request.n_neighbours:
        lists.raise_gates(request.so_far, names[: request.n_earlier])
    inner_edges = (np.arange(1, N_BINS) - N_BINS // 2) * BIN_WIDTH
    edges = np.concatenate([[-NEVER], inner_edges, [NEVER]])
    at = np.append(edges, request.near_duplicate)
    reached = _reached(pool, at, lists, progress, workers, block)
    pairs, similarity = lists.near_duplicates()
    pairs, similarity, _ = first_near_duplicates(pairs, similarity, request.max_near_duplicates)
    back = slice(0, n) if in_order else np.argsort(names)
    nearest, outside = _neighbours(lists.nearest[back]), _neighbours(lists.outside[back])
    counted = Counted.of(request, -np.diff(reached[:, :-1], axis=1), reached[:, -1])
    return Panel(
        **request.settings(),
        n=n,
        histograms=counted.histograms,
        neighbours=nearest[0],
        neighbour_similarity=nearest[1],
        outside_neighbours=outside[0],
        outside_similarity=outside[1],
        near_duplicates=pairs,
        near_duplicate_similarity=similarity,
        near_duplicates_left_out=counted.n_near - len(pairs),
        by_sides=counted.by_sides,
        near_by_sides=counted.near_by_sides,
    )


def histogram(
    q: NDArray[np.int16],
    thresholds: NDArray[np.int64],
    progress: Progress | None = None,
    *,
    threads: int | None = None,
    block: int = BLOCK,
) -> NDArray[np.int64]:
    """Pairs by product.

    Parameters
    ----------
    q : (n, d) int16
        Fixed-point vectors.
    thresholds : (t,) int64
        Products that never decrease, in [-2^25, 2^25].
    threads, block
        As in `panel`.

    Returns
    -------
    (t - 1,) int64
        Pairs of thresholds[b] <= product < thresholds[b + 1].
    """
    n, workers = len(q), threads or n_threads()
    alike = np.zeros(n, np.int32)
    pool = _Pool.of(q, kernels.Frames(alike, alike, np.arange(n, dtype=np.int32), alike), 0, N_RELATIONS)
    reached = _reached(pool, thresholds, _Lists.none(n, workers), progress, workers, block)
    return -np.diff(reached.sum(axis=0))


# --------------------------------------------------------------------------------------------- before and after a sweep


def _order(
    clips: NDArray[np.int32], patients: NDArray[np.int32], sides: NDArray[np.int32], n_earlier: int
) -> NDArray[np.int32] | None:
    """Earlier frames first, each part by side, patient and clip, so that a tile's relation is mostly known by its corners.

    None where the frames lie so already.
    """
    place = sides.astype(np.int64) * (patients.max(initial=0) + 1) + patients
    ascends = (np.diff(place) > 0) | ((np.diff(place) == 0) & (np.diff(clips) >= 0))
    ascends[max(n_earlier - 1, 0) : n_earlier] = True
    if ascends.all():
        return None
    return np.lexsort((clips, patients, sides, np.arange(len(clips)) >= n_earlier)).astype(np.int32)


@dataclass(frozen=True)
class _Pool:
    """The frames as the kernels take them."""

    rows: NDArray[np.int32]
    panels: NDArray[np.int32]  # of frames begin..n-1
    frames: kernels.Frames
    n_earlier: int
    n: int
    begin: int  # n_earlier, rounded down to where a panel begins
    n_kinds: int  # of pairs that are counted apart: relations, or relations by sides

    @classmethod
    def of(cls, q: NDArray[np.int16], codes: kernels.Frames, n_earlier: int, n_kinds: int) -> _Pool:
        rows, begin = as_rows(q), n_earlier // GRAIN * GRAIN
        absent = np.full(len(rows) - len(q), -1, np.int32)
        frames = kernels.Frames(*(np.concatenate([of_frames, absent]) for of_frames in codes))
        return cls(rows, as_panels(rows[begin:]), frames, n_earlier, len(q), begin, n_kinds)


class _Lists:
    """What a sweep lists beside counts: neighbours by place in the sweep, near-duplicates by worker."""

    def __init__(self, n: int, k: int, near: int, most: int, workers: int) -> None:
        padded = -(-n // GRAIN) * GRAIN
        self.nearest, self.outside = (np.full((padded, k), NO_SIMILARITY << 32, np.int64) for _ in range(2))
        self.gates = np.full((2, padded), NO_SIMILARITY if k else NEVER, np.int32)
        self.heaps = [np.empty((most, 3), np.int32) for _ in range(workers)]
        self.states = [np.array([0, near if most else NEVER], np.int64) for _ in range(workers)]
        self.between_patients = False

    @classmethod
    def none(cls, n: int, workers: int) -> _Lists:
        """Lists that take nothing."""
        return cls(n, 0, NEVER, 0, workers)

    def raise_gates(self, so_far: Panel, earlier: NDArray[np.int32]) -> None:
        """Ask of neighbours of earlier frames that they be nearer than the k-th of those known.

        As near will not do: a new frame has a higher index than those known, and comes after them.
        """
        self.gates[0, : len(earlier)] = so_far.neighbour_similarity[earlier, -1] + 1
        self.gates[1, : len(earlier)] = so_far.outside_similarity[earlier, -1] + 1

    def of_worker(self, worker: int) -> kernels.Lists:
        return kernels.Lists(
            self.nearest,
            self.gates[0],
            self.outside,
            self.gates[1],
            self.heaps[worker],
            self.states[worker],
            self.between_patients,
        )

    def near_duplicates(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(p, 2) pairs and (p,) products of all workers, in no order."""
        held = np.concatenate([heap[: state[0]] for heap, state in zip(self.heaps, self.states, strict=True)])
        return held[:, :2], held[:, 2]


def _neighbours(keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Index and similarity; of an empty place NO_NEIGHBOUR, which its lower half is made to be, and NO_SIMILARITY."""
    index = (kernels.INDICES - (keys & kernels.INDICES)).astype(np.uint32).view(np.int32)
    return index, (keys >> 32).astype(np.int32)


# ------------------------------------------------------------------------------------------------------------ the pass


def _reached(
    pool: _Pool,
    thresholds: NDArray[np.int64],
    lists: _Lists,
    progress: Progress | None,
    workers: int,
    block: int,
) -> NDArray[np.int64]:
    """Sweep over all blocks, filling `lists`, and count the pairs that reach each threshold.

    Parameters
    ----------
    thresholds : (t,) int64
        In any order, twice the same too. What is at most -2^24 every pair reaches, what is at least 2^24 none.

    Returns
    -------
    (n_kinds, t) int64
        Pairs of a product of at least each threshold, by relation (and sides).

    Notes
    -----
    1. The thresholds that tell pairs apart go into tables: one, or a few where some lie close.
    2. A sweep for each table; the first one fills the lists.
    3. Counts by bin become counts of "at least", and those are looked up for each threshold.
    """
    apart = np.unique(thresholds[(thresholds > -EXACT) & (thresholds < EXACT)])
    at_least = np.zeros((pool.n_kinds, 1 + len(apart) + 1), np.int64)  # every pair, those of each threshold, none
    for part, table in enumerate(bin_tables(apart)):
        filled = lists if part == 0 else _Lists.none(pool.n, workers)
        counts = _sweep_all(pool, table, filled, progress, workers, block)
        from_bin_on = counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        at_least[:, 0] = from_bin_on[:, 0]
        at_least[:, 1 + table.places] = from_bin_on[:, 1:]
    place = 1 + np.searchsorted(apart, thresholds)
    place[thresholds <= -EXACT] = 0
    return at_least[:, place]


def _sweep_all(
    pool: _Pool, table: BinTable, lists: _Lists, progress: Progress | None, workers: int, block: int
) -> NDArray[np.int64]:
    """One sweep over all blocks by all workers: (n_kinds, thresholds + 1) pairs by relation (and sides) and bin."""
    blocks, tasks = _tasks(pool, workers, block)
    n_bins = len(table.places) + 1
    counts = np.zeros((workers, pool.n_kinds, n_bins, kernels.COPIES), np.uint32)  # of one task: no overflow
    total = np.zeros((workers, pool.n_kinds, n_bins), np.int64)
    products = np.zeros((workers, ROWS * COLUMNS), np.int32)
    bins = kernels.Bins(table.table, table.shift)

    def work(worker: int, i: int, j: int) -> None:
        kernels.sweep(
            pool.rows,
            pool.panels,
            kernels.Block(*blocks[i], *blocks[j], pool.begin // COLUMNS, pool.n_earlier, pool.n),
            pool.frames,
            bins,
            counts[worker],
            lists.of_worker(worker),
            products[worker],
        )
        total[worker] += counts[worker].sum(axis=-1, dtype=np.int64)
        counts[worker] = 0

    work_off(tasks, work, workers, progress)
    return total.sum(axis=0)


def _tasks(pool: _Pool, workers: int, block: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Blocks of frames (begin, end), and the pairs of blocks (i, j) that hold pairs of the panel, in good order.

    Earlier frames are cut into blocks of `block`; those of the batch into smaller ones where it must be for every
    worker to find blocks that no other is at, since a block of the batch is part of every task. Blocks on the diagonal
    come first: frames of one clip are near each other, and near neighbours early spare many a look later.
    """
    share = (pool.n - pool.begin) // (2 * workers) // GRAIN * GRAIN
    side = min(block, max(GRAIN, share)) // GRAIN * GRAIN or GRAIN
    blocks = [(a, min(a + block, pool.begin)) for a in range(0, pool.begin, block)]
    first_new = len(blocks)
    blocks += [(a, min(a + side, pool.n)) for a in range(pool.begin, pool.n, side)]
    pairs_of_blocks = ((i, j) for j in range(first_new, len(blocks)) for i in range(j + 1))
    return blocks, sorted(pairs_of_blocks, key=lambda t: (t[1] - t[0], t[0]))
