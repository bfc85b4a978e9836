"""Sensors: what arrives in `incoming/` becomes a batch and a run; automation conditions carry it on.

What a drop is: `studies/drops.py`; what becomes of it: `gathering.py`; what follows a batch: `automation.py`.
"""

import json
import time
from collections.abc import Callable, Collection

import dagster as dg

from enrich_assets.archive import Archive
from enrich_assets.defs.gathering import DropRegister, remove_read_drops, take_in_drops
from enrich_assets.defs.graph import Graph
from enrich_assets.defs.jobs import TAKE_IN, TRAIN_VAE
from enrich_assets.defs.partitions import BATCH, batches
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.schedules import RETRAINING_TAG, cells_after_ranking, grid_steps
from enrich_assets.defs.steps import ONLY_STALE, Step
from enrich_assets.store.receipts import Cell, digest_of
from enrich_assets.studies.drops import look, mark_taken

INCOMING, FIRST_VAE, FOLLOW, UNSEEN = "incoming", "first_vae", "follow", "unseen_changes"
RETRAIN, TIDY = "retrain_cells", "tidy_incoming"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
TAGS = {ONLY_STALE: "true"}  # a cell that is fresh after all hands out what it has


def sensors(graph: Graph, clock: Callable[[], float] = time.time) -> list[dg.SensorDefinition]:
    """clock: seconds; a test hands in its own."""
    found: list[dg.SensorDefinition] = [
        _incoming(graph, clock),
        _first_vae(),
        _unseen_changes(graph),
        dg.AutomationConditionSensorDefinition(
            FOLLOW,
            target=dg.AssetSelection.all(),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=graph.profile.incoming.every_seconds,
            run_tags=TAGS,
            emit_backfills=False,
            description="Asks for what follows from what changed: embeddings, panels, sums, worklists, results, report.",
        ),
    ]
    if graph.profile.schedules.retraining is not None:
        found.append(_retrain_cells(graph))
    if graph.profile.incoming.after == "remove":
        found.append(_tidy())
    return found


def _incoming(graph: Graph, clock: Callable[[], float]) -> dg.SensorDefinition:
    @dg.sensor(
        name=INCOMING,
        job_name=TAKE_IN,
        minimum_interval_seconds=graph.profile.incoming.every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Each complete folder in `incoming/` becomes a batch (or part of one) and a run that reads it.",
    )
    def incoming(context: dg.SensorEvaluationContext, archive: ArchiveResource) -> dg.SensorResult:
        return watch(archive.open(), graph, context, clock())

    return incoming


def watch(archive: Archive, graph: Graph, context: dg.SensorEvaluationContext, now: float) -> dg.SensorResult:
    """One tick: take complete drops in, and ask for the runs of batches that came by drops and are not read yet."""
    settings = archive.profile.incoming
    register = DropRegister(archive)
    state = {**json.loads(context.cursor or "{}"), "taken": register.taken}
    drops, state = look(archive.incoming, state, now, quiet_seconds=settings.quiet_seconds, key_of=register.key_of)
    for outcome in take_in_drops(archive, register, drops):
        context.log.info(outcome.said)
    for drop in drops:
        state = mark_taken(state, drop)
    # Of all batches, not only those of this tick: were we stopped after noting a drop down, its run is asked for now.
    waiting = [batch for batch in archive.batches if batch in register.batches and not _is_read(archive, graph, batch)]
    known = set(context.instance.get_dynamic_partitions(BATCH))
    new = [batch for batch in archive.batches if batch not in known]
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{batch}-{archive.arrivals.get(batch).digest[:16]}", partition_key=batch, tags=TAGS)
            for batch in waiting
        ],
        dynamic_partitions_requests=[batches.build_add_request(new)] if new else [],
        skip_reason=None if waiting else dg.SkipReason("nothing new in incoming/"),
        cursor=json.dumps({"seen": state["seen"], "turn": state["turn"]}),
    )


def _is_read(archive: Archive, graph: Graph, batch: str) -> bool:
    return graph.steps["studies"].why_stale(archive, batch) is None


def _first_vae() -> dg.SensorDefinition:
    @dg.sensor(
        name=FIRST_VAE,
        job_name=TRAIN_VAE,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Trains the VAE when the first drops are read. Never again: retraining it is for you to decide.",
    )
    def first_vae(context: dg.SensorEvaluationContext, archive: ArchiveResource) -> dg.RunRequest | dg.SkipReason:
        return first_vae_request(archive.open(), context.instance)

    return first_vae


def first_vae_request(archive: Archive, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    """The run that trains the first VAE, once all that dropped in so far is read.

    Where it did not pass its health check (too few frames, mostly) it is asked for again when more frames have come.
    """
    vae = archive.store.receipts.current(Cell("vae_weights"))
    if vae is not None and vae.figures.get("healthy", True):
        return dg.SkipReason("there is a VAE")
    batches_here = archive.batches
    if not DropRegister(archive).batches & set(batches_here):
        return dg.SkipReason("nothing has dropped in")  # what was ingested by hand is run by hand
    read = archive.store.receipts.of("split")
    if set(batches_here) - set(read):
        return dg.SkipReason("waiting until every batch is read")
    if instance.get_runs_count(dg.RunsFilter(job_name=TRAIN_VAE, statuses=UNFINISHED)):
        return dg.SkipReason("it is being trained")
    frames = digest_of({batch: receipt.digest for batch, receipt in archive.store.receipts.of("frames").items()})
    return dg.RunRequest(run_key=f"first-vae-{frames[:16]}")  # not "only stale": one that is not healthy is made again


def _unseen_changes(graph: Graph) -> dg.SensorDefinition:
    @dg.sensor(
        name=UNSEEN,
        asset_selection=dg.AssetSelection.assets(*(step.asset_key for step in _unseen_steps(graph))),
        minimum_interval_seconds=graph.profile.incoming.every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for what changed without an event in Dagster: imported labels, panels against a changed earlier batch.",
    )
    def unseen_changes(context: dg.SensorEvaluationContext, archive: ArchiveResource) -> dg.SensorResult:
        requests, missing = unseen_requests(archive.open(), graph, json.loads(context.cursor or "[]"))
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason("nothing changed unseen"),
            cursor=json.dumps(missing),
        )

    return unseen_changes


def _unseen_steps(graph: Graph) -> list[Step]:
    keys = [
        "labelled",
        "labels",
        *(f"{task}/{asset}" for task in graph.profile.tasks for asset in ("pool", "similarity")),
    ]
    return [graph.steps[key] for key in keys]


def unseen_requests(
    archive: Archive, graph: Graph, missing_before: Collection[str] = ()
) -> tuple[list[dg.RunRequest], list[str]]:
    """Runs for cells that are stale by receipts only in what no edge of the graph shows; and the panels that are missing.

    A panel reads every earlier batch, its edges show its own alone: asked for while an earlier batch was still being read,
    it failed, and no edge asks again. One that could be made and is missing for the second time is asked for here.
    """
    requests, missing = [], []
    for batch in archive.batches:
        stale: dict[str, str] = {}
        for step in _unseen_steps(graph):
            cell = Cell(step.key, batch)
            receipt = archive.store.receipts.current(cell)
            try:
                inputs = dict(step.inputs(archive, batch))
            except LookupError:
                continue
            if receipt is None:
                if step.key.endswith("/similarity"):
                    missing.append(str(cell))
                    if str(cell) in missing_before:
                        stale[step.key] = digest_of(inputs)
                continue
            changed = {name for name in inputs if receipt.inputs.get(name) != inputs[name]}
            if changed and not any(_is_shown(name, batch) for name in changed):
                stale[step.key] = digest_of(inputs)
        if stale:
            requests.append(
                dg.RunRequest(
                    run_key=f"{batch}-{digest_of(stale)[:16]}",
                    partition_key=batch,
                    asset_selection=[graph.steps[key].asset_key for key in stale],
                    tags=TAGS,
                )
            )
    return requests, missing


def _is_shown(input_name: str, batch: str) -> bool:
    """Whether an input is an edge of the graph within the batch (then automation, or the run of a drop, sees to it)."""
    return input_name == "arrival" or Cell.parse(input_name).partition == batch


def _retrain_cells(graph: Graph) -> dg.SensorDefinition:
    @dg.sensor(
        name=RETRAIN,
        asset_selection=dg.AssetSelection.assets(*(step.asset_key for step in grid_steps(graph))),
        minimum_interval_seconds=graph.profile.incoming.every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Once the schedule has ranked a seed anew, asks for the cells of the grid that follow from it.",
    )
    def retrain_cells(context: dg.SensorEvaluationContext, archive: ArchiveResource) -> dg.SensorResult | dg.SkipReason:
        return ranked_anew(archive.open(), graph, context)

    return retrain_cells


def ranked_anew(archive: Archive, graph: Graph, context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Cells of the seeds that the schedule's runs have ranked since the last tick (cursor: the runs looked at).

    Runs end in another order than they began, so the cursor names them all, not the last one.
    """
    done = context.instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS], tags={RETRAINING_TAG: list(graph.profile.tasks)}),
        limit=500,
    )
    known = set(json.loads(context.cursor or "[]"))
    new = [record.dagster_run for record in done if record.dagster_run.run_id not in known]
    cursor = json.dumps(sorted(record.dagster_run.run_id for record in done))
    seeds = {
        (run.tags[RETRAINING_TAG], run.tags["dagster/partition"])
        for run in new
        if "|" not in run.tags.get("dagster/partition", "|")
    }
    requests = [request for task, seed in sorted(seeds) for request in cells_after_ranking(archive, graph, task, seed)]
    return dg.SensorResult(run_requests=requests, cursor=cursor)


def _tidy() -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name=TIDY,
        run_status=dg.DagsterRunStatus.SUCCESS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Removes drops of DICOM files alone once they are read (profile: incoming.after = remove).",
    )
    def tidy_incoming(context: dg.RunStatusSensorContext, archive: ArchiveResource) -> dg.SkipReason:
        batch = context.dagster_run.tags.get("dagster/partition")
        if context.dagster_run.job_name != TAKE_IN or batch is None:
            return dg.SkipReason("not the run of a drop")
        opened = archive.open()
        n = remove_read_drops(opened, DropRegister(opened), batch)
        return dg.SkipReason(f"{n} drops of batch {batch} removed")

    return tidy_incoming
