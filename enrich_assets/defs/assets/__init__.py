"""Every asset and check, a file a stage, in the order of the graph; and the graph of a profile made of them."""

from types import ModuleType

from enrich_assets.core.graph import Graph
from enrich_assets.core.step import Template
from enrich_assets.defs.assets import (
    acquisition,
    conclusions,
    embedding,
    embedding_health,
    further_embeddings,
    leaks,
    length,
    publication,
    ranking,
    similarity,
    sites,
    studies,
    training,
)
from enrich_assets.settings import Profile

STAGES: tuple[ModuleType, ...] = (
    studies,
    embedding,
    further_embeddings,
    embedding_health,
    leaks,
    similarity,
    sites,
    length,
    acquisition,  # before `ranking`, whose subsets are made of both kinds of rankings
    ranking,
    training,
    conclusions,
    publication,
)


def templates() -> list[Template]:
    """All declarations, in order."""
    return [value for stage in STAGES for value in vars(stage).values() if isinstance(value, Template)]


def graph_of(profile: Profile) -> Graph:
    """The steps and checks that a profile asks for."""
    return Graph(profile, templates())
