"""The rules: one a file, one base (`base.Rule`). The door: a rule by its name, and an order by any rule on any similarity.

Every file of this folder, and of `acquisition` (the rules that see labels), is looked into when a rule is asked for, so a new
rule is a new file and nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from enrich_assets.method.ranking.order import Ranking
from enrich_assets.method.ranking.rules.base import (
    RULES,
    Candidates,
    NamedRule,
    Rule,
    Similarity,
    SimilarityRule,
    VectorRule,
)
from enrich_assets.method.ranking.rules.facility_location import rank_by_facility_location
from enrich_assets.method.ranking.rules.mean import rank_by_mean_similarity
from enrich_assets.method.ranking.rules.random import random_order

if TYPE_CHECKING:
    import torch

__all__ = [
    "Candidates",
    "NamedRule",
    "Rule",
    "Similarity",
    "SimilarityRule",
    "VectorRule",
    "random_order",
    "rank_by_facility_location",
    "rank_by_mean_similarity",
    "rank_frames",
    "rule_named",
    "rule_names",
]

Progress = Callable[[int, int, dict[str, float]], None]


ACQUISITION = "enrich_assets.method.ranking.acquisition"  # the folder of the rules that see labels


@cache
def _import_rules() -> None:
    for package in (__name__, ACQUISITION):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)


def rule_names() -> tuple[str, ...]:
    """The names of all rules, aliases left out, in alphabetical order."""
    _import_rules()
    return tuple(sorted({rule.name for rule in RULES.values()}))


def rule_named(name: str) -> NamedRule:
    """The rule of a name or an alias.

    Raises
    ------
    ValueError
        Naming the rules there are.
    """
    _import_rules()
    if name not in RULES:
        *most, last = rule_names()
        raise ValueError(f"no rule '{name}': {', '.join(most)} or {last}")
    return RULES[name]()


def rank_frames(
    rule: str,
    similarity: Similarity,
    candidates: Candidates,
    start: ArrayLike,
    budget: int,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """The order by any rule on any similarity.

    Parameters
    ----------
    rule : str
        One of `rule_names`, or an alias.
    similarity : {"cosine", "ssim", "pixels"}
        By which frames are compared, where the rule compares them.
    candidates : Candidates
        The pool of n frames: embeddings for cosine, frames for ssim and pixels, frame_ids for the rule random; a quota,
        and the budgets that rules like typiclust plan for, one after the other.
    start : (m,) int
        Frames chosen beforehand; they come first whatever the rule.
    budget : int
        How many frames to put in order, `start` among them.
    seed : int
        Of the rule random, and of k-means under typiclust and probcover.
    device : str or torch.device, optional
        Without it CUDA, where there is one and the pool is large.
    progress : callable, optional
        Called with (done, of, {}).

    Returns
    -------
    Ranking

    Raises
    ------
    ValueError
        For an unknown rule or similarity, a rule that sees labels, where `candidates` lacks what they need, and for a start or budget that does
        not fit the pool.
    """
    named = rule_named(rule)
    if not isinstance(named, Rule):
        raise ValueError(f"the rule '{named.name}' sees labels; `acquisition.grow` puts frames in order by it")
    return named.rank(candidates, start, budget, similarity=similarity, seed=seed, device=device, progress=progress)
