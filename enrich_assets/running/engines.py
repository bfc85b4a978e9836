"""Engines: who executes groups of cells. One small interface; here, this process and processes beside it.

    with engine.team(groups) as team:      # what the groups of a stage need is started, and ended with the context
        future = team.submit(keys, partition)

What comes back is what was made and what failed. Another engine brings its own team; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import dagster as dg

from enrich_assets.archive.home import Archive
from enrich_assets.defs.instance import cells_at_once
from enrich_assets.running.execution import Executed, Execution
from enrich_assets.running.workers import workers


class Team(Protocol):
    """Executes groups, `slots` of them at a time."""

    slots: int

    def submit(self, keys: Sequence[str], partition: str) -> Future[Executed]:
        """Make the stale ones of some cells, soon.

        Parameters
        ----------
        keys
            Of steps and checks (`asset@check`).
        partition
            Of all of them.
        """
        ...


class Engine(Protocol):
    """Gives teams for stages."""

    def team(self, side_by_side: int) -> AbstractContextManager[Team]:
        """A team for one stage; it ends with the context.

        Parameters
        ----------
        side_by_side
            Groups of the stage that are worth a process each; 0: they go one after the other.
        """
        ...


class InThisProcess:
    """A team of one: a group is executed when it is submitted."""

    slots = 1

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def submit(self, keys: Sequence[str], partition: str) -> Future[Executed]:
        future: Future[Executed] = Future()
        future.set_result(self._execution.execute(keys, partition))
        return future


class LocalEngine:
    """This machine: one group after the other in this process, or side by side in processes that stay."""

    def __init__(self, archive: Archive, instance: dg.DagsterInstance) -> None:
        self._archive = archive
        self._in_this_process = InThisProcess(Execution(archive, instance))

    @contextmanager
    def team(self, side_by_side: int) -> Iterator[Team]:
        count = min(side_by_side, cells_at_once(self._archive.profile)) if side_by_side > 1 else 1
        if count < 2:
            yield self._in_this_process
            return
        with workers(self._archive, count) as team:
            yield team
