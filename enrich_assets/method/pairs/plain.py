"""All pairs by plain numpy, block by block: for small pools, where loading a faster pass would cost more than it saves.

Also the definition in code of what the fast passes must return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.pairs.panel import (
    BIN_WIDTH,
    N_BINS,
    N_SIDE_PAIRS,
    NO_NEIGHBOUR,
    NO_SIMILARITY,
    Counted,
    Neighbours,
    Panel,
    PanelRequest,
    first_near_duplicates,
    no_neighbours,
    sorted_neighbours,
)

Progress = Callable[[int, int, dict[str, float]], None]
BLOCK = 1024


def _blocks(
    q: NDArray[np.int16], n_earlier: int, progress: Progress | None
) -> Iterator[tuple[int, int, NDArray[np.int32], NDArray[np.bool_]]]:
    """(top, left, products, which of them are pairs i < j) of columns j >= n_earlier; rows are the lower index i."""
    n, x = len(q), q.astype(np.float32)
    lefts = range(n_earlier, n, BLOCK)
    for done, left in enumerate(lefts, start=1):
        columns = x[left : left + BLOCK]
        for top in range(0, left + len(columns), BLOCK):
            rows = x[top : top + BLOCK]
            i, j = np.arange(top, top + len(rows)), np.arange(left, left + len(columns))
            yield top, left, (rows @ columns.T).astype(np.int32), i[:, None] < j[None, :]
        if progress:
            progress(done, len(lefts), {})


def histogram(
    q: NDArray[np.int16], thresholds: NDArray[np.int64], progress: Progress | None = None
) -> NDArray[np.int64]:
    """Pairs by product: (t - 1,) counts of thresholds[b] <= product < thresholds[b + 1]; (t,) int64, never decreasing."""
    below = np.zeros(len(thresholds), np.int64)
    for _, _, products, is_pair in _blocks(q, 0, progress):
        below += np.searchsorted(np.sort(products[is_pair]), thresholds)
    return np.diff(below)


def panel(
    q: NDArray[np.int16],
    clips: NDArray[np.int32],
    patients: NDArray[np.int32],
    request: PanelRequest,
    progress: Progress | None = None,
) -> Panel:
    """The panel; arguments as `similarity.all_pairs` has checked them."""
    n, n_earlier, k = len(q), request.n_earlier, request.n_neighbours
    sides = np.zeros(n, np.int32) if request.sides is None else request.sides
    n_kinds = 3 if request.sides is None else 3 * N_SIDE_PAIRS
    counts, n_near = np.zeros((n_kinds, N_BINS), np.int64), np.zeros(n_kinds, np.int64)
    everywhere, outside = no_neighbours(n, k), no_neighbours(n, k)
    pairs, near_similarity = np.empty((0, 2), np.int32), np.empty(0, np.int32)
    for top, left, products, is_pair in _blocks(q, n_earlier, progress):
        i, j = np.arange(top, top + products.shape[0]), np.arange(left, left + products.shape[1])
        same_clip = clips[i][:, None] == clips[j][None, :]
        same_patient = patients[i][:, None] == patients[j][None, :]
        kind = np.where(same_clip, 0, np.where(same_patient, 1, 2)) + 3 * (sides[i][:, None] + sides[j][None, :])
        bins = np.clip(products[is_pair] // BIN_WIDTH + N_BINS // 2, 0, N_BINS - 1)
        counts += np.bincount(kind[is_pair] * N_BINS + bins, minlength=n_kinds * N_BINS).reshape(n_kinds, N_BINS)
        for lists, allowed in ((everywhere, is_pair), (outside, is_pair & ~same_clip)):
            _offer(lists, i, j, products, allowed)
            _offer(lists, j, i, products.T, allowed.T)
        is_close = is_pair & (products >= request.near_duplicate)
        n_near += np.bincount(kind[is_close], minlength=n_kinds)
        close = np.nonzero(is_close & ~same_patient if request.between_patients else is_close)
        pairs, near_similarity, _ = first_near_duplicates(
            np.concatenate([pairs, np.stack([i[close[0]], j[close[1]]], axis=1).astype(np.int32)]),
            np.concatenate([near_similarity, products[close]]),
            request.max_near_duplicates,
        )
    if request.so_far and k:
        _leave_out_known(everywhere, request.so_far.neighbour_similarity)
        _leave_out_known(outside, request.so_far.outside_similarity)
    counted = Counted.of(request, counts, n_near)
    return Panel(
        **request.settings(),
        n=n,
        histograms=counted.histograms,
        neighbours=everywhere[0],
        neighbour_similarity=everywhere[1],
        outside_neighbours=outside[0],
        outside_similarity=outside[1],
        near_duplicates=pairs,
        near_duplicate_similarity=near_similarity,
        near_duplicates_left_out=counted.n_near - len(pairs),
        by_sides=counted.by_sides,
        near_by_sides=counted.near_by_sides,
    )


def _leave_out_known(lists: Neighbours, known: NDArray[np.int32]) -> None:
    """Clear what comes after the k-th neighbour that an earlier frame has already: (n_earlier, k) products."""
    index, similarity = lists[0][: len(known)], lists[1][: len(known)]
    no_nearer = similarity <= known[:, -1:]
    index[no_nearer], similarity[no_nearer] = NO_NEIGHBOUR, NO_SIMILARITY


def _offer(
    lists: Neighbours,
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    products: NDArray[np.int32],
    allowed: NDArray[np.bool_],
) -> None:
    """Take the block's candidates into the neighbour lists of `rows`."""
    k = lists[0].shape[1]
    if not k or not allowed.any():
        return
    similarity = np.where(allowed, products, NO_SIMILARITY)
    if similarity.shape[1] > k:  # keys of similarity and index are distinct, so the k least are the k best
        keys = -similarity.astype(np.int64) * (1 << 32) + others[None, :]
        best = np.argpartition(keys, k - 1, axis=1)[:, :k]
        similarity, others_of = np.take_along_axis(similarity, best, axis=1), others[best]
    else:
        others_of = np.broadcast_to(others, similarity.shape)
    index = np.where(similarity == NO_SIMILARITY, NO_NEIGHBOUR, others_of).astype(np.int32)
    lists[0][rows], lists[1][rows] = sorted_neighbours(
        np.concatenate([lists[0][rows], index], axis=1), np.concatenate([lists[1][rows], similarity], axis=1), k
    )
