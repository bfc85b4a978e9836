"""The rule `facility-location`: the frame that adds most to how well the chosen stand for all frames."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.embeddings.fixed_point import checked
from enrich_assets.method.pairs.similarity import PairLists, all_pairs
from enrich_assets.method.ranking.greedy import rank
from enrich_assets.method.ranking.order import Ranking, checked_start, similarity_to_earlier
from enrich_assets.method.ranking.quota import Admission, Quota, rank_under_quota
from enrich_assets.method.ranking.rules.base import SimilarityRule, in_matrix

if TYPE_CHECKING:
    import torch
    from scipy import sparse

Progress = Callable[[int, int, dict[str, float]], None]
NEIGHBOURS = 50  # of each frame, that are looked at


class FacilityLocation(SimilarityRule):
    """Each next frame adds most to the sum over all frames of the greatest similarity to a chosen one."""

    name = "facility-location"

    def by_vectors(
        self,
        embeddings: NDArray[np.int16],
        start: ArrayLike,
        budget: int,
        *,
        quota: Quota | None = None,
        device: str | torch.device | None = None,
        progress: Progress | None = None,
    ) -> Ranking:
        return rank_by_facility_location(embeddings, start, budget, quota=quota, device=device, progress=progress)

    def by_matrix(
        self, similarity: NDArray[np.int32], start: ArrayLike, budget: int, *, quota: Quota | None = None
    ) -> Ranking:
        n = len(similarity)
        everybody = np.broadcast_to(np.arange(n), (n, n))
        chosen = checked_start(start, budget, n)
        order = _greatest_gain(_symmetric(everybody, similarity.astype(np.int64)), chosen, budget, quota)
        if quota is not None and len(order) < budget:
            order = rank_under_quota(lambda c: similarity[c].astype(np.int64), n, order, budget, quota)[0]
        return in_matrix(similarity, order, start)


def rank_by_facility_location(
    embeddings: NDArray[np.int16],
    start: ArrayLike,
    budget: int,
    *,
    neighbours: int = NEIGHBOURS,
    quota: Quota | None = None,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Order frames so that each next one adds most to sum_i max(0, max_{c chosen} s(i, c)).

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors (`fixed_point.to_fixed_point`).
    start : (m,) int
        Frames chosen beforehand.
    budget : int
        How many frames to put in order, `start` among them.
    neighbours : int
        s counts between a frame and so many of its nearest (in either direction) and itself; elsewhere, and where
        negative, it is nothing. From n - 1 on that is facility location in full.
    quota : Quota, optional
        Without it any frame may come next.
    device : str or torch.device, optional
        Without it CUDA, where there is one and the pool is large.
    progress : callable, optional
        Called with (done, of, {}).

    Returns
    -------
    Ranking
        Ties go to the lower index. Frames that add nothing any more follow by k-center-greedy.

    References
    ----------
    Lazy greedy: Minoux M. Accelerated greedy algorithms for maximizing submodular set functions. 1978.
    """
    q = checked(embeddings)
    n = len(q)
    chosen = checked_start(start, budget, n)
    lists = PairLists(neighbours=min(neighbours, max(n - 1, 0)), max_near_duplicates=0)
    panel = all_pairs(q, clips=np.arange(n), patients=np.arange(n), lists=lists, device=device, progress=progress)
    own = np.einsum("ij,ij->i", q.astype(np.int64), q.astype(np.int64))
    index = np.concatenate([np.arange(n)[:, None], panel.neighbours], axis=1)
    similarity = np.concatenate([own[:, None], panel.neighbour_similarity], axis=1).astype(np.int64)
    order = _greatest_gain(_symmetric(index, similarity), chosen, budget, quota)
    if len(order) < budget and quota is not None:
        x = q.astype(np.float32)
        order = rank_under_quota(lambda c: (x @ x[c]).astype(np.int64), n, order, budget, quota)[0]
    elif len(order) < budget:
        order = rank(q, order, budget, device=device).order
    return Ranking(order, similarity_to_earlier(q, order, len(chosen)))


def _symmetric(index: NDArray[np.generic], similarity: NDArray[np.int64]) -> sparse.csr_array:
    """The (n, n) matrix of what (n, k) lists hold of positive similarity, each pair in both directions."""
    from scipy import sparse

    n, k = index.shape
    present = (similarity > 0).ravel() & (np.asarray(index).ravel() >= 0)
    rows, columns = np.repeat(np.arange(n), k)[present], np.asarray(index).ravel()[present]
    matrix = sparse.csr_array((similarity.ravel()[present], (rows, columns)), shape=(n, n))
    return sparse.csr_array(matrix.maximum(matrix.T))


def _greatest_gain(
    matrix: sparse.csr_array, start: NDArray[np.int64], budget: int, quota: Quota | None = None
) -> NDArray[np.int64]:
    """Lazy greedy: a gain never grows, so an old one is an upper bound, and the frame of the greatest that is not out of
    date is the next. Frames that a quota keeps back wait for the next layer. Ends early when no frame adds anything."""
    n = matrix.shape[0]
    served = np.zeros(n, np.int64)  # how similar the most similar chosen frame is

    def similar_to(c: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        row = slice(matrix.indptr[c], matrix.indptr[c + 1])
        return matrix.indices[row], matrix.data[row]

    def gain(c: int) -> int:
        frames, similarity = similar_to(c)
        return int(np.maximum(similarity - served[frames], 0).sum())

    def take(c: int) -> None:
        frames, similarity = similar_to(c)
        served[frames] = np.maximum(served[frames], similarity)

    order = list(map(int, start))
    for c in order:
        take(c)
    admission = Admission(n, start, quota)
    heap = [(-gain(c), c) for c in range(n) if not admission.taken[c]]
    heapq.heapify(heap)
    waiting: list[tuple[int, int]] = []
    while len(order) < budget and heap:  # without one, whoever is admissible adds nothing
        bound, c = heapq.heappop(heap)
        if not admission.free[c]:
            waiting.append((bound, c))
            continue
        current = gain(c)
        if current < -bound:
            heapq.heappush(heap, (-current, c))
            continue
        if not current:
            break
        order.append(c)
        take(c)
        if admission.take(c):
            for entry in waiting:
                heapq.heappush(heap, entry)
            waiting.clear()
    return np.array(order, np.int64)
