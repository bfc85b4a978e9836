"""Sensors: what lies in `incoming/` is detected and a run ingests it; what no edge of Dagster can say, the planner is asked for.

What a drop is: `studies.drops`; what becomes of it: `archive.drops`; what follows a batch by edges: `automation`. A sensor never reads
what it detects. What ended in vain is asked for again, up to a limit; then the sensor says so, tick by tick, until something changes.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import dagster as dg

from enrich_assets.archive.drops import DropRegister, remove_read_drops
from enrich_assets.archive.home import Archive
from enrich_assets.core.graph import Graph
from enrich_assets.core.keys import BATCH_ASSETS, fitted_assets, similarity_assets
from enrich_assets.core.planner import Planner
from enrich_assets.core.stages import DECODING, SIMILARITY, Outlook, Work, batch_groups
from enrich_assets.core.step import Declared
from enrich_assets.defs.attempts import ATTEMPT_OF, MOST_ATTEMPTS, Attempts, attempts, batches_at_work, run_key
from enrich_assets.defs.first_fit import first_fit_sensor
from enrich_assets.defs.jobs import DECODE, INGEST, Job
from enrich_assets.defs.mount import Mount
from enrich_assets.defs.run_tags import ONLY_STALE
from enrich_assets.defs.schedules import RETRAIN, RETRAINING_TAG, cells_after_ranking, length_request, request_of
from enrich_assets.store.receipts import Cell, digest_of
from enrich_assets.studies.drops import Drop, look

INCOMING, FOLLOW, UNSEEN = "incoming", "follow", "unseen_changes"
TIDY = "tidy_incoming"


def sensors(
    graph: Graph, mount: Mount, jobs: Sequence[Job], clock: Callable[[], float] = time.time
) -> list[dg.SensorDefinition]:
    """All sensors of an archive.

    Parameters
    ----------
    jobs
        Those of the archive.
    clock
        Seconds since 1970; a test hands in its own.
    """
    requested = [job for job in jobs if job.name in (mount.name(INGEST), mount.name(DECODE))]
    interval = graph.profile.incoming.interval_seconds
    definitions: list[dg.SensorDefinition] = [
        _incoming(graph, mount, requested, clock),
        *(first_fit_sensor(graph, mount, key) for key in fitted_assets(graph.profile)),
        _unseen_changes(graph, mount),
        dg.AutomationConditionSensorDefinition(
            mount.name(FOLLOW),
            target=dg.AssetSelection.assets(*(mount.asset_key(key) for key in graph.steps)),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=interval,
            run_tags={ONLY_STALE: "true"},
            emit_backfills=False,
            description="Makes what follows when a batch came or anything changed: embeddings, similarity, sums, worklists, results and the report. It "
            "trains no model.",
        ),
    ]
    if graph.profile.schedules.retraining is not None:
        definitions.append(_retrain_cells(graph, mount))
    if graph.profile.incoming.after == "remove":
        definitions.append(_tidy(graph, mount))
    return definitions


# ------------------------------------------------------------------------------------------------------------- incoming


def _incoming(graph: Graph, mount: Mount, requested: Sequence[Job], clock: Callable[[], float]) -> dg.SensorDefinition:
    @dg.sensor(
        name=mount.name(INCOMING),
        jobs=requested,
        minimum_interval_seconds=graph.profile.incoming.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={mount.resource},
        description="Looks for complete folders in `incoming/`. One run makes them a batch, another one decodes it.",
    )
    def incoming(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return watch(getattr(context.resources, mount.resource).open(), graph, context, clock(), mount)

    return incoming


def watch(
    archive: Archive, graph: Graph, context: dg.SensorEvaluationContext, now: float, mount: Mount
) -> dg.SensorResult:
    """One tick: ask for runs that ingest complete drops, and for runs that decode batches which came by drops."""
    settings = archive.profile.incoming
    drop_register = DropRegister(archive)
    state = {**json.loads(context.cursor or "{}"), "ingested": drop_register.ingested}
    drops, state = look(
        archive.incoming, state, now, settle_seconds=settings.settle_seconds, key_of=drop_register.key_of
    )
    requests, given_up = [], []
    for together in _one_by_one_after_failure(
        context.instance, _together(drops, drop_register, settings.drops_per_batch), mount
    ):
        what = _ingesting(together, mount)
        tried = attempts(context.instance, what)
        if tried.may_try:
            requests.append(_ingest_request(together, what, tried, mount))
        elif tried.given_up:
            given_up.append(f"{len(together)} drops could not be ingested in {MOST_ATTEMPTS} runs ({what})")
    outlook, at_work = Outlook(Planner(archive, graph)), batches_at_work(context.instance, mount)
    for group in batch_groups(outlook.planner, DECODING, BATCH_ASSETS, _to_decode(archive, drop_register)):
        if group.partition in at_work:
            continue
        # What can be made now: a patient's side waits for the batches before, pixels and labels do not.
        work = outlook.work(group)
        what = mount.tag(f"decode-{_state_of(outlook.planner, work, group.partition)}")
        tried = attempts(context.instance, what)
        if work and tried.may_try:
            requests.append(_decode_request(work, group.partition, what, tried, mount))
        elif work and tried.given_up:
            given_up.append(f"batch {group.partition} could not be decoded in {MOST_ATTEMPTS} runs ({what})")
    for sentence in given_up:
        context.log.warning(f"{sentence}; look at their logs, mend the cause, then touch the drop or run `enrich run`")
    skip = "; ".join(given_up) or "nothing new in incoming/"
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=_new_partitions(archive, context.instance, mount),
        skip_reason=None if requests else dg.SkipReason(skip),
        cursor=json.dumps({"seen": state["seen"], "turn": state["turn"]}),
    )


def _together(drops: list[Drop], drop_register: DropRegister, most: int) -> list[list[Drop]]:
    """Drops that one run ingests: new ones together, as many as become one batch; a changed one by itself."""
    changed = [drop for drop in drops if drop_register.batch_of(drop)]
    new = [drop for drop in drops if not drop_register.batch_of(drop)]
    return [*([drop] for drop in changed), *(new[at : at + most] for at in range(0, len(new), most))]


def _ingesting(drops: list[Drop], mount: Mount) -> str:
    """Names the attempt to ingest these drops as they are now: a changed one begins a new count."""
    return mount.tag(f"ingest-{digest_of([[drop.key, drop.fingerprint] for drop in drops])[:16]}")


def _one_by_one_after_failure(
    instance: dg.DagsterInstance, groups: list[list[Drop]], mount: Mount
) -> Iterator[list[Drop]]:
    """Drops whose common run ended in vain are tried each by itself, for one of them may have brought down the process."""
    for group in groups:
        failed_together = len(group) > 1 and attempts(instance, _ingesting(group, mount)).ended
        yield from ([drop] for drop in group) if failed_together else [group]


def _ingest_request(drops: list[Drop], what: str, tried: Attempts, mount: Mount) -> dg.RunRequest:
    config = {"ops": {mount.name("ingest"): {"config": {"drops": [drop.key for drop in drops]}}}}
    return dg.RunRequest(
        run_key=run_key(what, tried), job_name=mount.name(INGEST), run_config=config, tags={ATTEMPT_OF: what}
    )


def _decode_request(work: Work, batch: str, what: str, tried: Attempts, mount: Mount) -> dg.RunRequest:
    request = request_of(work, batch, mount, run_key=run_key(what, tried))
    return request.with_replaced_attrs(job_name=mount.name(DECODE), tags={**request.tags, ATTEMPT_OF: what})


def _to_decode(archive: Archive, drop_register: DropRegister) -> list[str]:
    """Batches that came by drops, and those before them: what was ingested by hand and nobody waits for is run by hand."""
    last = max((i for i, batch in enumerate(archive.batches, 1) if batch in drop_register.batches), default=0)
    return archive.batches[:last]


def _new_partitions(
    archive: Archive, instance: dg.DagsterInstance, mount: Mount
) -> list[dg.AddDynamicPartitionsRequest]:
    known = set(instance.get_dynamic_partitions(str(mount.batches.name)))
    new = [batch for batch in archive.batches if batch not in known]
    return [mount.batches.build_add_request(new)] if new else []


# ----------------------------------------------------------------------------------------------------- unseen changes


def _unseen_changes(graph: Graph, mount: Mount) -> dg.SensorDefinition:
    keys = [*BATCH_ASSETS, *similarity_assets(graph.profile)]

    @dg.sensor(
        name=mount.name(UNSEEN),
        asset_selection=dg.AssetSelection.assets(*(mount.asset_key(key) for key in keys)),
        minimum_interval_seconds=graph.profile.incoming.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={mount.resource},
        description="Makes again what is out of date without an event in Dagster: labels that `enrich labels import` brought, and similarity to an "
        "earlier batch that was corrected.",
    )
    def unseen_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        archive = getattr(context.resources, mount.resource).open()
        before = json.loads(context.cursor or "[]")
        requests, stale = unseen_requests(archive, graph, context.instance, mount, before)
        given_up = ", ".join(what for what in stale if attempts(context.instance, what).given_up)
        skip = (
            f"failed in {MOST_ATTEMPTS} runs, look at their logs: {given_up}" if given_up else "nothing changed unseen"
        )
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=_new_partitions(archive, context.instance, mount),
            skip_reason=None if requests else dg.SkipReason(skip),
            cursor=json.dumps(stale),
        )

    return unseen_changes


def unseen_requests(
    archive: Archive,
    graph: Graph,
    instance: dg.DagsterInstance,
    mount: Mount,
    stale_before: Collection[str] = (),
) -> tuple[list[dg.RunRequest], list[str]]:
    """Runs for the cells of batches that were read and are stale now, by the planner; and what is stale.

    Only what was stale at the last tick too is asked for: automation, whose edges see most changes, goes first. A group that
    failed is asked for again up to the limit; its name holds what it reads, so a change begins a new count.
    """
    outlook, at_work = Outlook(Planner(archive, graph)), batches_at_work(instance, mount)
    requests, stale = [], []
    for stage, keys in ((DECODING, BATCH_ASSETS), (SIMILARITY, similarity_assets(graph.profile))):
        for group in batch_groups(outlook.planner, stage, keys, archive.batches):
            if outlook.planner.receipts.current(Cell("studies", group.partition)) is None:
                continue  # not read yet: the run of its drop, or `enrich run`, does that
            work = outlook.work(group)
            if not work:
                continue
            what = mount.tag(f"stale-{_state_of(outlook.planner, work, group.partition)}")
            stale.append(what)
            tried = attempts(instance, what)
            if what in stale_before and tried.may_try and group.partition not in at_work:
                request = request_of(work, group.partition, mount, run_key=None)
                requests.append(request.with_replaced_attrs(tags={**request.tags, ATTEMPT_OF: what}))
    return requests, stale


def _state_of(planner: Planner, work: Work, partition: str) -> str:
    """Names what would be made of what: when something of that changes, attempts are counted from scratch."""
    reads = [[declared.key, *_inputs(planner, declared, partition)] for declared, _ in work]
    return f"{partition}-{digest_of(reads)[:16]}"


def _inputs(planner: Planner, declared: Declared, partition: str) -> list[object]:
    """What a cell would be made from now; nothing, where that is still to be made."""
    try:
        return [planner.inputs(declared, partition, only_counted=True).counted, declared.settings_digest]
    except LookupError:
        return [declared.settings_digest]


# --------------------------------------------------------------------------------------------------------- retraining


def _retrain_cells(graph: Graph, mount: Mount) -> dg.SensorDefinition:
    kinds = ("training_length", "subset", "model", "evaluation")
    keys = [key for key in graph.steps if key.rpartition("/")[2] in kinds]

    @dg.sensor(
        name=mount.name(RETRAIN),
        asset_selection=dg.AssetSelection.assets(*(mount.asset_key(key) for key in keys)),
        minimum_interval_seconds=graph.profile.incoming.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={mount.resource},
        description="Trains and scores again, once the schedule has ranked a seed again: only the budgets whose frames are others.",
    )
    def retrain_cells(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return after_rankings(getattr(context.resources, mount.resource).open(), graph, context, mount)

    return retrain_cells


def after_rankings(
    archive: Archive, graph: Graph, context: dg.SensorEvaluationContext, mount: Mount
) -> dg.SensorResult | dg.SkipReason:
    """Cells of the seeds that the schedule's runs have ranked since the last tick (cursor: the runs looked at).

    Runs end in another order than they began, so the cursor names them all, not the last one.
    """
    task_of = {mount.tag(task): task for task in graph.profile.tasks}
    done = context.instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS], tags={RETRAINING_TAG: list(task_of)}),
        limit=500,
    )
    known = set(json.loads(context.cursor or "[]"))
    new = [record.dagster_run for record in done if record.dagster_run.run_id not in known]
    lengths = {  # a task whose number of steps was never found waits for it; its runs are looked at again
        task: request
        for task in sorted({task_of[run.tags[RETRAINING_TAG]] for run in new})
        if (
            request := length_request(archive, graph, task, mount, f"{mount.tag(task)}-{digest_of(sorted(known))[:16]}")
        )
    }
    seen = [record.dagster_run for record in done if task_of[record.dagster_run.tags[RETRAINING_TAG]] not in lengths]
    seeds = {
        (task_of[run.tags[RETRAINING_TAG]], run.tags["dagster/partition"])
        for run in new
        if run in seen and "|" not in run.tags.get("dagster/partition", "|")
    }
    requests = [
        request for task, seed in sorted(seeds) for request in cells_after_ranking(archive, graph, task, seed, mount)
    ]
    cursor = json.dumps(sorted({*known, *(run.run_id for run in seen)} & {r.dagster_run.run_id for r in done}))
    return dg.SensorResult(run_requests=[*lengths.values(), *requests], cursor=cursor)


# -------------------------------------------------------------------------------------------------------------- tidying


def _tidy(graph: Graph, mount: Mount) -> dg.SensorDefinition:
    @dg.sensor(
        name=mount.name(TIDY),
        target=dg.AssetSelection.assets(mount.asset_key("frames")),
        minimum_interval_seconds=graph.profile.incoming.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={mount.resource},
        description="Removes folders of DICOM files from `incoming/` once they are decoded. On because the profile says `incoming: {after: remove}`.",
    )
    def tidy_incoming(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        archive = getattr(context.resources, mount.resource).open()
        return dg.SkipReason(f"{tidy(archive, graph)} drops removed")

    return tidy_incoming


def tidy(archive: Archive, graph: Graph) -> int:
    """Remove the drops whose batches are decoded, and that still are what they were.

    Returns
    -------
    int
        How many were removed.
    """
    planner, drop_register = Planner(archive, graph), DropRegister(archive)
    decoded = [
        batch
        for batch in archive.batches
        if batch in drop_register.batches and planner.verdict(graph.steps["frames"], batch).is_fresh
    ]
    return sum(remove_read_drops(archive, drop_register, batch) for batch in decoded)
