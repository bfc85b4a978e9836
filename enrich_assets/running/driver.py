"""`enrich run`: bring everything missing or stale up to date, group by group, on the UI's own instance.

What is stale the planner says, right before each group; what executes it is an engine. So a run from the UI and a run from here mean
the same. A run works on the batches that were there when it began.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

import dagster as dg

from enrich_assets.archive.home import Archive
from enrich_assets.core.planner import DID_NOT_PASS, Planner
from enrich_assets.core.stages import Goal, Group, Outlook, Stage, Work, stages
from enrich_assets.core.step import Declared
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.instance import know_batches
from enrich_assets.running.engines import Engine, LocalEngine, Team
from enrich_assets.running.execution import Executed
from enrich_assets.running.facts import RunFacts
from enrich_assets.running.interrupts import Interrupts
from enrich_assets.running.lines import group_line
from enrich_assets.running.upkeep.databases import end_dead_runs
from enrich_assets.running.workers import WorkerDied
from enrich_assets.store.receipts import Cell

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a run did.

    Parameters
    ----------
    made
        Cells of assets.
    runs
        Dagster runs, one per group.
    seconds
        From start to end.
    waiting
        Cells that could not be made because something before them failed.
    failed, blocked
        Cell -> why, in words for the user.
    """

    made: int = 0
    runs: int = 0
    seconds: float = 0.0
    waiting: int = 0  # cells that could not be made because something before them failed
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)


class Driver:
    """Makes what is stale in one archive. Failures of one cell do not stop the others.

    Parameters
    ----------
    archive
        With the batches it knows now.
    instance
        Dagster's, which the UI shows.
    say
        Gets a line for each group, and notes.
    goal
        How much is asked for.
    engine
        Executes groups; without it, this machine.
    interrupts
        Asked after each group, for Dagster may have swallowed the signal.
    """

    def __init__(
        self,
        archive: Archive,
        instance: dg.DagsterInstance,
        say: Say,
        goal: Goal = Goal(),  # noqa: B008  (frozen)
        engine: Engine | None = None,
        interrupts: Interrupts | None = None,
    ) -> None:
        self.archive, self.instance, self.say, self.goal = archive, instance, say, goal
        self.engine = engine or LocalEngine(archive, instance)
        self.outlook: Outlook = RunFacts(Planner(archive, graph_of(archive.profile)))
        self.outcome = Outcome()
        self._interrupts = interrupts or Interrupts()
        self._held_up: list[tuple[Declared, str]] = []
        self._noted = 0
        self._died: set[int] = set()  # groups whose process died once

    def run(self) -> Outcome:
        """Make everything that the goal asks for and that is stale.

        Raises
        ------
        KeyboardInterrupt
            If a signal to end came; what is finished is kept.
        """
        start = time.perf_counter()
        know_batches(self.archive, self.instance)
        for stage in stages(self.outlook, self.goal):
            self._say_notes()
            self._run_stage(stage)
        self._say_notes()
        self._conclude()
        self.outcome.seconds = time.perf_counter() - start
        return self.outcome

    def _run_stage(self, stage: Stage) -> None:
        expected = sum(1 for group in stage.groups if self.outlook.work(group))
        side_by_side = expected if stage.side_by_side else 0
        start = time.perf_counter()
        with self.engine.team(side_by_side) as team:
            if team.slots > 1:
                self.say(f"{expected} cells to train, {team.slots} at a time")
            for number, (group, work, executed) in enumerate(self._executed(stage.groups, team), 1):
                self.outcome.runs += 1
                self.outcome.made += executed.made
                self.outcome.failed |= executed.failed
                total = max(expected, number)
                left = (time.perf_counter() - start) / number * (total - number)
                self.say(group_line(self.outlook.planner, group, work, executed, f"{number}/{total}", left))
        if self._died:  # nobody is at work now
            end_dead_runs(self.archive, self.instance)

    def _executed(self, groups: list[Group], team: Team) -> Iterator[tuple[Group, Work, Executed]]:
        """Groups of a stage, each looked at right before it is handed over, and no more of them than there are slots."""
        ahead = deque(groups)
        running: dict[Future[Executed], tuple[Group, Work]] = {}
        while True:
            while len(running) < team.slots and ahead:
                group = ahead.popleft()
                work = self._look(group)
                if work:
                    running[team.submit([declared.key for declared, _ in work], group.partition)] = (group, work)
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            self.archive.store.receipts.refresh()
            for future in done:
                group, work = running.pop(future)
                executed = self._result(future, group, team)
                if executed is None:
                    ahead.appendleft(group)
                else:
                    yield group, work, executed
            self._interrupts.check()

    def _result(self, future: Future[Executed], group: Group, team: Team) -> Executed | None:
        """What came of a group; None where its process died the first time: then it is tried once more."""
        try:
            return future.result()
        except WorkerDied as died:
            self._interrupts.check()  # it died of the signal that ends us all
            again = id(group) not in self._died
            self._died.add(id(group))
            if again:
                where = " ".join(part for part in (group.task, group.stage, group.partition) if part)
                self.say(f"{where}: {died}; it is tried once more, {team.slots} at a time from here on")
                return None
            why = (
                f"{died}, twice; what is finished is kept. Let fewer train side by side: `enrich run --workers 1`, or `workers: 1` "
                "in the profile"
            )
            failed = {str(Cell(declared.key, group.partition)): why for declared, _ in self.outlook.work(group)}
            return Executed(0, 0.0, failed)

    def _look(self, group: Group) -> Work:
        """What of the group is to be made now; what is blocked is looked at once more when all is done."""
        work, blocked = self.outlook.look(group)
        self._held_up += [(declared, group.partition) for declared, _ in blocked]
        return work

    def _conclude(self) -> None:
        """What is still blocked, and why. After a failure, what waits for something missing is only counted."""
        self.archive.store.receipts.refresh()
        for declared, partition in self._held_up:
            verdict = self.outlook.planner.verdict(declared, partition)
            if verdict.is_blocked and verdict.cause is not None and self.outcome.failed:
                self.outcome.waiting += 1
            elif verdict.is_blocked:
                self.outcome.blocked[str(Cell(declared.key, partition))] = verdict.why
        self.outcome.blocked |= self.outlook.blocked
        for cell, why in self.outlook.planner.unsound():
            reasons = {*self.outcome.failed.values(), *self.outcome.blocked.values()}
            if str(cell) not in self.outcome.failed and not any(
                why.removeprefix(DID_NOT_PASS) in other for other in reasons
            ):
                self.outcome.blocked[str(cell)] = why

    def _say_notes(self) -> None:
        notes = list(self.outlook.notes)
        for note in notes[self._noted :]:
            self.say(note)
        self._noted = len(notes)
