"""The interface of engines: an engine gives a team for each stage, a team makes groups of cells.

    with engine.team(stage, expected) as team:      # what the groups of a stage need is started, and kept for later stages
        future = team.submit(keys, partition, run_id)

What comes back is what was made and what failed. The run's id comes from the driver: where whoever worked at it is gone (`Lost`), the
driver ends that run in Dagster, so that nothing of it can become current any more, and hands the group out under another id.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol

from enrich_assets.core.stages import Stage
from enrich_assets.running.execution import Executed


class NoEngine(RuntimeError):
    """The engine that the profile names cannot be had; says what to do."""


class Lost(RuntimeError):
    """Who worked at a group is gone: its process, or its whole machine.

    Parameters
    ----------
    what
        Who, and why as far as that is known.
    remedy
        What to do where that happens to the same group again and again.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


class Team(Protocol):
    """Makes groups of cells, several at a time."""

    @property
    def slots(self) -> int:
        """How many groups at a time, now: machines come and go."""
        ...

    def submit(self, keys: Sequence[str], partition: str, run_id: str) -> Future[Executed]:
        """Make the stale ones of some cells as one Dagster run, soon. From the main thread; waits for a free slot.

        Parameters
        ----------
        keys
            Of steps and checks (`asset@check`).
        partition
            Of all of them.
        run_id
            Of the Dagster run.

        Returns
        -------
        Future
            Raises Lost where whoever worked at it is gone.
        """
        ...

    def describe(self) -> str:
        """Where the cells are made, as the end of `12 cells to train, `: `2 at a time`; '' where nothing needs saying."""
        ...


class Engine(Protocol):
    """Gives teams for stages."""

    @property
    def retries(self) -> int:
        """How often a group whose maker was lost is handed out once more."""
        ...

    def team(self, stage: Stage, expected: int) -> AbstractContextManager[Team]:
        """A team for one stage.

        Parameters
        ----------
        stage
            Says where its groups may be made, and whether side by side.
        expected
            How many of its groups have something to be made.
        """
        ...

    def close(self) -> None:
        """End what the engine has started."""
        ...
