"""The rule `mean`: the frame whose mean similarity to the chosen is least."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.embeddings.fixed_point import checked
from enrich_assets.method.ranking.order import NOT_COMPARED, Ranking, checked_start
from enrich_assets.method.ranking.quota import Quota, rank_under_quota
from enrich_assets.method.ranking.rules.base import SimilarityRule, in_matrix

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]
_TAKEN = np.iinfo(np.int64).max // 2  # greater than any sum, which may be added to it


class Mean(SimilarityRule):
    """Each next frame has the least mean similarity to all chosen before it."""

    name = "mean"

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
        if quota is None:
            return rank_by_mean_similarity(embeddings, start, budget, progress=progress)
        q = checked(embeddings)
        x, chosen = q.astype(np.float32), checked_start(start, budget, len(q))

        def products(frame: int) -> NDArray[np.int64]:
            return (x @ x[frame]).astype(np.int64)

        return Ranking(*rank_under_quota(products, len(q), chosen, budget, quota, by_sum=True, progress=progress))

    def by_matrix(
        self, similarity: NDArray[np.int32], start: ArrayLike, budget: int, *, quota: Quota | None = None
    ) -> Ranking:
        chosen = checked_start(start, budget, len(similarity))
        if quota is not None:
            rows = similarity.astype(np.int64)
            order = rank_under_quota(rows.__getitem__, len(rows), chosen, budget, quota, by_sum=True)[0]
            return in_matrix(similarity, order, start)
        total = similarity[:, chosen].sum(axis=1, dtype=np.int64)
        total[chosen] = _TAKEN
        order = np.concatenate([chosen, np.empty(budget - len(chosen), np.int64)])
        for at in range(len(chosen), budget):
            order[at] = pick = int(total.argmin())
            total += similarity[:, pick]
            total[pick] = _TAKEN
        return in_matrix(similarity, order, start)


def rank_by_mean_similarity(
    embeddings: NDArray[np.int16], start: ArrayLike, budget: int, *, progress: Progress | None = None
) -> Ranking:
    """Order frames so that each next one has the least mean similarity to all chosen before it.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors (`fixed_point.to_fixed_point`).
    start : (m,) int
        Frames chosen beforehand; where there are none, frame 0 comes first.
    budget : int
        How many frames to put in order, `start` among them.
    progress : callable, optional
        Called with (done, of, {}).

    Returns
    -------
    Ranking
        Ties go to the lower index.

    Notes
    -----
    The mean over t chosen is the sum over t, so sums are compared: int64, exact.
    """
    q = checked(embeddings)
    chosen = checked_start(start, budget, len(q))
    x = q.astype(np.float32)
    total = q.astype(np.int64) @ q[chosen].sum(axis=0, dtype=np.int64)
    greatest = np.full(len(q), NOT_COMPARED, np.int64)
    for at in range(0, len(chosen), 1024):
        products = x @ x[chosen[at : at + 1024]].T
        np.maximum(greatest, products.max(axis=1).astype(np.int64), out=greatest)
    total[chosen] = _TAKEN
    order = np.concatenate([chosen, np.empty(budget - len(chosen), np.int64)])
    similarity = np.full(budget, NOT_COMPARED, np.int64)
    for at in range(len(chosen), budget):
        pick = int(total.argmin())
        order[at], similarity[at] = pick, greatest[pick]
        products = (x @ x[pick]).astype(np.int64)
        total += products
        np.maximum(greatest, products, out=greatest)
        total[pick] = _TAKEN
        if progress and at % 1024 == 0:
            progress(at, budget, {})
    return Ranking(order, similarity)
