"""The order in which frames would be labelled. The door: what other rooms and other people import.

Importing it brings numpy and nothing heavier; torch, numba and scipy are loaded by whoever needs them.
"""

from enrich_assets.method.ranking.coverage import Coverage, coverage_at, coverage_of
from enrich_assets.method.ranking.greedy import rank, rank_by_max_similarity, rank_by_max_similarity_matrix
from enrich_assets.method.ranking.order import NOT_COMPARED, Ranking
from enrich_assets.method.ranking.quota import Quota
from enrich_assets.method.ranking.rules import (
    Candidates,
    NamedRule,
    Rule,
    Similarity,
    random_order,
    rank_frames,
    rule_named,
    rule_names,
)
from enrich_assets.method.ranking.worklist import greatest_similarity, rank_with_quotas

__all__ = [
    "NOT_COMPARED",
    "Candidates",
    "Coverage",
    "NamedRule",
    "Quota",
    "Ranking",
    "Rule",
    "Similarity",
    "coverage_at",
    "coverage_of",
    "greatest_similarity",
    "random_order",
    "rank",
    "rank_by_max_similarity",
    "rank_by_max_similarity_matrix",
    "rank_frames",
    "rank_with_quotas",
    "rule_named",
    "rule_names",
]
