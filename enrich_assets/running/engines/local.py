"""This machine: one group after the other in this process, or the cells of a grid side by side in processes that stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import cached_property

import dagster as dg

from enrich_assets.archive.home import Archive
from enrich_assets.core.stages import Stage
from enrich_assets.defs.instance import cells_at_once
from enrich_assets.running.engines.team import Team
from enrich_assets.running.engines.workers import Workers, workers
from enrich_assets.running.execution import Executed, Execution


class InThisProcess:
    """A team of one: a group is executed when it is submitted."""

    slots = 1

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def submit(self, keys: Sequence[str], partition: str, run_id: str) -> Future[Executed]:
        future: Future[Executed] = Future()
        future.set_result(self._execution.execute(keys, partition, run_id))
        return future

    def describe(self) -> str:
        return ""


class LocalEngine:
    """This machine. A process that dies is likely to have died for want of memory: its cell is tried once more, beside fewer.

    Processes that were begun for a stage stay for the later ones: each has torch and Dagster to load.
    """

    retries = 1

    def __init__(self, archive: Archive, instance: dg.DagsterInstance) -> None:
        self._archive, self._instance = archive, instance
        self._begun = ExitStack()
        self._workers: Workers | None = None  # from the first stage that is worth processes

    @cached_property
    def _in_this_process(self) -> InThisProcess:
        """With Dagster's definitions, which a run with nothing to do has no use for."""
        return InThisProcess(Execution(self._archive, self._instance))

    @contextmanager
    def team(self, stage: Stage, expected: int) -> Iterator[Team]:
        count = min(expected, cells_at_once(self._archive.profile)) if stage.side_by_side else 1
        if count < 2:
            yield self._in_this_process
            return
        if self._workers is None:
            self._workers = self._begun.enter_context(workers(self._archive, count))
        self._workers.slots = count
        try:
            yield self._workers
        except BaseException:
            with self._begun:  # which is told of it, and interrupts what runs
                self._workers = None
                raise

    def close(self) -> None:
        self._workers = None
        self._begun.close()
