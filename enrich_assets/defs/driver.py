"""`enrich run`: bring everything missing or stale up to date, cell by cell, on the UI's own instance.

What is stale is decided by receipts (`steps.why_stale`), so a run from the UI and a run from here mean the same.
"""

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import dagster as dg

from enrich_assets.archive import Archive
from enrich_assets.defs import graph as g
from enrich_assets.defs.execution import Executed, Execution
from enrich_assets.defs.instance import know_batches
from enrich_assets.defs.steps import Step
from enrich_assets.defs.training import why_not_trainable
from enrich_assets.defs.workers import trainings_at_once, workers
from enrich_assets.settings import budget_frames
from enrich_assets.store.receipts import NOT_MADE_YET, Cell, DamagedStore, Receipt
from enrich_assets.studies.manifest import label_columns

Say = Callable[[str], None]
Waiting = tuple[g.Group, list[Step]]
Done = tuple[g.Group, list[Step], Executed]


@dataclass
class Outcome:
    """What a run did. `failed` and `blocked`: cell -> why, in words for the user."""

    made: int = 0
    runs: int = 0
    seconds: float = 0.0
    waiting: int = 0  # cells that could not be made because something before them failed
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)


class Driver:
    """Runs stale cells of one archive. `task` and `arm` narrow the training grid down; `train=False` leaves it as it is.

    Cells of the grid train side by side in processes of their own, as many as the profile's `workers` says.
    """

    def __init__(
        self,
        archive: Archive,
        instance: dg.DagsterInstance,
        say: Say,
        *,
        task: str | None = None,
        arm: str | None = None,
        train: bool = True,
    ) -> None:
        self.archive, self.instance, self.say = archive, instance, say
        self.graph = g.Graph(archive.profile)
        self.only_task, self.only_arm, self.train = task, arm, train
        self.outcome = Outcome()
        self._execution = Execution(archive, instance)

    # ------------------------------------------------------------------------------------------------ what there is to do

    def stale(self, group: g.Group) -> list[Step]:
        """Steps of the group to be made. A step after a stale one is asked again when that one is made."""
        needed: list[Step] = []
        for step in group.steps:
            after = {found.key for found in needed} & self.graph.upstream(step)
            try:
                why = step.why_stale(self.archive, group.partition)
            except (LookupError, DamagedStore) as missing:
                if not after:
                    self.outcome.blocked[str(Cell(step.key, group.partition))] = str(
                        missing.args[0] if missing.args else missing
                    )
                    continue
                why = "its inputs are being made"
            if why is not None or after:
                needed.append(step)
        return needed

    def stages(self) -> Iterator[list[g.Group]]:
        """Stage by stage; a stage is looked at only when the one before it stands."""
        batches = self.archive.batches
        yield g.arrival_groups(self.graph, batches)
        yield g.vae_groups(self.graph)
        yield g.similarity_groups(self.graph, batches)
        tasks = [task for task in self.archive.profile.tasks if self._has_pool(task)]
        yield [group for task in tasks for group in g.redundancy_groups(self.graph, task)]
        wanted = [task for task in tasks if self.train and self.only_task in (None, task)]
        chosen = [task for task in wanted if self._is_labelled(task) and self._is_scorable(task)]
        arms = {task: [arm for arm in g.arms_of(self.graph, task) if self.only_arm in (None, arm)] for task in chosen}
        yield [group for task in chosen for group in g.ranking_groups(self.graph, task, arms[task])]
        yield [
            group
            for task in chosen
            for group in self._affordable(task, g.training_groups(self.graph, task, arms[task]))
        ]
        compared = [task for task in tasks if self._is_evaluated(task)]
        yield g.conclusion_groups(self.graph, tasks, compared=compared)

    def _has_pool(self, task: str) -> bool:
        n = self._pool_size(task)
        if n < 2:
            self.say(f"{task}: {n} frames in the pool, nothing to curate; this task is left out")
        return n >= 2

    def _pool_size(self, task: str) -> int:
        return sum(receipt.figures["frames"] for receipt in self.archive.store.receipts.of(f"{task}/pool").values())

    def _is_labelled(self, task: str) -> bool:
        receipts = self.archive.store.receipts.of(f"{task}/pool")
        labelled = sum(receipt.figures["labelled"] for receipt in receipts.values())
        if labelled:
            return True
        labels = self.archive.store.receipts.of("labels").values()
        unusable = [receipt for receipt in labels if receipt.figures.get(f"problems_{task}")]
        if unusable:
            count = sum(receipt.figures[f"problems_{task}"] for receipt in unusable)
            why = f"none of its {count:,} labels can be used ({self._first_problem(unusable[0], task)})"
        else:
            why = f"no train frame is labelled yet{self._other_columns(task)}"
        self.say(f"{task}: {why}, so nothing is trained; `enrich worklist {task}` says what to label first")
        return False

    def _is_scorable(self, task: str) -> bool:
        why = why_not_trainable(self.archive, task)
        if why is not None:
            self.outcome.blocked[f"models of {task}"] = why
        return why is None

    def _first_problem(self, labels: Receipt, task: str) -> str:
        first = self.archive.store.table(labels, f"{task}_problems").iloc[0]
        return f"{first['item']}: {first['reason']}"

    def _other_columns(self, task: str) -> str:
        """The manifests' label columns, where the one that the task names is not among them."""
        found = sorted({c for batch in self.archive.batches for c in label_columns(self.archive.arrivals.rows(batch))})
        settings = self.archive.profile.tasks[task]
        if settings.kind != "classification" or settings.label in found or not found:
            return ""
        return f" (no column {settings.label!r} in the manifests; there are {', '.join(found)}: set tasks.{task}.label in enrich.yaml)"

    def _is_evaluated(self, task: str) -> bool:
        return any(self.archive.store.receipts.of(f"{task}/{arm}/evaluation") for arm in g.arms_of(self.graph, task))

    def _affordable(self, task: str, groups: list[g.Group]) -> list[g.Group]:
        """Without budgets beyond the pool, and without those that come to as many frames as an earlier one."""
        pool = self._pool_size(task)
        budgets = self.archive.profile.tasks[task].budgets
        sizes = {key: budget_frames(key, pool) for key in budgets}
        beyond = [key for key in budgets if sizes[key] > pool]
        again = [key for i, key in enumerate(budgets) if sizes[key] in {sizes[k] for k in budgets[:i]}]
        if beyond:
            self.say(f"{task}: budgets {', '.join(beyond)} are more than the pool's {pool:,} frames and are left out")
        if again:
            self.say(f"{task}: budgets {', '.join(again)} come to as many frames as another one and are left out")
        return [group for group in groups if group.partition.partition("|")[0] not in {*beyond, *again}]

    # ------------------------------------------------------------------------------------------------------- doing it

    def run(self) -> Outcome:
        """Make what is stale. Failures of one cell do not stop the others; cells that wait for a failed one are counted."""
        start = time.perf_counter()
        know_batches(self.archive, self.instance)
        for groups in self.stages():
            self._run_stage(groups)
        waiting = [cell for cell, why in self.outcome.blocked.items() if why.endswith(NOT_MADE_YET)]
        if self.outcome.failed:
            for cell in waiting:
                del self.outcome.blocked[cell]
            self.outcome.waiting = len(waiting)
        self.outcome.seconds = time.perf_counter() - start
        return self.outcome

    def _run_stage(self, groups: list[g.Group]) -> None:
        waiting = [(group, steps) for group in groups if (steps := self.stale(group))]
        start = time.perf_counter()
        with closing(self._made(waiting)) as made:
            for number, (group, steps, executed) in enumerate(made, 1):
                self.outcome.runs += 1
                self.outcome.made += executed.made
                self.outcome.failed |= executed.failed
                left = (time.perf_counter() - start) / number * (len(waiting) - number)
                self.say(self._line(group, steps, number, len(waiting), left, executed))

    def _made(self, waiting: list[Waiting]) -> Generator[Done, None, None]:
        trains = len(waiting) > 1 and waiting[0][0].stage == "training"
        count = min(len(waiting), trainings_at_once(self.archive.profile)) if trains else 1
        return self._one_by_one(waiting) if count == 1 else self._side_by_side(waiting, count)

    def _one_by_one(self, waiting: list[Waiting]) -> Generator[Done, None, None]:
        for group, _ in waiting:
            steps = self.stale(group)  # an earlier group of the stage may have changed what this one needs
            if steps:
                yield group, steps, self._execution.execute(_keys(steps), group.partition)

    def _side_by_side(self, waiting: list[Waiting], count: int) -> Generator[Done, None, None]:
        """Cells of a grid do not depend on each other."""
        self.say(f"{len(waiting)} cells to train, {count} at a time")
        to_begin = iter(waiting)
        with workers(self.archive, count) as team:
            # No more at a time than there are workers: what is handed over can no longer be called back.
            running = {
                team.submit(_keys(steps), group.partition): (group, steps) for group, steps in islice(to_begin, count)
            }
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    group, steps = running.pop(future)
                    for next_group, next_steps in islice(to_begin, 1):
                        running[team.submit(_keys(next_steps), next_group.partition)] = (next_group, next_steps)
                    self.archive.store.receipts.refresh()
                    yield group, steps, future.result()

    def _line(
        self,
        group: g.Group,
        steps: list[Step],
        number: int,
        total: int,
        left: float,
        executed: Executed,
    ) -> str:
        where = " ".join(
            part for part in (group.task, group.stage, group.partition.replace("|", " frames, seed ")) if part
        )
        shown = ", ".join(filter(None, (self._figure(step, group.partition) for step in steps)))
        line = f"[{number}/{total}] {where}: {shown or 'done'}  {executed.seconds:.1f} s"
        if number < total:
            line += f", about {_duration(left)} left in this stage"
        return line + "".join(f"\n    failed: {cell}: {why}" for cell, why in executed.failed.items())

    def _figure(self, step: Step, partition: str) -> str:
        """The one number of a step that a reader waits for."""
        receipt = self.archive.store.receipts.current(Cell(step.key, partition))
        if receipt is None:
            return ""
        figures, kind = receipt.figures, step.key.rpartition("/")[2]
        if kind == "evaluation":
            return (
                f"{step.key.split('/')[1]} {'AUC' if figures['metric'] == 'auc' else 'Jaccard'} {figures['value']:.3f}"
            )
        if kind == "frames":
            told = {"files_refused": "files refused", "files_with_warnings": "files read with a warning"}
            odd = [f", {figures[key]:,} {words}" for key, words in told.items() if figures.get(key)]
            return f"{figures['frames']:,} frames of {figures['clips']:,} clips" + "".join(odd)
        if kind == "labels":
            unusable = {task: figures.get(f"problems_{task}", 0) for task in self.archive.profile.tasks}
            return ", ".join(
                f"{count:,} labels not usable for {task} ({self._first_problem(receipt, task)}; table label_problems)"
                for task, count in unusable.items()
                if count
            )
        if kind == "vae_weights":
            return f"{figures['active_units']} of {figures['latent']} units active, {'healthy' if figures['healthy'] else 'NOT healthy'}"
        if kind == "similarity":
            return f"{step.key.split('/')[0]} {figures['pairs']:,} pairs"
        if kind == "redundancy":
            return f"{figures['share_over_0.9']:.1%} of pairs over 0.9" + (
                " (estimated)" if figures["is_estimate"] else ""
            )
        if kind == "ranking":
            return f"{step.key.split('/')[1]} {figures['frames']:,} frames"
        return ""


def _keys(steps: list[Step]) -> list[str]:
    return [step.key for step in steps]


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
