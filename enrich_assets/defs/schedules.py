"""Schedules: publish anew weekly; train the grid anew only where the profile asks for it."""

import dagster as dg

from enrich_assets.archive import Archive
from enrich_assets.defs import graph as g
from enrich_assets.defs.graph import Graph, Group
from enrich_assets.defs.jobs import PUBLISH
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.steps import ONLY_STALE, Step
from enrich_assets.settings import ALL, budget_frames
from enrich_assets.store.receipts import MissingArtefact

RECURATION, RETRAINING = "recuration", "retraining"
RETRAINING_TAG = "enrich/retraining"  # names the task whose rankings a run makes anew
TAGS = {ONLY_STALE: "true"}


def schedules(graph: Graph) -> list[dg.ScheduleDefinition]:
    settings = graph.profile.schedules
    found = []
    if settings.recuration is not None:
        found.append(_recuration(graph, settings.recuration))
    if settings.retraining is not None:
        found += [_retraining(graph, task, settings.retraining) for task in graph.profile.tasks]
    return found


def _recuration(graph: Graph, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=RECURATION,
        cron_schedule=cron,
        job_name=PUBLISH,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Sums up, extends the worklists and publishes what is stale, whatever automation has missed.",
    )
    def recuration(context: dg.ScheduleEvaluationContext, archive: ArchiveResource) -> dg.RunRequest | dg.SkipReason:
        return publication_request(archive.open(), graph) or dg.SkipReason("everything published is up to date")

    return recuration


def publication_request(archive: Archive, graph: Graph) -> dg.RunRequest | None:
    """One run of what is stale among sums, comparisons, worklists, results and report, and can be made now."""
    tasks = list(graph.profile.tasks)
    steps = [step for task in tasks for step in g.redundancy_groups(graph, task)[0].steps]
    steps += g.conclusion_groups(graph, tasks, compared=tasks)[0].steps
    keys = _stale(archive, graph, Group("publish", tuple(steps)))
    if not keys or not archive.batches:
        return None
    return dg.RunRequest(asset_selection=[graph.steps[key].asset_key for key in keys], tags=TAGS)


def grid_steps(graph: Graph) -> list[Step]:
    """What stands on the rankings."""
    kinds = ("subset", "model", "evaluation")
    return [step for key, step in graph.steps.items() if key.rpartition("/")[2] in kinds]


def _retraining(graph: Graph, task: str, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{RETRAINING}_{task}",
        cron_schedule=cron,
        job_name=f"rank_{task}",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Ranks anew where the pool has changed; a sensor then asks for the cells of the grid that are stale.",
    )
    def retraining(
        context: dg.ScheduleEvaluationContext, archive: ArchiveResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        return retraining_requests(archive.open(), graph, task) or dg.SkipReason(
            "every ranking and score is up to date"
        )

    return retraining


def retraining_requests(archive: Archive, graph: Graph, task: str) -> list[dg.RunRequest]:
    """A ranking run for each seed of which a ranking or a cell of the grid is stale by receipts.

    Which cells follow is known only when the rankings stand (`cells_after_ranking`): one that comes out as it was trains
    nothing, and one that is fresh is handed out as it is.
    """
    if not _has_labels(archive, task):
        return []
    waiting = {str(request.partition_key).rpartition("|")[2] for request in _cells(archive, graph, task)}
    return [
        dg.RunRequest(partition_key=group.partition, tags={**TAGS, RETRAINING_TAG: task})
        for group in g.ranking_groups(graph, task, g.arms_of(graph, task))
        if group.partition in waiting or _stale(archive, graph, group)
    ]


def cells_after_ranking(archive: Archive, graph: Graph, task: str, seed: str) -> list[dg.RunRequest]:
    """Runs for the cells of a seed that are stale once its rankings stand: sent by the sensor `retrain_cells`."""
    return [
        request for request in _cells(archive, graph, task) if str(request.partition_key).rpartition("|")[2] == seed
    ]


def _cells(archive: Archive, graph: Graph, task: str) -> list[dg.RunRequest]:
    pool = len(archive.pool(task))
    requests = []
    for group in g.training_groups(graph, task, g.arms_of(graph, task)):
        budget = group.partition.partition("|")[0]
        if budget != ALL and budget_frames(budget, pool) > pool:
            continue  # more than there is; the driver says so, too
        if keys := _stale(archive, graph, group):
            requests.append(_request(graph, group, keys))
    return requests


def _has_labels(archive: Archive, task: str) -> bool:
    pools = archive.store.receipts.of(f"{task}/pool").values()
    return sum(pool.figures["labelled"] for pool in pools) > 0 and sum(pool.figures["frames"] for pool in pools) > 1


def _stale(archive: Archive, graph: Graph, group: Group) -> list[str]:
    """Steps of the group to be made, as the driver decides; none where what they need is missing."""
    needed: list[str] = []
    for step in group.steps:
        after = set(needed) & graph.upstream(step)
        try:
            stale = step.why_stale(archive, group.partition) is not None
        except (MissingArtefact, LookupError):
            stale = False
        if stale or after:
            needed.append(step.key)
    return needed


def _request(graph: Graph, group: Group, keys: list[str]) -> dg.RunRequest:
    return dg.RunRequest(
        partition_key=group.partition,
        asset_selection=[graph.steps[key].asset_key for key in keys],
        tags=TAGS,
    )
