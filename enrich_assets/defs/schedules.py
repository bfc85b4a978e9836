"""Schedules: publish weekly whatever is stale; train the grid again only where the profile asks for it.

What is stale the planner says; here it becomes run requests.
"""

import dagster as dg

from enrich_assets.archive.home import Archive
from enrich_assets.core.graph import Graph
from enrich_assets.core.keys import length_asset
from enrich_assets.core.planner import Planner
from enrich_assets.core.stages import LENGTH, Goal, Group, Outlook, Work, ranking_groups, training_groups
from enrich_assets.core.step import Check
from enrich_assets.defs.jobs import PUBLISH, publication_keys
from enrich_assets.defs.mount import PARTITION, Mount
from enrich_assets.defs.run_tags import ONLY_STALE, cells_tag
from enrich_assets.store.receipts import Cell

RECURATION, RETRAINING, RETRAIN = "recuration", "retraining", "retrain_cells"
RETRAINING_TAG = "enrich/retraining"  # run tag: `Mount.tag` of the task whose rankings a run makes again


def schedules(graph: Graph, mount: Mount) -> list[dg.ScheduleDefinition]:
    """Those that the profile asks for."""
    settings = graph.profile.schedules
    definitions = []
    if settings.recuration is not None:
        definitions.append(_recuration(graph, mount, settings.recuration))
    if settings.retraining is not None:
        definitions += [_retraining(graph, mount, task, settings.retraining) for task in graph.profile.tasks]
    return definitions


def _recuration(graph: Graph, mount: Mount, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=mount.name(RECURATION),
        cron_schedule=cron,
        job_name=mount.name(PUBLISH),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        required_resource_keys={mount.resource},
        description="Brings sums, worklists, the database and the report up to date, whatever the sensors have missed. It trains no model.",
    )
    def recuration(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        archive = getattr(context.resources, mount.resource).open()
        request = publication_request(archive, graph, mount)
        return request or dg.SkipReason("everything published is up to date")

    return recuration


def publication_request(archive: Archive, graph: Graph, mount: Mount) -> dg.RunRequest | None:
    """One run of what is stale and can be made now of sums, comparisons, worklists, results and report, or None."""
    outlook = Outlook(Planner(archive, graph))
    keys = [key for key in publication_keys(graph) if _has_inputs(outlook, key)]
    work = outlook.work(Group("publication", tuple(graph.with_checks(keys))))
    return request_of(work, "", mount) if work and archive.batches else None


def _has_inputs(outlook: Outlook, key: str) -> bool:
    """A comparison of nothing is not asked for."""
    task, _, asset = key.partition("/")
    if asset != "comparison":
        return True
    step = outlook.planner.graph.steps[key]
    return any(outlook.planner.held(upstream) for upstream in step.reads["evaluations"].keys(step.where)) and bool(task)


def _retraining(graph: Graph, mount: Mount, task: str, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=mount.name(f"{RETRAINING}_{task}"),
        cron_schedule=cron,
        job_name=mount.name(f"rank_{task}"),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        required_resource_keys={mount.resource},
        description=f"Ranks the pool of {task} again where it has changed. The sensor `{mount.name(RETRAIN)}` then trains and scores what follows.",
    )
    def retraining(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        archive = getattr(context.resources, mount.resource).open()
        requests = retraining_requests(archive, graph, task, mount)
        return requests or dg.SkipReason("every ranking and score is up to date")

    return retraining


def retraining_requests(archive: Archive, graph: Graph, task: str, mount: Mount) -> list[dg.RunRequest]:
    """A ranking run for each seed of which a ranking or a cell of the grid is stale.

    Which cells follow is known only when the rankings stand (`cells_after_ranking`): one that comes out as it was trains
    nothing, and one that is fresh is handed out as it is.
    """
    outlook = Outlook(Planner(archive, graph))
    if outlook.pool_size(task) < 2 or not outlook.n_labelled(task):
        return []
    waiting = {group.partition.rpartition("|")[2] for group, _ in _stale_cells(outlook, task)}
    if lacks_length(outlook, task):  # then no cell can be made, and none is called stale
        waiting = set(map(str, graph.profile.tasks[task].seed_list))
    requests = []
    for group in ranking_groups(outlook.planner, task, Goal()):
        if group.partition in waiting or outlook.work(group):
            tags = {ONLY_STALE: "true", RETRAINING_TAG: mount.tag(task)}
            requests.append(dg.RunRequest(partition_key=group.partition, tags=tags))
    return requests


def cells_after_ranking(archive: Archive, graph: Graph, task: str, seed: str, mount: Mount) -> list[dg.RunRequest]:
    """Runs for the cells of a seed that are stale once its rankings stand: sent by the sensor `retrain_cells`."""
    outlook = Outlook(Planner(archive, graph))
    cells = _stale_cells(outlook, task)
    of_seed = [(group, work) for group, work in cells if group.partition.rpartition("|")[2] == seed]
    return [request_of(work, group.partition, mount) for group, work in of_seed]


def lacks_length(outlook: Outlook, task: str) -> bool:
    """Whether the number of steps of a task's trainings is left to the data and was never found."""
    is_left = outlook.planner.graph.profile.tasks[task].searches_length
    return is_left and outlook.planner.receipts.current(Cell(length_asset(task))) is None


def length_request(archive: Archive, graph: Graph, task: str, mount: Mount, run_key: str) -> dg.RunRequest | None:
    """A run that finds the number of steps of a task's trainings for the first time, or None where it is there."""
    outlook = Outlook(Planner(archive, graph))
    if not lacks_length(outlook, task):
        return None
    work = outlook.work(Group(LENGTH, tuple(graph.with_checks([length_asset(task)])), task=task))
    return request_of(work, "", mount, run_key) if work else None


def _stale_cells(outlook: Outlook, task: str) -> list[tuple[Group, Work]]:
    groups = training_groups(outlook, task, Goal())
    return [(group, work) for group in groups if (work := outlook.work(group))]


def request_of(work: Work, partition: str, mount: Mount, run_key: str | None = None) -> dg.RunRequest:
    """A run of the steps and checks that the planner says are stale.

    Parameters
    ----------
    work
        Of one group.
    partition
        "" for assets without partitions.
    run_key
        Dagster drops a request whose key it has seen; None: every request counts.
    """
    keys = [declared.key for declared, _ in work]
    checks = [key for (declared, _), key in zip(work, keys, strict=True) if isinstance(declared, Check)]
    only_checks = bool(partition) and len(checks) == len(keys)
    tags = {ONLY_STALE: "true", **cells_tag([declared for declared, _ in work], partition)}
    return dg.RunRequest(
        run_key=run_key,
        partition_key=partition or None,
        asset_selection=[mount.asset_key(key) for key in keys if key not in checks],
        asset_check_keys=[mount.check_key(key) for key in checks],
        tags={**tags, PARTITION: partition} if only_checks else tags,
    )
