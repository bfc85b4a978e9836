"""`enrich run`: bring everything missing or stale up to date, group by group, on the UI's own instance.

What is stale the planner says, right before each group; what executes it is an engine. So a run from the UI and a run from here mean
the same. A run works on the batches that were there when it began.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial

import dagster as dg
from dagster._core.utils import make_new_run_id

from enrich_assets.archive.home import Archive
from enrich_assets.core.planner import DID_NOT_PASS, Planner
from enrich_assets.core.stages import TRAINING, Goal, Group, Outlook, Stage, Work, stages
from enrich_assets.core.step import Declared
from enrich_assets.core.uncollected import uncollected
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.instance import know_batches
from enrich_assets.running.engines import Engine, Lost, Team, engine_of
from enrich_assets.running.execution import Executed, end_run, tags_of
from enrich_assets.running.facts import RunFacts
from enrich_assets.running.interrupts import Interrupts
from enrich_assets.running.lines import Standing, group_line
from enrich_assets.running.upkeep.databases import tell_what_was_cut_off
from enrich_assets.store.receipts import Cell
from enrich_assets.store.remote.patience import may_pass_behind, patiently

Say = Callable[[str], None]
LOOK_EVERY_SECONDS = 2.0  # whether there are more slots than before, while all that is handed out goes on


@dataclass(frozen=True)
class HandedOut:
    """A group at which somebody works."""

    group: Group
    work: Work
    run_id: str


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
        Executes groups; without it, the one that the profile names.
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
        self.engine = engine or engine_of(archive, instance, say)
        self.outlook: Outlook = RunFacts(Planner(archive, graph_of(archive.profile)))
        self.outcome = Outcome()
        self._interrupts = interrupts or Interrupts()
        self._held_up: list[tuple[Declared, str]] = []
        self._noted = 0
        self._lost: Counter[int] = Counter()  # groups -> how often whoever worked at them was lost
        self._running: dict[Future[Executed], HandedOut] = {}

    def run(self) -> Outcome:
        """Make everything that the goal asks for and that is stale.

        Raises
        ------
        KeyboardInterrupt
            If a signal to end came; what is finished is kept.
        """
        start = time.perf_counter()
        know_batches(self.archive, self.instance)
        try:
            for stage in stages(self.outlook, self.goal):
                self._say_notes()
                self._run_stage(stage)
        finally:
            self.engine.close()
        self._say_notes()
        self._conclude()
        self.outcome.seconds = time.perf_counter() - start
        return self.outcome

    def _run_stage(self, stage: Stage) -> None:
        with uncollected():
            looks = [(group, *self.outlook.look(group)) for group in stage.groups]
        expected = sum(1 for _, work, _ in looks if work)
        if not expected:  # no engine is started for that
            self._held_up += [(declared, group.partition) for group, _, blocked in looks for declared, _ in blocked]
            return
        start = time.perf_counter()
        if stage.name == TRAINING and self.archive.profile.tracking.uri is not None:
            for task in sorted({group.task for group in stage.groups}):  # once, before many cells would
                self.archive.tracking(task).prepare()
        try:
            with self.engine.team(stage, expected) as team:
                if where := team.describe():
                    self.say(
                        f"{expected} cell{'s' * (expected > 1)}{' to train' if stage.side_by_side else ''}, {where}"
                    )
                for number, (group, work, executed) in enumerate(self._executed(stage.groups, team), 1):
                    self.outcome.runs += 1
                    self.outcome.made += executed.made
                    self.outcome.failed |= executed.failed
                    total = max(expected, number)
                    left = (time.perf_counter() - start) / number * (total - number)
                    standing = Standing(number, total, len(self._running), left)
                    self.say(group_line(self.outlook.planner, group, work, executed, standing))
        finally:  # of an interrupt: nobody works at them any more, and Dagster is to know
            for handed in self._running.values():
                end_run(self.instance, handed.run_id, "interrupted", tags_of(self.archive))
            self._running.clear()
        if any(self._lost[id(group)] for group in stage.groups):  # a cell may have been made before its maker was gone
            tell_what_was_cut_off(self.archive, self.instance)

    def _executed(self, groups: list[Group], team: Team) -> Iterator[tuple[Group, Work, Executed]]:
        """Groups of a stage, each looked at right before it is handed over, and no more of them than there are slots."""
        ahead = deque(groups)
        while True:
            while ahead and len(self._running) < max(1, team.slots):
                group = ahead.popleft()
                work = self._look(group)
                if work:
                    run_id = make_new_run_id()
                    future = team.submit([declared.key for declared, _ in work], group.partition, run_id)
                    self._running[future] = HandedOut(group, work, run_id)
            if not self._running:
                return
            done, _ = wait(self._running, timeout=LOOK_EVERY_SECONDS, return_when=FIRST_COMPLETED)
            if done:
                self.archive.store.receipts.refresh()
            for future in done:
                handed = self._running[future]
                executed = self._result(future, handed, team)
                del self._running[future]
                if executed is None:
                    ahead.appendleft(handed.group)
                else:
                    yield handed.group, handed.work, executed
            self._interrupts.check()

    def _result(self, future: Future[Executed], handed: HandedOut, team: Team) -> Executed | None:
        """What came of a group; None where its maker was lost, and it is to be handed out once more, under another run."""
        try:
            return future.result()
        except Lost as lost:
            self._interrupts.check()  # it died of the signal that ends us all
            group = handed.group
            given_up = partial(end_run, self.instance, handed.run_id, str(lost), tags_of(self.archive))
            patiently(given_up, "Dagster's database", passes=may_pass_behind)
            for declared, _ in handed.work:
                self.archive.free(Cell(declared.key, group.partition), handed.run_id)
            self._lost[id(group)] += 1
            if self._lost[id(group)] <= self.engine.retries:
                where = " ".join(part for part in (group.task, group.stage, group.partition) if part)
                self.say(f"{where}: {lost}; it is tried once more, {team.slots} at a time from here on")
                return None
            times = {1: "", 2: ", twice"}.get(self._lost[id(group)], f", {self._lost[id(group)]} times")
            why = f"{lost}{times}; what is finished is kept. {lost.remedy}".rstrip()
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
