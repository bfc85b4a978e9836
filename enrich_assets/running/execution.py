"""Dagster runs of an archive: a few steps and checks of one partition, executed in this process, and what came of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.events import DagsterEventType
from dagster._core.execution.execute_in_process import core_execute_in_process, merge_run_tags
from dagster._core.utils import make_new_run_id

from enrich_assets.archive.home import Archive
from enrich_assets.core.step import CHECK_SIGN
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.attempts import GIVEN_UP, INSTEAD_OF, UNFINISHED
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.metadata import WAS_FRESH
from enrich_assets.defs.mount import PARTITION, Mount
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.run_tags import COMMAND, EARLIER_HOME, HOME, NODE, ONLY_STALE, PINNED, cells_tag, this_node
from enrich_assets.store.receipts import Cell
from enrich_assets.store.remote.patience import DATABASE_ERRORS, may_pass_behind, patiently

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SECONDS_TO_TELL = 5.0
NOT_BEGUN = "__ASSET_JOB"  # Dagster's name for a run of any assets
TAGS = {ONLY_STALE: "true", COMMAND: "run", PINNED: "true", "dagster/max_retries": "0"}


@dataclass(frozen=True)
class Executed:
    """What a run made, and what it could not.

    Parameters
    ----------
    made
        Cells of assets; one that was fresh after all counts too.
    seconds
        Of the whole run.
    failed
        Cell -> why, in words for the user; also cells that did not pass a blocking check.
    node
        Where; "" where that needs no saying.
    """

    made: int
    seconds: float
    failed: dict[str, str] = field(default_factory=dict)
    node: str = ""


class DatabaseAway(ConnectionError):
    """A run ended in vain because a database did not answer."""


class Execution:
    """Executes runs on the instance that the UI shows.

    Parameters
    ----------
    archive
        With the batches to work on.
    instance
        Dagster's.
    tags
        Of each run, beside its own: which node this is, of whose `enrich run`. Without them: this machine, this home.
    """

    def __init__(self, archive: Archive, instance: dg.DagsterInstance, tags: Mapping[str, str] | None = None) -> None:
        self.instance, self.mount = instance, Mount()
        self._tags = {**TAGS, **(tags or tags_of(archive))}
        self._on_a_server = archive.profile.tracking.dagster_storage is not None
        self._graph = graph_of(archive.profile)
        definitions = build_definitions(archive.profile, ArchiveResource.of(archive))
        self._job = definitions.resolve_implicit_global_asset_job_def()

    def execute(self, keys: Sequence[str], partition: str, run_id: str | None = None) -> Executed:
        """Make the stale ones of some cells, as one Dagster run in this process.

        Parameters
        ----------
        keys
            Of steps and checks (`asset@check`).
        partition
            Of all of them; "" for assets without partitions.
        run_id
            Of the run, where it has one already.

        Returns
        -------
        Executed
            A failure is reported, not raised. Where Dagster's database is a server and is away for some minutes, the run is ended once
            it is back, and the cells that were not made by then are made in another one.
        """
        if not self._on_a_server:
            return self._once(keys, partition, run_id)
        first = run_id or make_new_run_id()
        begun: list[str] = []

        def attempt() -> Executed:
            for cut_off in begun:
                self._end(cut_off)
            begun.append(make_new_run_id() if begun else first)
            return self._once(keys, partition, begun[-1], {} if len(begun) == 1 else {INSTEAD_OF: first})

        return patiently(attempt, "Dagster's database", passes=may_pass_behind)

    def _end(self, run_id: str) -> None:
        run = self.instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            self.instance.report_run_failed(run, "Dagster's database was away; another run makes what is missing")

    def _once(
        self, keys: Sequence[str], partition: str, run_id: str | None, tags: Mapping[str, str] | None = None
    ) -> Executed:
        start = time.perf_counter()
        checks = {key for key in keys if CHECK_SIGN in key}
        job = self._job.get_subset(
            asset_selection={self.mount.asset_key(key) for key in keys if key not in checks},
            asset_check_selection={self.mount.check_key(key) for key in checks},
        )
        only_checks = len(checks) == len(keys)
        own = {**cells_tag([self._graph[key] for key in keys], partition), **(tags or {})}
        result = self._run(
            job,
            [self.mount.asset_key(key) for key in keys if key not in checks],
            None if only_checks else partition or None,
            {**self._tags, **own, **({PARTITION: partition} if only_checks and partition else {})},
            run_id,
        )
        failures = [event for event in result.all_events if event.is_step_failure]
        if self._on_a_server and any(_database_was_away(event) for event in failures):
            raise DatabaseAway("Dagster's database was away while cells were made")
        by_step = {self._step_key(key): key for key in keys}
        unsound = {
            str(Cell(key, partition)): evaluation.description or "did not pass"
            for evaluation in result.get_asset_check_evaluations()
            if not evaluation.passed and evaluation.blocking
            for key in [f"{self.mount.key(evaluation.asset_key)}{CHECK_SIGN}{evaluation.check_name}"]
        }
        failed = {
            str(Cell(by_step.get(event.step_key or "", event.step_key or ""), partition)): _in_words(event)
            for event in failures
        }
        events = result.get_asset_materialization_events()
        made = sum(WAS_FRESH not in event.materialization.metadata for event in events)
        return Executed(made, time.perf_counter() - start, {**failed, **unsound})

    def _run(
        self,
        job: dg.JobDefinition,
        assets: Sequence[dg.AssetKey],
        partition: str | None,
        tags: Mapping[str, str],
        run_id: str | None,
    ) -> dg.ExecuteInProcessResult:
        """`JobDefinition.execute_in_process`, which names no assets of a run unless it drops checks: here the UI's list of runs has them."""
        return core_execute_in_process(
            job=InMemoryJob(job_def=job.as_ephemeral_job(resource_defs={}, input_values={})),
            run_config=QUIET,
            instance=self.instance,
            output_capturing_enabled=False,
            raise_on_error=False,
            run_tags=merge_run_tags(job, partition, tags, None, self.instance, QUIET),
            run_id=run_id,
            asset_selection=frozenset(assets) or None,
        )

    def _step_key(self, key: str) -> str:
        """What Dagster calls the step of an asset, or of a check."""
        asset, _, check = key.partition(CHECK_SIGN)
        name = "__".join(self.mount.asset_key(asset).path)
        return f"{name}_{check}" if check else name


def tags_of(archive: Archive, node: str = "") -> dict[str, str]:
    """Tags of a run of this home's `enrich run`; the node is this machine where it is not named."""
    return {NODE: node or this_node(), HOME: archive.mark}


def fail_dead_runs(instance: dg.DagsterInstance, mark: str) -> int:
    """End the runs of an `enrich run` that was killed: Dagster counts them as going on, and they hold places in its queue.

    Only for who holds the home's run lock: then nobody is at work at them, or whoever still is can write nothing any more.

    Parameters
    ----------
    instance
        Dagster's, which other homes may use, too.
    mark
        Of the home (`Archive.mark`): only its runs, and those of a version that did not mark them.

    Returns
    -------
    int
        How many there were.
    """
    unfinished = instance.get_runs(dg.RunsFilter(tags={COMMAND: "run"}, statuses=UNFINISHED))
    dead = [run for run in unfinished if run.tags.get(HOME, run.tags.get(EARLIER_HOME, mark)) == mark]
    for run in dead:
        _fail(instance, run, "the `enrich run` that executed it was killed; the next one continues")
    return len(dead)


def end_run(instance: dg.DagsterInstance, run_id: str, why: str, tags: Mapping[str, str]) -> None:
    """End a run whose maker is gone, before its cells are handed to another: from here on nothing of it can become current.

    Parameters
    ----------
    instance
        Dagster's.
    run_id
        The run. Where it had not begun yet its place is taken: whoever should begin it after all fails at that. Runs that its maker began
        instead of it, because Dagster's database was away, are ended with it.
    why
        For the UI.
    tags
        Of the run, where it had not begun.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        try:
            run = instance.add_run(dg.DagsterRun(job_name=NOT_BEGUN, run_id=run_id, tags={**TAGS, **tags}))
        except DagsterRunAlreadyExists:  # it began just now
            run = instance.get_run_by_id(run_id)
            assert run is not None
    instance.add_run_tags(run_id, {GIVEN_UP: "true"})
    for one in [run, *instance.get_runs(dg.RunsFilter(tags={INSTEAD_OF: run_id}))]:
        if not one.is_finished:
            _fail(instance, one, why)


def _fail(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """First the status, by which the fence goes; then the event, for people. In SQLite a run's events are a file of their own: a process
    that was frozen while it wrote there holds it locked for as long as it is frozen, and nobody is to wait for that. Nor for the lock that
    an instance holds meanwhile: the event is written by an instance of its own."""
    ended = dg.DagsterEvent(DagsterEventType.RUN_FAILURE.value, job_name=run.job_name, message=why)
    instance.handle_run_event(run.run_id, ended)

    def tell() -> None:
        with suppress(Exception):
            if not instance.is_persistent:
                instance.report_run_failed(run, why)
                return
            with dg.DagsterInstance.from_ref(instance.get_ref()) as own:
                own.report_run_failed(run, why)

    telling = threading.Thread(target=tell, daemon=True)
    telling.start()
    telling.join(SECONDS_TO_TELL)


def _database_was_away(event: dg.DagsterEvent) -> bool:
    """Whether a step failed for want of a database, by the names of the errors behind its own."""
    error, names = event.step_failure_data.error, set()
    while error is not None:
        names.add(error.cls_name)
        error = error.cause or error.context
    return bool(names & DATABASE_ERRORS)


def _in_words(event: dg.DagsterEvent) -> str:
    """The error as the user should read it."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause  # behind Dagster's own wrappers; what ours was raised from says less than ours
    return " ".join(error.message.split()) if error is not None else "failed"
