"""All pairs by plain numpy, block by block: for small pools, where compiling a faster pass would cost more than it
saves.

Also the definition in code of what the fast passes must return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.pairs.panel import (
    BIN_WIDTH,
    N_BINS,
    NO_NEIGHBOUR,
    NO_SIMILARITY,
    Panel,
    first_near_duplicates,
    nothing,
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
    """Pairs by the integer thresholds t: (len(t) - 1,) counts of t[b] <= product < t[b + 1]."""
    below = np.zeros(len(thresholds), np.int64)
    for _, _, products, is_pair in _blocks(q, 0, progress):
        below += np.searchsorted(np.sort(products[is_pair]), thresholds)
    return np.diff(below)


def panel(
    q: NDArray[np.int16],
    clips: NDArray[np.int32],
    patients: NDArray[np.int32],
    n_earlier: int,
    k: int,
    near: int,
    most: int,
    progress: Progress | None = None,
    *,
    so_far: Panel | None = None,
) -> Panel:
    """The panel; arguments as `similarity.all_pairs` has checked them, `near` as a product."""
    n = len(q)
    histograms = np.zeros((3, N_BINS), np.int64)
    everywhere, outside = nothing(n, k), nothing(n, k)
    pairs, near_similarity, left_out = np.empty((0, 2), np.int32), np.empty(0, np.int32), 0
    for top, left, products, is_pair in _blocks(q, n_earlier, progress):
        i, j = np.arange(top, top + products.shape[0]), np.arange(left, left + products.shape[1])
        same_clip = clips[i][:, None] == clips[j][None, :]
        same_patient = patients[i][:, None] == patients[j][None, :]
        relation = np.where(same_clip, 0, np.where(same_patient, 1, 2))[is_pair]
        bins = np.clip(products[is_pair] // BIN_WIDTH + N_BINS // 2, 0, N_BINS - 1)
        histograms += np.bincount(relation * N_BINS + bins, minlength=3 * N_BINS).reshape(3, N_BINS)
        for mine, allowed in ((everywhere, is_pair), (outside, is_pair & ~same_clip)):
            _offer(mine, i, j, products, allowed)
            _offer(mine, j, i, products.T, allowed.T)
        close = np.nonzero(is_pair & (products >= near))
        pairs, near_similarity, more = first_near_duplicates(
            np.concatenate([pairs, np.stack([i[close[0]], j[close[1]]], axis=1).astype(np.int32)]),
            np.concatenate([near_similarity, products[close]]),
            most,
        )
        left_out += more
    if so_far and k:
        for mine, known in ((everywhere, so_far.neighbour_similarity), (outside, so_far.outside_similarity)):
            no_nearer = mine[1][:n_earlier] <= known[:, -1:]
            mine[0][:n_earlier][no_nearer], mine[1][:n_earlier][no_nearer] = NO_NEIGHBOUR, NO_SIMILARITY
    return Panel(
        n_earlier, n, k, near, most, histograms, *everywhere, *outside, pairs, near_similarity, left_out,
    )  # fmt: skip


def _offer(
    mine: tuple[NDArray[np.int32], NDArray[np.int32]],
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    products: NDArray[np.int32],
    allowed: NDArray[np.bool_],
) -> None:
    """Take the block's candidates into the neighbour lists of `rows`."""
    k = mine[0].shape[1]
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
    mine[0][rows], mine[1][rows] = sorted_neighbours(
        np.concatenate([mine[0][rows], index], axis=1), np.concatenate([mine[1][rows], similarity], axis=1), k
    )
