"""The rule `k-center-greedy` (also called `max`): the frame whose greatest similarity to the chosen is least. ENRICH's own.

Here: the rule. Its algorithm, in several ways, stands in `greedy`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.embeddings.fixed_point import checked
from enrich_assets.method.ranking.greedy import rank, rank_by_max_similarity_matrix
from enrich_assets.method.ranking.order import Ranking, checked_start
from enrich_assets.method.ranking.quota import Quota, rank_under_quota
from enrich_assets.method.ranking.rules.base import SimilarityRule, in_matrix

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]


class KCenterGreedy(SimilarityRule):
    """Each next frame is the one whose greatest similarity to all chosen before it is least."""

    name = "k-center-greedy"
    aliases = ("max",)

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
            return rank(embeddings, start, budget, device=device, progress=progress)
        q = checked(embeddings)
        x, chosen = q.astype(np.float32), checked_start(start, budget, len(q))

        def products(frame: int) -> NDArray[np.int64]:
            return (x @ x[frame]).astype(np.int64)

        return Ranking(*rank_under_quota(products, len(q), chosen, budget, quota, progress=progress))

    def by_matrix(
        self, similarity: NDArray[np.int32], start: ArrayLike, budget: int, *, quota: Quota | None = None
    ) -> Ranking:
        if quota is not None:
            n = len(similarity)
            chosen = checked_start(start, budget, n)
            order = rank_under_quota(lambda c: similarity[c].astype(np.int64), n, chosen, budget, quota)[0]
            return in_matrix(similarity, order, start)
        return in_matrix(similarity, rank_by_max_similarity_matrix(similarity, start, budget), start)
