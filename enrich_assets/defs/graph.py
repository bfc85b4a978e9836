"""The whole graph: every step of a profile, in an order in which each stands after what it is made from."""

from typing import NamedTuple

from enrich_assets.defs import arrival, conclusions, curation, embedding, publication, training
from enrich_assets.defs.curation import arms
from enrich_assets.defs.partitions import cell_keys
from enrich_assets.defs.steps import Step
from enrich_assets.settings import Profile


class Graph:
    """Steps by asset key."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        stages = (arrival, embedding, curation, training, conclusions, publication)
        self.steps: dict[str, Step] = {step.key: step for stage in stages for step in stage.steps(profile)}

    def upstream(self, step: Step) -> set[str]:
        return {"/".join(dependency.asset_key.path) for dependency in step.deps}


class Group(NamedTuple):
    """Steps of one partition that go into one Dagster run, because starting a run costs more than a step."""

    stage: str
    steps: tuple[Step, ...]
    partition: str = ""
    task: str = ""


def arrival_groups(graph: Graph, batches: list[str]) -> list[Group]:
    keys = ("studies", "frames", "split", "labelled", "labels")
    return [Group("arrival", tuple(graph.steps[k] for k in keys), batch) for batch in batches]


def vae_groups(graph: Graph) -> list[Group]:
    return [Group("vae", (graph.steps["vae_weights"],))]


def similarity_groups(graph: Graph, batches: list[str]) -> list[Group]:
    keys = ["embeddings", *(f"{task}/{asset}" for task in graph.profile.tasks for asset in ("pool", "similarity"))]
    return [Group("similarity", tuple(graph.steps[k] for k in keys), batch) for batch in batches]


def redundancy_groups(graph: Graph, task: str) -> list[Group]:
    return [Group("redundancy", (graph.steps[f"{task}/redundancy"],), task=task)]


def ranking_groups(graph: Graph, task: str, only_arms: list[str]) -> list[Group]:
    steps = tuple(graph.steps[f"{task}/{arm}/ranking"] for arm in only_arms)
    return [Group("ranking", steps, str(seed), task) for seed in graph.profile.tasks[task].seed_list]


def training_groups(graph: Graph, task: str, only_arms: list[str]) -> list[Group]:
    """A run per cell of the grid, all arms that share the grid together; the cheapest budgets first."""
    settings = graph.profile.tasks[task]
    cells: dict[str, list[str]] = {}
    for arm in only_arms:
        for key in cell_keys(settings, arm):
            cells.setdefault(key, []).append(arm)
    return [
        Group(
            "training",
            tuple(graph.steps[f"{task}/{arm}/{a}"] for arm in of for a in ("subset", "model", "evaluation")),
            key,
            task,
        )
        for key, of in cells.items()
    ]


def conclusion_groups(graph: Graph, tasks: list[str], *, compared: list[str]) -> list[Group]:
    """`compared`: the tasks that have something evaluated."""
    keys = [
        f"{task}/{asset}"
        for task in tasks
        for asset in ("comparison", "worklist")
        if asset != "comparison" or task in compared
    ]
    return [Group("conclusions", tuple(graph.steps[k] for k in [*keys, "results", "report"]))]


def arms_of(graph: Graph, task: str) -> list[str]:
    return list(arms(graph.profile.tasks[task]))
