"""All pairs of a large pool in one sweep over blocks: compiled, threaded, exact.

The products of a tile (`tiles`) stay in cache: they are counted into fine bins, and only a tile that holds something
remarkable (a nearer neighbour, a near-duplicate) is looked at pair by pair. The n x n matrix never exists.

What makes it the same for any number of threads and any block size: counts are integers, and neighbours and
near-duplicates are the first of a total order (similarity, then index), whatever the order of arrival. What the
results mean stands in `panel`; `plain_pairs` is the slow definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.pairs.panel import BIN_WIDTH, N_BINS, NO_SIMILARITY, Panel, first_near_duplicates
from enrich_assets.method.pairs.tiles import COLUMNS, GRAIN, ROWS, as_panels, as_rows, compiled, products_tile
from enrich_assets.method.threads import n_threads, work_off

Progress = Callable[[int, int, dict[str, float]], None]
BLOCK = 2016  # frames to a side of a task: 0.5 MB a side at 128 dimensions, 20 ms of work
ROW_BLOCK = 336  # frames that stay in the second-level cache while the columns pass by
COPIES = 4  # of each bin, used in turn: adding twice to one place in a row would stall
NEVER = 2 * EXACT  # no product is as great
_OFFSET = EXACT  # makes products positive
_INDICES = (1 << 32) - 1


# ------------------------------------------------------------------------------------------------- bins from thresholds


@dataclass(frozen=True)
class Cells:
    """A table that turns a product into the number of thresholds it reaches, without searching.

    Products, made positive, are cut into cells of 2^shift. With at most one threshold in a cell that number is ((w
    mod 2^shift) + table[w >> shift]) >> shift: the table holds the thresholds below the cell, and what the remainder
    lacks for a carry at the cell's own.
    """

    shift: int
    table: NDArray[np.uint32]
    places: NDArray[np.int64]  # which thresholds these are


def cells_of(thresholds: NDArray[np.int64]) -> list[Cells]:
    """Tables for strictly increasing thresholds in (-2^24, 2^24): one, unless some lie within 256 of one another."""
    at = thresholds + _OFFSET
    for shift in range(13, 7, -1):
        if len(np.unique(at >> shift)) == len(at):
            return [_cells(at, np.arange(len(at)), shift)]
    turn = np.zeros(len(at), np.int64)  # how many thresholds the cell held before this one
    for i in range(1, len(at)):
        turn[i] = turn[i - 1] + 1 if at[i] >> 8 == at[i - 1] >> 8 else 0
    return [_cells(at, np.flatnonzero(turn == t), 8) for t in range(int(turn.max()) + 1)]


def _cells(at: NDArray[np.int64], places: NDArray[np.int64], shift: int) -> Cells:
    cells = np.arange(2 * _OFFSET >> shift)
    below = np.searchsorted(at[places], cells << shift)
    lacking = np.full(len(cells), 1 << shift)
    lacking[at[places] >> shift] = at[places] & ((1 << shift) - 1)
    return Cells(shift, ((below << shift) + (1 << shift) - lacking).astype(np.uint32), places)


# ---------------------------------------------------------------------------------------------------------- compiled


@compiled
def _take_neighbours(keys, gate, a, b, name, value):
    """Insert each of two frames into the other's list, greatest key first, if it belongs there.

    A key is the similarity above, the index inverted below: greater is nearer, and on ties the lower index.
    """
    last = keys.shape[1] - 1
    if last < 0:
        return
    high = np.int64(value) << 32
    for _ in range(2):
        key = high | (_INDICES - name[b])
        at = last
        if key > keys[a, at]:
            while at > 0 and keys[a, at - 1] < key:
                keys[a, at] = keys[a, at - 1]
                at -= 1
            keys[a, at] = key
            gate[a] = max(gate[a], np.int32(keys[a, last] >> 32))
        a, b = b, a


@compiled
def _further(heap, a, value, i, j):
    """Does pair a of the heap come after the pair (value, i, j): less similar, or later?"""
    if heap[a, 2] != value:
        return heap[a, 2] < value
    if heap[a, 0] != i:
        return heap[a, 0] > i
    return heap[a, 1] > j


@compiled
def _take_near(heap, state, i, j, value):
    """Keep the pair if it is among the nearest that fit: a heap with the furthest on top.

    state: how many lie in the heap, and the similarity that a pair must have to get in.
    """
    size = state[0]
    if size < heap.shape[0]:
        at = size
        while at > 0:
            parent = (at - 1) // 2
            if _further(heap, parent, value, i, j):
                break
            for part in range(3):
                heap[at, part] = heap[parent, part]
            at = parent
        state[0] = size + 1
    else:
        if size == 0 or not _further(heap, 0, value, i, j):
            return
        at = 0
        while True:
            child = 2 * at + 1
            if child >= size:
                break
            if child + 1 < size and _further(heap, child + 1, heap[child, 2], heap[child, 0], heap[child, 1]):
                child += 1
            if not _further(heap, child, value, i, j):
                break
            for part in range(3):
                heap[at, part] = heap[child, part]
            at = child
    heap[at, 0] = i
    heap[at, 1] = j
    heap[at, 2] = value
    if state[0] == heap.shape[0]:
        state[1] = heap[0, 2]


@compiled
def _sweep(
    rows, panels, block, begin, n_earlier, n, table, shift, counts, out, clip, patient, name,
    keys, gate, outside_keys, outside_gate, heap, state,
):  # fmt: skip
    """Count and gather the pairs i < j, j >= n_earlier of one block (top, bottom, left, right).

    rows: from frame 0 on.   panels: from frame `begin` on.   counts: (3, thresholds + 1, COPIES) by relation.   gate,
    outside_gate: (n',) a frame's k-th similarity so far, over all and outside its clip.
    """
    top, bottom, left, right = block[0], block[1], block[2], block[3]
    n_pairs = rows.shape[1]
    skipped = begin // COLUMNS
    wide = np.uint64(shift)
    rest = (np.uint64(1) << wide) - np.uint64(1)
    one = np.uint32(1)
    for row_block in range(top, bottom, ROW_BLOCK):
        last_row = min(row_block + ROW_BLOCK, bottom)
        for panel in range(left // COLUMNS, (right + COLUMNS - 1) // COLUMNS):
            first = panel * COLUMNS
            last = first + COLUMNS - 1
            whole = first >= n_earlier and last < n
            for i in range(row_block, min(last_row, last), ROWS):
                end = i + ROWS - 1
                relation = -1
                if whole and end < first and (end < n_earlier or i >= n_earlier):
                    # Frames are sorted by patient and clip, so a run is known by its ends.
                    if patient[end] < patient[first] or patient[last] < patient[i]:
                        relation = 2
                    elif clip[i] == clip[end] and clip[first] == clip[last] and clip[i] == clip[first]:
                        relation = 0
                    elif (
                        patient[i] == patient[end] and patient[first] == patient[last]
                        and (clip[end] < clip[first] or clip[last] < clip[i])
                    ):  # fmt: skip
                        relation = 1
                gates = gate if relation == 0 else outside_gate
                remarkable = products_tile(rows, i, panels, panel - skipped, n_pairs, out, gates, first, state[1])
                if relation >= 0:
                    mine = counts[relation]
                    for at in range(0, ROWS * COLUMNS, COPIES):
                        for copy in range(COPIES):
                            w = np.uint64(out[at + copy] + _OFFSET)
                            mine[((w & rest) + table[w >> wide]) >> wide, np.uint64(copy)] += one
                    if not remarkable:
                        continue
                for row in range(ROWS):
                    a = i + row
                    for column in range(COLUMNS):
                        b = first + column
                        value = out[row * COLUMNS + column]
                        if relation >= 0:
                            # Another pair of the tile was remarkable; a frame's k-th outside its clip is its lesser one.
                            if value < gates[a] and value < gates[b] and value < state[1]:
                                continue
                        else:
                            if a >= b or b < n_earlier or b >= n:
                                continue
                            kind = 0 if clip[a] == clip[b] else 1 if patient[a] == patient[b] else 2
                            w = np.uint64(value + _OFFSET)
                            counts[kind, ((w & rest) + table[w >> wide]) >> wide, 0] += one
                        if value >= state[1]:
                            _take_near(heap, state, min(name[a], name[b]), max(name[a], name[b]), value)
                        if value >= gate[a] or value >= gate[b]:
                            _take_neighbours(keys, gate, a, b, name, value)
                        if clip[a] != clip[b] and (value >= outside_gate[a] or value >= outside_gate[b]):
                            _take_neighbours(outside_keys, outside_gate, a, b, name, value)


# ------------------------------------------------------------------------------------------------------------ the pass


class _Lists:
    """What the sweep gathers beside counts: neighbour lists by place in the sweep, near-duplicates by worker."""

    def __init__(self, n: int, k: int, near: int, most: int, workers: int) -> None:
        padded = -(-n // GRAIN) * GRAIN
        self.nearest, self.outside = (np.full((padded, k), NO_SIMILARITY << 32, np.int64) for _ in range(2))
        self.gates = np.full((2, padded), NO_SIMILARITY if k else NEVER, np.int32)
        self.heaps = [np.empty((most, 3), np.int32) for _ in range(workers)]
        self.states = [np.array([0, near if most else NEVER], np.int64) for _ in range(workers)]

    def near_pairs(self) -> NDArray[np.int32]:
        return np.concatenate([heap[: state[0]] for heap, state in zip(self.heaps, self.states, strict=True)])


def panel(
    q: NDArray[np.int16], clips: NDArray[np.int32], patients: NDArray[np.int32],
    n_earlier: int, k: int, near: int, most: int, progress: Progress | None = None,
    *, so_far: Panel | None = None, threads: int | None = None, block: int = BLOCK,
) -> Panel:  # fmt: skip
    """The panel; arguments as `similarity.all_pairs` has checked them, `near` as a product."""
    n, workers = len(q), threads or n_threads()
    # Runs of one clip and of one patient lie together, so that a tile's relation is mostly known by its corners.
    in_order = _in_runs(clips, patients, n_earlier)
    sort = np.arange(n, dtype=np.int32)
    if not in_order:
        sort = np.lexsort((clips, patients, sort >= n_earlier)).astype(np.int32)
    thresholds = (np.arange(1, N_BINS) - N_BINS // 2) * BIN_WIDTH
    reachable = -EXACT < near < EXACT
    counted = np.unique(np.append(thresholds, near)) if reachable else thresholds
    lists = _Lists(n, k, near, most, workers)
    if so_far and k:
        # A new frame has a higher index than those known, so it must be nearer than the k-th to matter.
        earlier = sort[:n_earlier]
        lists.gates[0, :n_earlier] = so_far.neighbour_similarity[earlier, -1] + 1
        lists.gates[1, :n_earlier] = so_far.outside_similarity[earlier, -1] + 1
    reached = _pass(
        q if in_order else q[sort],
        clips[sort],
        patients[sort],
        sort,
        n_earlier,
        counted,
        lists,
        progress,
        workers,
        block,
    )
    ends = reached[:, 0], reached[:, 1 + np.searchsorted(counted, thresholds)], np.zeros((3, 1), np.int64)
    histograms = -np.diff(np.concatenate([ends[0][:, None], *ends[1:]], axis=1), axis=1)
    n_near = int(reached[:, 1 + np.searchsorted(counted, near) if reachable else 0].sum()) if near < NEVER else 0
    found = lists.near_pairs()
    pairs, similarity, _ = first_near_duplicates(found[:, :2], found[:, 2], most)
    back = slice(0, n) if in_order else np.argsort(sort)
    return Panel(
        n_earlier, n, k, near, most, histograms,
        *_of_keys(lists.nearest[back]), *_of_keys(lists.outside[back]),
        pairs, similarity, n_near - len(pairs),
    )  # fmt: skip


def _in_runs(clips: NDArray[np.int32], patients: NDArray[np.int32], n_earlier: int) -> bool:
    """Do earlier frames, and those of the batch, ascend by patient and clip already?"""
    further = (np.diff(patients) > 0) | ((np.diff(patients) == 0) & (np.diff(clips) >= 0))
    further[max(n_earlier - 1, 0) : n_earlier] = True
    return bool(further.all())


def _of_keys(keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Index and similarity; of an empty place NO_NEIGHBOUR, which its lower half is made to be, and NO_SIMILARITY."""
    return (_INDICES - (keys & _INDICES)).astype(np.uint32).view(np.int32), (keys >> 32).astype(np.int32)


def histogram(
    q: NDArray[np.int16], thresholds: NDArray[np.int64], progress: Progress | None = None,
    *, threads: int | None = None, block: int = BLOCK,
) -> NDArray[np.int64]:  # fmt: skip
    """Pairs by the integer thresholds t, which never decrease: (len(t) - 1,) counts of t[b] <= product < t[b + 1]."""
    n, workers = len(q), threads or n_threads()
    counted = np.unique(thresholds[(thresholds > -EXACT) & (thresholds < EXACT)])
    alike = np.zeros(n, np.int32)
    reached = _pass(
        q,
        alike,
        alike,
        np.arange(n, dtype=np.int32),
        0,
        counted,
        _Lists(n, 0, NEVER, 0, workers),
        progress,
        workers,
        block,
    ).sum(axis=0)
    at = 1 + np.searchsorted(counted, thresholds)
    at[thresholds <= -EXACT] = 0
    return -np.diff(np.append(reached, 0)[at])


def _pass(
    q: NDArray[np.int16], clips: NDArray[np.int32], patients: NDArray[np.int32], names: NDArray[np.int32],
    n_earlier: int, thresholds: NDArray[np.int64], lists: _Lists,
    progress: Progress | None, workers: int, block: int,
) -> NDArray[np.int64]:  # fmt: skip
    """Sweep; (3, 1 + thresholds) by relation: all pairs, then those that reach each threshold."""
    n = len(q)
    reached = np.zeros((3, 1 + len(thresholds)), np.int64)
    rows = as_rows(q)
    begin = n_earlier // GRAIN * GRAIN
    panels = as_panels(rows[begin:])
    codes = [np.concatenate([a, np.full(len(rows) - n, -1, np.int32)]) for a in (clips, patients, names)]
    # Small enough for every worker to find blocks that no other is at; the batch's own blocks are part of every task.
    side = min(block, max(GRAIN, (n - begin) // (2 * workers) // GRAIN * GRAIN)) // GRAIN * GRAIN or GRAIN
    blocks = [(a, min(a + block, begin)) for a in range(0, begin, block)]
    first_new = len(blocks)
    blocks += [(a, min(a + side, n)) for a in range(begin, n, side)]
    # Blocks on the diagonal first: frames of one clip are near each other, and near neighbours early spare many a
    # look later.
    tasks = sorted(
        ((i, j) for j in range(first_new, len(blocks)) for i in range(j + 1)), key=lambda t: (t[1] - t[0], t[0])
    )
    for part, cells in enumerate(cells_of(thresholds)):
        # Should thresholds need several tables, lists are filled by the first sweep alone.
        mine = lists if part == 0 else _Lists(n, 0, NEVER, 0, workers)
        counts = np.zeros((workers, 3, len(cells.places) + 1, COPIES), np.uint32)
        total = np.zeros((workers, 3, len(cells.places) + 1), np.int64)
        out = np.zeros((workers, ROWS * COLUMNS), np.int32)

        def work(worker: int, i: int, j: int) -> None:
            _sweep(
                rows, panels, np.array([*blocks[i], *blocks[j]]), begin, n_earlier, n,
                cells.table, cells.shift, counts[worker], out[worker], *codes,  # noqa: B023
                mine.nearest, mine.gates[0], mine.outside, mine.gates[1], mine.heaps[worker], mine.states[worker],  # noqa: B023
            )  # fmt: skip
            total[worker] += counts[worker].sum(axis=-1, dtype=np.int64)  # noqa: B023
            counts[worker] = 0  # noqa: B023

        work_off(tasks, work, workers, progress)
        at_least = total.sum(axis=0)[:, ::-1].cumsum(axis=1)[:, ::-1]
        reached[:, 0] = at_least[:, 0]
        reached[:, 1 + cells.places] = at_least[:, 1:]
    return reached
