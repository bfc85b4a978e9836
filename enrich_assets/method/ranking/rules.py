"""One door to every way of choosing: a rule (max, mean, facility location, random) on a measure (cosine, SSIM, pixels).

The max rule on fixed-point vectors, the method's own, stands in `ranking`; here are the others, for comparison. All are
exact and deterministic, ties go to the lower index. The measures of pictures stand in `measures`.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.embeddings.fixed_point import checked
from enrich_assets.method.pairs.similarity import all_pairs
from enrich_assets.method.ranking.greedy import (
    NOT_COMPARED,
    Ranking,
    checked_start,
    rank,
    rank_by_max_similarity_matrix,
    similarity_to_earlier,
)
from enrich_assets.method.ranking.measures import SSIM_UNIT, pixel_embeddings, ssim_matrix

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]
Rule = Literal["max", "mean", "facility-location", "random"]
Measure = Literal["cosine", "ssim", "pixels"]
FACILITY_NEIGHBOURS = 50  # of each frame, that facility location looks at


def random_order(frame_ids: Sequence[str] | NDArray[np.generic], seed: int) -> NDArray[np.int64]:
    """Frames in the order of sha256("<seed>:<frame_id>"): (n,) int64 indices.

    The order of any two frames hangs on nothing but their ids, so growth of the pool never reshuffles it.
    """
    keys = [hashlib.sha256(f"{seed}:{frame_id}".encode()).digest() for frame_id in frame_ids]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def rank_frames(
    rule: Rule,
    measure: Measure = "cosine",
    *,
    embeddings: NDArray[np.int16] | None = None,
    frames: NDArray[np.uint8] | None = None,
    frame_ids: Sequence[str] | NDArray[np.generic] | None = None,
    start: ArrayLike = (),
    budget: int,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """The order by any rule on any measure.

    embeddings: (n, d) int16, for the measure cosine.   frames: (n, h, w) uint8, for ssim and pixels.   frame_ids:
    (n,), for the rule random, which needs nothing else.   start: (m,) chosen beforehand, comes first whatever the
    rule. Raises ValueError when an input that the rule or the measure needs is missing.
    """
    if rule == "random":
        if frame_ids is None:
            raise ValueError("the random rule orders by frame_ids; give them")
        chosen = checked_start(start, budget, len(frame_ids))
        shuffled = random_order(frame_ids, seed)
        order = np.concatenate([chosen, shuffled[~np.isin(shuffled, chosen)]])[:budget]
        return Ranking(order, np.full(budget, NOT_COMPARED, np.int64))
    if rule not in ("max", "mean", "facility-location"):
        raise ValueError(f"no rule '{rule}': max, mean, facility-location or random")
    if measure == "ssim":
        matrix = ssim_matrix(_given(frames, "frames", measure), progress=progress)
        return rank_matrix(rule, matrix, start, budget)
    if measure == "pixels":
        vectors = pixel_embeddings(_given(frames, "frames", measure))
    elif measure == "cosine":
        vectors = checked(_given(embeddings, "embeddings", measure))
    else:
        raise ValueError(f"no measure '{measure}': cosine, ssim or pixels")
    if rule == "max":
        return rank(vectors, start, budget, device=device, progress=progress)
    if rule == "mean":
        return rank_by_mean_similarity(vectors, start, budget, progress=progress)
    return rank_by_facility_location(vectors, start, budget, device=device, progress=progress)


def _given(value: NDArray[np.generic] | None, name: str, measure: str) -> NDArray:
    if value is None:
        raise ValueError(f"the measure {measure} needs {name}")
    return value


def rank_matrix(rule: Rule, similarity: NDArray[np.int32], start: ArrayLike, budget: int) -> Ranking:
    """A rule on a given (n, n) integer matrix in units of 1 / SSIM_UNIT."""
    n = len(similarity)
    if rule == "max":
        order = rank_by_max_similarity_matrix(similarity, start, budget)
    elif rule == "mean":
        order = checked_start(start, budget, n)
        total = similarity[:, order].sum(axis=1, dtype=np.int64)
        free = np.ones(n, bool)
        free[order] = False
        picks = list(map(int, order))
        while len(picks) < budget:
            pick = int(np.where(free, total, np.iinfo(np.int64).max).argmin())
            picks.append(pick)
            free[pick] = False
            total += similarity[:, pick]
        order = np.array(picks, np.int64)
    else:
        index = np.broadcast_to(np.arange(n), (n, n))
        order = _facility_location(index, similarity.astype(np.int64), checked_start(start, budget, n), budget)
    return Ranking(order, _to_earlier(similarity, order, np.asarray(start).size), SSIM_UNIT)


def _to_earlier(similarity: NDArray[np.int32], order: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Greatest similarity of each frame of the order to those before it, from place `first` on."""
    greatest = np.full(len(order), NOT_COMPARED, np.int64)
    for at in range(max(first, 1), len(order)):
        greatest[at] = similarity[order[at], order[:at]].max()
    return greatest


def rank_by_mean_similarity(
    embeddings: NDArray[np.int16], start: ArrayLike, budget: int, *, progress: Progress | None = None
) -> Ranking:
    """Each next frame has the least mean similarity to all chosen before it; ties go to the lower index.

    The mean over t chosen is the sum over t, so sums (int64, exact) are compared. With an empty start: frame 0 first.
    """
    q = checked(embeddings)
    chosen = checked_start(start, budget, len(q))
    x = q.astype(np.float32)
    total = q.astype(np.int64) @ q[chosen].sum(axis=0, dtype=np.int64)
    greatest = np.full(len(q), NOT_COMPARED, np.int64)
    for at in range(0, len(chosen), 1024):
        products = x @ x[chosen[at : at + 1024]].T
        np.maximum(greatest, products.max(axis=1).astype(np.int64), out=greatest)
    taken = np.iinfo(np.int64).max // 2
    total[chosen] = taken
    order = np.concatenate([chosen, np.empty(budget - len(chosen), np.int64)])
    similarity = np.full(budget, NOT_COMPARED, np.int64)
    for at in range(len(chosen), budget):
        pick = int(total.argmin())
        order[at], similarity[at] = pick, greatest[pick]
        products = (x @ x[pick]).astype(np.int64)
        total += products
        np.maximum(greatest, products, out=greatest)
        total[pick] = taken
        if progress and at % 1024 == 0:
            progress(at, budget, {})
    return Ranking(order, similarity)


def rank_by_facility_location(
    embeddings: NDArray[np.int16],
    start: ArrayLike,
    budget: int,
    *,
    neighbours: int = FACILITY_NEIGHBOURS,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Each next frame adds most to sum_i max(0, max_{c chosen} s(i, c)) (facility location), lower index on ties.

    s counts between a frame and its `neighbours` nearest (in either direction) and itself, and is nothing elsewhere and
    where negative; with neighbours >= n - 1 that is facility location in full. Sums are of exact integers. Lazy greedy
    (Minoux 1978): a gain never grows, so an old one is an upper bound. Frames that add nothing any more follow by the
    max rule.
    """
    q = checked(embeddings)
    n = len(q)
    chosen = checked_start(start, budget, n)
    panel = all_pairs(
        q, clips=np.arange(n), patients=np.arange(n), neighbours=min(neighbours, max(n - 1, 0)),
        max_near_duplicates=0, device=device, progress=progress,
    )  # fmt: skip
    own = np.einsum("ij,ij->i", q.astype(np.int64), q.astype(np.int64))
    index = np.concatenate([np.arange(n)[:, None], panel.neighbours], axis=1)
    similarity = np.concatenate([own[:, None], panel.neighbour_similarity], axis=1).astype(np.int64)
    order = _facility_location(index, similarity, chosen, budget)
    if len(order) < budget:
        order = rank(q, order, budget, device=device).order
    return Ranking(order, similarity_to_earlier(q, order, len(chosen)))


def _facility_location(
    index: NDArray[np.generic], similarity: NDArray[np.int64], start: NDArray[np.int64], budget: int
) -> NDArray[np.int64]:
    """Lazy greedy over (n, k) sparse similarities made symmetric; stops early when no frame adds anything."""
    from scipy import sparse

    n, k = index.shape
    present = (similarity > 0).ravel() & (np.asarray(index).ravel() >= 0)
    rows, columns = np.repeat(np.arange(n), k)[present], np.asarray(index).ravel()[present]
    matrix = sparse.csr_array((similarity.ravel()[present], (rows, columns)), shape=(n, n))
    matrix = sparse.csr_array(matrix.maximum(matrix.T))
    served = np.zeros(n, np.int64)  # how similar the most similar chosen frame is

    def view(c: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        part = slice(matrix.indptr[c], matrix.indptr[c + 1])
        return matrix.indices[part], matrix.data[part]

    def gain(c: int) -> int:
        who, how = view(c)
        return int(np.maximum(how - served[who], 0).sum())

    def take(c: int) -> None:
        who, how = view(c)
        served[who] = np.maximum(served[who], how)

    order = list(map(int, start))
    for c in order:
        take(c)
    taken = set(order)
    heap = [(-gain(c), c) for c in range(n) if c not in taken]
    heapq.heapify(heap)
    while len(order) < budget and heap:
        bound, c = heapq.heappop(heap)
        fresh = gain(c)
        if fresh < -bound:
            heapq.heappush(heap, (-fresh, c))
            continue
        if not fresh:
            break
        order.append(c)
        take(c)
    return np.array(order, np.int64)
