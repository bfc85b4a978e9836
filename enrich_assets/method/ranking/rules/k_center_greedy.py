"""The rule `k-center-greedy` (also called `max`): the frame whose greatest similarity to the chosen is least. ENRICH's own.

Here: the rule. Its algorithm, in several ways, stands in `greedy`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.ranking.greedy import rank, rank_by_max_similarity_matrix
from enrich_assets.method.ranking.order import Ranking
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
        device: str | torch.device | None = None,
        progress: Progress | None = None,
    ) -> Ranking:
        return rank(embeddings, start, budget, device=device, progress=progress)

    def by_matrix(self, similarity: NDArray[np.int32], start: ArrayLike, budget: int) -> Ranking:
        return in_matrix(similarity, rank_by_max_similarity_matrix(similarity, start, budget), start)
