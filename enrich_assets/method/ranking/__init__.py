"""The order in which frames would be labelled: one rule a file. The door: what other rooms and other people import."""

from enrich_assets.method.ranking.greedy import (
    NOT_COMPARED,
    Ranking,
    rank_by_max_similarity,
    rank_by_max_similarity_matrix,
)

__all__ = ["NOT_COMPARED", "Ranking", "rank_by_max_similarity", "rank_by_max_similarity_matrix"]
