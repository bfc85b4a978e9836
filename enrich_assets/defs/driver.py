"""`enrich run`: bring everything missing or stale up to date, cell by cell, in one process, on the UI's own instance.

What is stale is decided by receipts (`steps.why_stale`), so a run from the UI and a run from here mean the same.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dagster as dg

from enrich_assets.archive import Archive
from enrich_assets.defs import graph as g
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.instance import know_batches
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.steps import ONLY_STALE, Step
from enrich_assets.settings import ALL, budget_frames
from enrich_assets.store.receipts import NOT_MADE_YET, Cell, DamagedStore, MissingArtefact
from enrich_assets.studies.manifest import label_columns

Say = Callable[[str], None]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


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
    """Runs stale cells of one archive. `task` and `arm` narrow the training grid down; `train=False` leaves it as it is."""

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
        resource = ArchiveResource.of(archive)
        definitions = build_definitions(archive.profile, resource)
        self._job = definitions.resolve_implicit_global_asset_job_def()

    # ------------------------------------------------------------------------------------------------ what there is to do

    def stale(self, group: g.Group) -> list[Step]:
        """Steps of the group to be made. A step after a stale one is asked again when that one is made."""
        needed: list[Step] = []
        for step in group.steps:
            after = {found.key for found in needed} & self.graph.upstream(step)
            try:
                why = step.why_stale(self.archive, group.partition)
            except (MissingArtefact, LookupError) as missing:
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
        chosen = [task for task in wanted if self._is_labelled(task)]
        for task in chosen:
            arms = [arm for arm in g.arms_of(self.graph, task) if self.only_arm in (None, arm)]
            yield g.ranking_groups(self.graph, task, arms)
            yield self._affordable(task, g.training_groups(self.graph, task, arms))
        compared = [task for task in tasks if self._is_evaluated(task)]
        yield g.conclusion_groups(self.graph, tasks, compared=compared)

    def _has_pool(self, task: str) -> bool:
        receipts = self.archive.store.receipts.of(f"{task}/pool")
        n = sum(receipt.figures["frames"] for receipt in receipts.values())
        if n < 2:
            self.say(f"{task}: {n} frames in the pool, nothing to curate; this task is left out")
        return n >= 2

    def _is_labelled(self, task: str) -> bool:
        receipts = self.archive.store.receipts.of(f"{task}/pool")
        labelled = sum(receipt.figures["labelled"] for receipt in receipts.values())
        if not labelled:
            self.say(
                f"{task}: no frame is labelled yet, so nothing is trained; `enrich worklist {task}` says what to label first"
                + self._other_columns(task)
            )
        return labelled > 0

    def _other_columns(self, task: str) -> str:
        """The manifests' label columns, where the one that the task names is not among them."""
        found = sorted({c for batch in self.archive.batches for c in label_columns(self.archive.arrivals.rows(batch))})
        settings = self.archive.profile.tasks[task]
        if settings.kind != "classification" or settings.label in found or not found:
            return ""
        return f"\n    (no column {settings.label!r} in the manifests; there are {', '.join(found)}: set tasks.{task}.label in enrich.yaml)"

    def _is_evaluated(self, task: str) -> bool:
        return any(self.archive.store.receipts.of(f"{task}/{arm}/evaluation") for arm in g.arms_of(self.graph, task))

    def _affordable(self, task: str, groups: list[g.Group]) -> list[g.Group]:
        pool = len(self.archive.pool(task))
        kept, beyond = [], set()
        for group in groups:
            key = group.partition.partition("|")[0]
            if key != ALL and budget_frames(key, pool) > pool:
                beyond.add(key)
            else:
                kept.append(group)
        if beyond:
            self.say(
                f"{task}: budgets {', '.join(sorted(beyond, key=int))} are more than the pool's {pool:,} frames and are left out"
            )
        return kept

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
        for number, (group, _) in enumerate(waiting, 1):
            steps = self.stale(group)  # an earlier group of the stage may have changed what this one needs
            if not steps:
                continue
            began = time.perf_counter()
            failures = self._execute(group, steps)
            here = time.perf_counter()
            left = (here - start) / number * (len(waiting) - number)
            self.say(self._line(group, steps, number, len(waiting), here - began, left, failures))

    def _execute(self, group: g.Group, steps: list[Step]) -> dict[str, str]:
        result = self._job.execute_in_process(
            run_config=QUIET,
            instance=self.instance,
            partition_key=group.partition or None,
            asset_selection=[step.asset_key for step in steps],
            tags={ONLY_STALE: "true", "enrich/command": "run"},
            raise_on_error=False,
        )
        self.outcome.runs += 1
        self.outcome.made += len(result.get_asset_materialization_events())
        failures = {}
        for event in result.all_events:
            if event.is_step_failure and event.step_key is not None:
                cell = str(Cell(event.step_key.replace("__", "/"), group.partition))
                failures[cell] = _in_words(event)
        self.outcome.failed |= failures
        return failures

    def _line(
        self,
        group: g.Group,
        steps: list[Step],
        number: int,
        total: int,
        seconds: float,
        left: float,
        failures: dict[str, str],
    ) -> str:
        where = " ".join(
            part for part in (group.task, group.stage, group.partition.replace("|", " frames, seed ")) if part
        )
        shown = ", ".join(filter(None, (self._figure(step, group.partition) for step in steps)))
        line = f"[{number}/{total}] {where}: {shown or 'done'}  {seconds:.1f} s"
        if number < total:
            line += f", about {_duration(left)} left in this stage"
        return line + "".join(f"\n    failed: {cell}: {why}" for cell, why in failures.items())

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
            return f"{figures['frames']:,} frames of {figures['clips']:,} clips" + (
                f", {figures['files_refused']} files refused" if figures["files_refused"] else ""
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


def _in_words(event: dg.DagsterEvent) -> str:
    """The error as the user should read it: ours in its own words, others with their type."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "failed"
    text = " ".join(error.message.split())
    for ours in (MissingArtefact, DamagedStore):
        text = text.removeprefix(f"{ours.__module__}.{ours.__name__}: ")
    return text


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
