"""What the compiled pass does with the products of a tile: count them, and offer the remarkable ones to the lists.

Here: the kernels and the records they take. Who calls them on which block, and what becomes of their results, stands in
`compiled`; the products themselves come from `tiles`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.pairs.bins import OFFSET
from enrich_assets.method.pairs.tiles import COLUMNS, ROWS, compiled, inlined, products_tile

ROW_BLOCK = 336  # frames that stay in the second-level cache while the columns pass by
COPIES = 4  # of each bin, used in turn: adding twice to one place in a row would stall
INDICES = (1 << 32) - 1  # the lower half of a key
WITHIN_CLIP, WITHIN_PATIENT, BETWEEN_PATIENTS = 0, 1, 2  # as in `panel.RELATIONS`
MIXED = -1  # of a tile whose pairs are not all of one relation and two sides, or not all pairs of the panel
N_RELATIONS = 3
NEVER = 2 * EXACT  # no product is as great


class Frames(NamedTuple):
    """The frames in the order of the sweep: (n',) int32 each, padded with -1."""

    clip: NDArray[np.int32]
    patient: NDArray[np.int32]
    name: NDArray[np.int32]  # the frame's place in the pool, by which ties are decided
    side: NDArray[np.int32]  # 0 or 1; all 0 where sides are not told apart


class Block(NamedTuple):
    """The pairs of rows top..bottom-1 with columns left..right-1 that belong to the panel of frames n_earlier..n-1."""

    top: int
    bottom: int
    left: int
    right: int
    first_panel: int  # which panel of 16 frames the array of panels begins with
    n_earlier: int
    n: int


class Bins(NamedTuple):
    """A `bins.BinTable`, as the kernels take it."""

    table: NDArray[np.uint32]
    shift: int


class Lists(NamedTuple):
    """What is listed beside the counts. A gate is the least product that could still change a list."""

    nearest: NDArray[np.int64]  # (n', k) keys of each frame's neighbours, greatest first
    gate: NDArray[np.int32]  # (n',) the k-th similarity so far
    outside: NDArray[np.int64]  # the same, frames of the own clip left out
    outside_gate: NDArray[np.int32]
    heap: NDArray[np.int32]  # (most, 3) near-duplicates (i, j, product), the furthest on top
    heap_state: NDArray[np.int64]  # how many lie in the heap, and the product that a pair must reach to get in
    between_patients: bool  # whether the heap takes only pairs of two patients


# ---------------------------------------------------------------------------------------------------- near-duplicates


@compiled
def _further(heap, at, i, j, value):
    """Does the heap's pair `at` come after the pair (i, j, value): less similar, or as similar and later?"""
    if heap[at, 2] != value:
        return heap[at, 2] < value
    if heap[at, 0] != i:
        return heap[at, 0] > i
    return heap[at, 1] > j


@compiled
def _put(heap, at, i, j, value):
    heap[at, 0] = i
    heap[at, 1] = j
    heap[at, 2] = value


@compiled
def _place_from_below(heap, at, i, j, value):
    """Where the pair belongs if the free place `at` is the last one: parents that are nearer move down."""
    while at > 0:
        parent = (at - 1) // 2
        if _further(heap, parent, i, j, value):
            break
        _put(heap, at, heap[parent, 0], heap[parent, 1], heap[parent, 2])
        at = parent
    return at


@compiled
def _place_from_top(heap, size, i, j, value):
    """Where the pair belongs if the free place is the top: the further child moves up, as long as it is further."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _further(heap, child + 1, heap[child, 0], heap[child, 1], heap[child, 2]):
            child += 1
        if not _further(heap, child, i, j, value):
            break
        _put(heap, at, heap[child, 0], heap[child, 1], heap[child, 2])
        at = child
    return at


@compiled
def take_near_duplicate(heap, state, i, j, value):
    """Keep the pair if it is among the nearest that fit.

    Pairs are ordered by similarity, greatest first, then by lower i, then by lower j.

    Invariants
    ----------
    1. The first state[0] places of the heap hold the nearest pairs offered so far, each once.
    2. No pair is nearer than its parent, so the furthest lies on top.
    3. state[1] is at most the similarity of any pair that could still get in: of the furthest, once the heap is full.

    Examples
    --------
    A heap of two places is offered (0, 1, 90), (0, 2, 70), (1, 2, 80) and (3, 4, 70). It holds 90; then 70 on top of
    90, is full, and asks for 70; then 80 takes the place of 70 and stays on top, so that it asks for 80; 70 is refused.
    """
    size = state[0]
    if size < heap.shape[0]:
        at = _place_from_below(heap, size, i, j, value)
        state[0] = size + 1
    elif size == 0 or not _further(heap, 0, i, j, value):
        return
    else:
        at = _place_from_top(heap, size, i, j, value)
    _put(heap, at, i, j, value)
    if state[0] == heap.shape[0]:
        state[1] = heap[0, 2]


# --------------------------------------------------------------------------------------------------------- neighbours


@compiled
def _take_neighbours(keys, gate, a, b, name, value):
    """Insert each of two frames into the other's list, greatest key first, if it belongs there.

    A key is the similarity above, the index inverted below: greater is nearer, and on ties the lower index. What does not
    reach a frame's own gate stays out even where the list has room, else what it holds would depend on which pairs come
    first.
    """
    last = keys.shape[1] - 1
    if last < 0:
        return
    high = np.int64(value) << 32
    for _ in range(2):
        key = high | (INDICES - name[b])
        at = last
        if value >= gate[a] and key > keys[a, at]:
            while at > 0 and keys[a, at - 1] < key:
                keys[a, at] = keys[a, at - 1]
                at -= 1
            keys[a, at] = key
            gate[a] = max(gate[a], np.int32(keys[a, last] >> 32))
        a, b = b, a


@compiled
def _offer(a, b, value, frames, lists):
    """Offer a pair of frames to all lists; each takes it if it belongs there."""
    if value >= lists.heap_state[1] and not (lists.between_patients and frames.patient[a] == frames.patient[b]):
        i, j = min(frames.name[a], frames.name[b]), max(frames.name[a], frames.name[b])
        take_near_duplicate(lists.heap, lists.heap_state, i, j, value)
    if value >= lists.gate[a] or value >= lists.gate[b]:
        _take_neighbours(lists.nearest, lists.gate, a, b, frames.name, value)
    if frames.clip[a] != frames.clip[b] and (value >= lists.outside_gate[a] or value >= lists.outside_gate[b]):
        _take_neighbours(lists.outside, lists.outside_gate, a, b, frames.name, value)


# ------------------------------------------------------------------------------------------------------------ a tile


@inlined
def _relation_of_tile(row, first, frames, n_earlier, n):
    """The relation of all 96 pairs of frames row..row+5 with first..first+15; MIXED unless it is one, on one pair of sides.

    Frames are sorted by side, patient and clip, those before n_earlier and those from there on each for themselves, so what
    holds for the ends of a run of frames on one side of n_earlier holds for all between.
    """
    clip, patient = frames.clip, frames.patient
    end, last = row + ROWS - 1, first + COLUMNS - 1
    whole = first >= n_earlier and last < n and end < first and (end < n_earlier or row >= n_earlier)
    if not whole or frames.side[row] != frames.side[end] or frames.side[first] != frames.side[last]:
        return MIXED
    if patient[end] < patient[first] or patient[last] < patient[row]:
        return BETWEEN_PATIENTS
    if clip[row] == clip[end] and clip[first] == clip[last] and clip[row] == clip[first]:
        return WITHIN_CLIP
    one_patient = patient[row] == patient[end] and patient[first] == patient[last]
    if one_patient and (clip[end] < clip[first] or clip[last] < clip[row]):
        return WITHIN_PATIENT
    return MIXED


@inlined
def _bin(value, bins):
    """How many thresholds a product reaches (`bins.BinTable`)."""
    w, shift = np.uint64(value + OFFSET), np.uint64(bins.shift)
    rest = (np.uint64(1) << shift) - np.uint64(1)
    return ((w & rest) + bins.table[w >> shift]) >> shift


@inlined
def _count_tile(products, counts, bins):
    """Count the 96 products of a tile of one relation; counts: (thresholds + 1, COPIES) of that relation."""
    for at in range(0, ROWS * COLUMNS, COPIES):
        for copy in range(COPIES):
            counts[_bin(products[at + copy], bins), np.uint64(copy)] += np.uint32(1)


@inlined
def _offer_tile(products, row, first, gates, frames, lists):
    """Offer the remarkable pairs of a tile of one relation, whose products are counted already.

    gates: of all frames within a clip, else of those outside it: a frame's k-th outside its clip is its lesser one.
    """
    for r in range(ROWS):
        a = row + r
        for c in range(COLUMNS):
            b = first + c
            value = products[r * COLUMNS + c]
            if value >= gates[a] or value >= gates[b] or value >= lists.heap_state[1]:
                _offer(a, b, value, frames, lists)


@compiled
def _count_and_offer_pairs(products, row, first, block, frames, bins, counts, lists):
    """Count and offer the pairs of a MIXED tile one by one, as far as they are pairs of the panel."""
    clip, patient = frames.clip, frames.patient
    for r in range(ROWS):
        a = row + r
        for c in range(COLUMNS):
            b = first + c
            if a >= b or b < block.n_earlier or b >= block.n:
                continue
            value = products[r * COLUMNS + c]
            relation = (
                WITHIN_CLIP if clip[a] == clip[b] else WITHIN_PATIENT if patient[a] == patient[b] else BETWEEN_PATIENTS
            )
            kind = N_RELATIONS * (frames.side[a] + frames.side[b]) + relation
            counts[kind, _bin(value, bins), 0] += np.uint32(1)
            _offer(a, b, value, frames, lists)


@compiled
def sweep(rows, panels, block, frames, bins, counts, lists, products):
    """Count and offer the pairs (a, b), a < b, n_earlier <= b < n, of one block.

    Parameters
    ----------
    rows : (n', d' / 2) int32
        Of `tiles.as_rows`, from frame 0 on.
    panels : (p, d' / 2, 16) int32
        Of `tiles.as_panels`, from panel block.first_panel on.
    block : Block
    frames : Frames
    bins : Bins
    counts : (3 or 9, thresholds + 1, COPIES) uint32
        By relation, 3 times the sum of the two frames' sides further; raised.
    lists : Lists
        Changed in place.
    products : (96,) int32
        Scratch.

    Notes
    -----
    Invariants:

    1. Each pair of the block is counted once, under its relation, whatever the tiles.
    2. Each pair that could change a list is offered to it: the gates never exceed what a list still takes.
    3. What the lists hold is the first of a total order, so the order of blocks, rows and tiles does not matter.

    The steps for each tile of 6 rows and 16 columns:

    1. Which relation do all its pairs have, if one and the same?
    2. Its products, and whether any of them reaches a gate.
    3. Of one relation: all are counted at once, and looked at one by one only where some product reaches a gate.
       MIXED: each is counted and offered by itself.

    A block of rows 0-11 and columns 0-47 with clips of 12 frames: the tile of rows 0-5 with columns 0-15 is MIXED (the
    diagonal runs through it), that with columns 16-31 too (they are of two clips of one patient), and if the next
    patient begins at frame 32, that with columns 32-47 is all BETWEEN_PATIENTS.
    """
    n_pairs = rows.shape[1]
    for row_block in range(block.top, block.bottom, ROW_BLOCK):
        last_row = min(row_block + ROW_BLOCK, block.bottom)
        for panel in range(block.left // COLUMNS, (block.right + COLUMNS - 1) // COLUMNS):
            first = panel * COLUMNS
            for row in range(row_block, min(last_row, first + COLUMNS - 1), ROWS):
                relation = _relation_of_tile(row, first, frames, block.n_earlier, block.n)
                gates = lists.gate if relation == WITHIN_CLIP else lists.outside_gate
                takes_none = lists.between_patients and relation != BETWEEN_PATIENTS
                near = NEVER if takes_none else lists.heap_state[1]
                remarkable = products_tile(
                    rows, row, panels, panel - block.first_panel, n_pairs, products, gates, first, near
                )
                if relation == MIXED:
                    _count_and_offer_pairs(products, row, first, block, frames, bins, counts, lists)
                else:
                    _count_tile(
                        products, counts[N_RELATIONS * (frames.side[row] + frames.side[first]) + relation], bins
                    )
                    if remarkable:
                        _offer_tile(products, row, first, gates, frames, lists)
