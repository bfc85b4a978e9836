"""`enrich plan`: what a run would do and what it would cost.

It walks the very stages that a run walks, asks the same planner, and takes what each group would make as pending for the next ones.
What is not there yet (how many frames a file holds) is estimated; costs come from a short measurement and from what cells took before.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.decoding import FRAMES_OF_A_VIDEO, STILLS
from enrich_assets.archive.home import Archive
from enrich_assets.archive.sides import sides_now
from enrich_assets.archive.sides.summary import side_report
from enrich_assets.core import stages as s
from enrich_assets.core.planner import Planner
from enrich_assets.core.stages import Goal, Stage, stages
from enrich_assets.core.step import Check, Declared
from enrich_assets.core.where import arms_of
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.assets.ranking import sees_labels, way_of
from enrich_assets.defs.instance import cells_at_once
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.ranking import rule_named
from enrich_assets.running.facts import RunFacts
from enrich_assets.settings import ALL, budget_frames
from enrich_assets.store.batches import Batch
from enrich_assets.store.receipts import Cell

SECONDS_PER_FILE = 0.05
SECONDS_PER_EMBEDDING = {
    "vae": 0.002,
    "pca": 0.0002,
    "onnx": 0.05,
    "imported": 0.0002,
}  # a frame, before the first is known
SECONDS_TO_FIT = {"pca": 5.0}
PREDICTING = 1 / 3  # time of a frame that is only predicted, against one learned from: no way back through the network
HALF_AS_LONG = 0.5  # the model of the whole pool is trained a second time, half as long
SECONDS_PER_RUN = 0.5
SECONDS_TO_PUBLISH = 8.0


@dataclass
class PlannedStage:
    """A line of the plan.

    Parameters
    ----------
    name
        Of the stage, and of its task.
    cells
        Of assets; checks run along with them.
    seconds, bytes
        Estimates, good within a factor of two where `is_measured`; bytes are the largest need of memory.
    note
        What the cost comes from.
    is_measured
        It rests on a measurement on this machine, or on earlier cells.
    """

    name: str
    cells: list[Cell] = field(default_factory=list)  # of assets; checks run along with them
    seconds: float = 0.0
    bytes: int = 0
    note: str = ""
    is_measured: bool = False


@dataclass
class Plan:
    """What a run would do.

    Parameters
    ----------
    stages
        Those in which something is made.
    notes
        Sentences for the user.
    blocked
        What cannot be made at all -> why.
    """

    stages: list[PlannedStage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    blocked: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Estimate over all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def cells(self) -> set[Cell]:
        """Every cell that a run would make."""
        return {cell for stage in self.stages for cell in stage.cells}


class Expected(RunFacts):
    """What will be there when the groups before are made: known where it is known, else estimated from the manifests."""

    def n_frames(self, batch: Batch) -> int:
        """Frames of a batch: decoded, or to be expected of its files."""
        frames = Cell("frames", batch.name)
        receipt = self.planner.receipts.current(frames)
        if receipt is not None and frames not in self.pending:
            return int(receipt.metrics["frames"])
        paths = self.rows(batch)["path"].drop_duplicates()
        return sum(1 if str(path).lower().endswith(STILLS) else FRAMES_OF_A_VIDEO for path in paths)

    def pool_size(self, task: str) -> int:
        return sum(self.pool(task, batch)[0] for batch in self.planner.archive.pinned)

    def n_labelled(self, task: str) -> int:
        return sum(self.pool(task, batch)[1] for batch in self.planner.archive.pinned)

    def n_test(self, task: str) -> int:
        """Labelled frames of test patients."""
        receipt = self.planner.receipts.current(Cell(f"{task}/test_set"))
        if receipt is not None and Cell(f"{task}/test_set") not in self.pending:
            return int(receipt.metrics["frames"])
        batches = self.planner.archive.pinned
        return round(
            sum(self.n_frames(b) * (1 - self._train_share(b)) * self._labelled_share(task, b) for b in batches)
        )

    def labels_kept(self, ranking: Declared, partition: str) -> int:
        """Labels that a ranking about to be made again is taken to keep: what its greatest budget had bought."""
        receipt = self.planner.receipts.current(ranking.cell(partition))
        where = ranking.where
        if receipt is None or where.task_settings.growth != "extend":
            return 0
        if receipt.metrics["way"] != way_of(where):
            return 0
        return max((n for n in receipt.metrics["budgets"].values() if n <= receipt.metrics["frames"]), default=0)

    def why_not_trainable(self, task: str) -> str | None:
        """Of labels that were not read yet, it is hoped that they can be scored."""
        return None if Cell(f"{task}/test_set") in self.pending else super().why_not_trainable(task)

    def is_evaluated(self, task: str) -> bool:
        pending = any(cell.asset.startswith(f"{task}/") and cell.asset.endswith("/evaluation") for cell in self.pending)
        return pending or super().is_evaluated(task)

    def pool(self, task: str, batch: Batch) -> tuple[int, int]:
        """Frames of a batch in the task's pool, and how many of them are labelled."""
        cell = Cell(f"{task}/pool", batch.name)
        receipt = self.planner.receipts.current(cell)
        if receipt is not None and cell not in self.pending:
            return int(receipt.metrics["frames"]), int(receipt.metrics["labelled"])
        train = self.n_frames(batch) * self._train_share(batch)
        labelled = round(train * self._labelled_share(task, batch))
        kind = kind_of(self.planner.archive.profile.tasks[task].kind)
        only_labelled = kind.needs_labels_to_pool or self.will_have_labels(task)
        return (labelled if only_labelled else round(train)), labelled

    def will_have_labels(self, task: str) -> bool:
        return any(self._labelled_share(task, batch) for batch in self.planner.archive.pinned)

    def new_classes(self, task: str, batches: set[str]) -> bool:
        """By the manifests of batches that were never read. Of labels that are read again, one may be new; of masks, none is hoped."""
        settings = self.planner.archive.profile.tasks[task]
        if settings.classes is not None:
            return False
        read_before = self.planner.held("labels")
        if not read_before or batches & read_before.keys():
            return True
        known = {name for receipt in read_before.values() for name in receipt.metrics["classes"].get(task, [])}
        columns = [
            self.rows(batch).get(settings.label) for batch in self.planner.archive.pinned if batch.name in batches
        ]
        named = {str(label).strip() for column in columns if column is not None for label in column.dropna()}
        return kind_of(settings.kind).answers == "class" and not named - {"", *settings.ignore} <= known

    def _labelled_share(self, task: str, batch: Batch) -> float:
        """Share of a batch's frames that carry a label: as read, else as the manifest has it."""
        presence = Cell("label_presence", batch.name)
        receipt = self.planner.receipts.current(presence)
        if receipt is not None and presence not in self.pending:
            return float(receipt.metrics.get(f"labelled_{task}", 0)) / max(self.n_frames(batch), 1)
        settings, rows = self.planner.archive.profile.tasks[task], self.rows(batch)
        column = "mask_path" if kind_of(settings.kind).answers == "mask" else settings.label
        if column not in rows or rows.empty:
            return 0.0
        given = rows[rows[column].notna() & (rows[column].astype("string").str.strip() != "")]
        whole_clips = int(given["frame_index"].isna().sum()) if "frame_index" in given else len(given)
        frames_of_clips = whole_clips * self.n_frames(batch) / max(rows["path"].nunique(), 1)
        return min(1.0, (frames_of_clips + len(given) - whole_clips) / max(self.n_frames(batch), 1))

    def _train_share(self, batch: Batch) -> float:
        """Share of a batch's rows whose patients train: as they are split, or will be."""
        rows = self.rows(batch)
        if rows.empty:
            return 1 - self.planner.archive.profile.split.test_share
        return float((rows["patient_id"].map(self._sides) == "train").mean())

    @cached_property
    def _sides(self) -> dict[str, str]:
        sides = sides_now(self.planner.archive)
        return dict(zip(sides["patient_id"], sides["split"], strict=True))

    def rows(self, batch: Batch) -> pd.DataFrame:
        """The manifest of a batch, read once."""
        if batch.name not in self._manifests:
            self._manifests[batch.name] = self.planner.archive.register.rows(batch)
        return self._manifests[batch.name]

    @cached_property
    def _manifests(self) -> dict[str, pd.DataFrame]:
        return {}


def make_plan(archive: Archive, goal: Goal = Goal()) -> Plan:  # noqa: B008  (frozen)
    """What a run with this goal would make, stage by stage, and what it would cost.

    Some costs are measured here: a few training steps, a few blocks of pairs. Nothing is written.
    """
    expected = Expected(Planner(archive, graph_of(archive.profile)))
    plan = Plan()
    for stage in stages(expected, goal):
        works = [(group, work) for group in stage.groups if (work := expected.work(group))]
        for group, work in works:
            for declared, verdict in work:
                if not verdict.keeps:
                    expected.pending[declared.cell(group.partition)] = verdict.why
        by_task: dict[str, list[tuple[Declared, str]]] = {}
        for group, work in works:
            by_task.setdefault(group.task, []).extend((declared, group.partition) for declared, _ in work)
        plan.stages += [_priced(expected, stage, task, members) for task, members in by_task.items()]
    plan.notes, plan.blocked = list(expected.notes), dict(expected.blocked)
    return plan


Members = list[tuple[Declared, str]]


def _priced(expected: Expected, stage: Stage, task: str, members: Members) -> PlannedStage:
    """A stage of one task (or of none) with its cost."""
    price: dict[str, Callable[..., None]] = {
        s.DECODING: _decoding,
        s.VAE: _vae,
        s.FITTING: _fitting,
        s.SIMILARITY: _similarity,
        s.RANKING: _ranking,
        s.LENGTH: _length,
        s.TRAINING: _training,
    }
    planned = PlannedStage(f"{task}: {stage.name}" if task else stage.name)
    planned.cells = [declared.cell(partition) for declared, partition in members if not isinstance(declared, Check)]
    n_runs = len({partition for _, partition in members})
    planned.seconds = n_runs * SECONDS_PER_RUN
    if stage.name in price:
        price[stage.name](expected, planned, task, members)
    elif stage.name == s.CONCLUSIONS:
        planned.seconds = SECONDS_TO_PUBLISH
    return planned


def _batches_of(expected: Expected, members: Members, name: str) -> list[Batch]:
    names = {partition for declared, partition in members if declared.name == name and not isinstance(declared, Check)}
    return [batch for batch in expected.planner.archive.pinned if batch.name in names]


def _decoding(expected: Expected, planned: PlannedStage, task: str, members: Members) -> None:
    n_files = sum(expected.rows(batch)["path"].nunique() for batch in _batches_of(expected, members, "frames"))
    planned.seconds += n_files * SECONDS_PER_FILE
    planned.note = f"{n_files:,} files"


def _vae(expected: Expected, planned: PlannedStage, task: str, members: Members) -> None:
    from enrich_assets.method.embeddings.cost import vae_seconds_per_step

    profile = expected.planner.archive.profile
    if planned.cells:
        planned.seconds += profile.vae.max_steps * vae_seconds_per_step(profile.vae, time.perf_counter, profile.device)
        planned.note, planned.is_measured = f"at most {profile.vae.max_steps:,} steps", True


def _fitting(expected: Expected, planned: PlannedStage, task: str, members: Members) -> None:
    fitted = [declared for declared, _ in members if not isinstance(declared, Check)]
    planned.seconds += sum(SECONDS_TO_FIT.get(declared.where.embedding_settings.kind, 0.0) for declared in fitted)
    planned.note = ", ".join(declared.key for declared in fitted)


def _seconds_to_embed(expected: Expected, declared: Declared, batch: Batch) -> float:
    """By the batches that were embedded so far, else by its kind."""
    held = expected.planner.held(declared.key).values()
    frames = sum(receipt.metrics["frames"] for receipt in held)
    seconds = sum(receipt.metrics.get("seconds", 0.0) for receipt in held)
    per_frame = seconds / frames if frames else SECONDS_PER_EMBEDDING[declared.where.embedding_settings.kind]
    return float(expected.n_frames(batch) * per_frame)


def _similarity(expected: Expected, planned: PlannedStage, task: str, members: Members) -> None:
    from enrich_assets.method.pairs.cost import calibrate, forecast_pairs

    archive = expected.planner.archive
    settings = archive.profile.similarity
    batches = {batch.name: batch for batch in archive.pinned}
    planned.seconds += sum(
        _seconds_to_embed(expected, declared, batches[partition])
        for declared, partition in members
        if declared.name == "embeddings" and not isinstance(declared, Check)
    )
    rates = calibrate(time.perf_counter, frames=sum(expected.n_frames(batch) for batch in archive.pinned))
    pairs, largest = 0, 0
    for declared, partition in members:
        if declared.name != "similarity" or isinstance(declared, Check):
            continue
        before, new = _panel_size(expected, declared.where.task, partition)
        of_archive = not declared.where.task  # it lists no neighbours
        cost = forecast_pairs(new, before + new, rates, neighbours=0 if of_archive else settings.neighbours)
        n_pairs = new * before + new * (new - 1) // 2
        planned.seconds, planned.bytes = planned.seconds + cost.seconds, max(planned.bytes, int(cost.bytes))
        pairs, largest = pairs + n_pairs, max(largest, n_pairs)
    planned.is_measured = True
    planned.note = f"{pairs:,} pairs, {planned.bytes / 1e6:,.0f} MB of memory"
    if largest > settings.max_pairs:
        planned.note += f"; over {settings.max_pairs:,} pairs a panel is estimated from a sample, and labelled so"


def _panel_size(expected: Expected, task: str, batch: str) -> tuple[int, int]:
    """Frames in earlier batches, and in this one: of the task's pool, or without a task all."""
    names, batches = expected.planner.archive.batches, expected.planner.archive.pinned
    sizes = [expected.pool(task, one)[0] if task else expected.n_frames(one) for one in batches]
    here = names.index(batch)
    return sum(sizes[:here]), sizes[here]


def _ranking(expected: Expected, planned: PlannedStage, task: str, members: Members) -> None:
    from enrich_assets.method.pairs.cost import calibrate, forecast_ranking

    pool, settings = expected.pool_size(task), expected.planner.archive.profile.tasks[task]
    rates = calibrate(time.perf_counter, frames=pool)
    cost = forecast_ranking(pool, pool, settings.initial_frame_count(pool), rates)
    by_similarity = [
        d for d, _ in members if not isinstance(d, Check) and rule_named(d.where.arm_settings.rule).compares_frames
    ]
    planned.seconds += len(by_similarity) * cost.seconds
    planned.bytes, planned.is_measured = int(cost.bytes), True
    planned.note = f"{pool:,} frames, {cost.bytes / 1e6:,.0f} MB of memory"
    label_aware = [(d, p) for d, p in members if not isinstance(d, Check) and sees_labels(d.where.arm_settings)]
    if label_aware:
        n_trainings, seconds = _acquisition(expected, task, label_aware)
        planned.seconds += seconds
        planned.note += f"; {n_trainings:,} trainings by which arms that see labels choose, {seconds:,.0f} s"


def _acquisition(expected: Expected, task: str, members: Members) -> tuple[int, float]:
    """Trainings of arms that see labels, one after the other, and their seconds: a network for each budget but the last,
    which then looks at the rest of the pool."""
    from enrich_assets.method.ranking.acquisition import trainings

    settings, pool = expected.planner.archive.profile.tasks[task], expected.pool_size(task)
    kind, per_frame = kind_of(settings.kind), _seconds_per_frame(expected, task)
    affordable = sorted({size for key in settings.budgets if (size := budget_frames(key, pool)) <= pool})
    at_first = min([settings.initial_frame_count(pool), *affordable])
    n_trainings, presented = 0, 0.0
    for declared, partition in members:
        bought = expected.labels_kept(declared, partition)
        sizes = trainings(bought or at_first, affordable)
        n_trainings += len(sizes)
        presented += sum(kind.presentations(settings.model_settings, n) + PREDICTING * (pool - n) for n in sizes)
    return n_trainings, presented * per_frame


def _length(expected: Expected, planned: PlannedStage, task: str, members: Members) -> None:
    """The search for the number of steps, at its bound, with what it predicts at each look."""
    from enrich_assets.method.networks.length import MOST_WATCHED, first_share

    settings = expected.planner.archive.profile.tasks[task].model_settings
    search, n_frames = settings.search, expected.n_labelled(task)
    if not planned.cells:
        return
    steps = math.ceil(search.max_steps * first_share(settings))
    watched = min(MOST_WATCHED, math.ceil(search.held_out_share * n_frames))
    presented = steps * min(settings.batch_size, n_frames) + steps / search.evaluate_every * watched * PREDICTING
    planned.seconds += presented * _seconds_per_frame(expected, task)
    planned.note, planned.is_measured = f"at most {steps:,} steps", True


def _training(expected: Expected, planned: PlannedStage, task: str, members: Members) -> None:
    """Models are trained, evaluations only predict; so many at a time as there are slots."""
    archive = expected.planner.archive
    settings, model_settings, is_bound = archive.profile.tasks[task], *_with_length(expected, task)
    kind, pool, n_test = kind_of(settings.kind), expected.pool_size(task), expected.n_test(task)
    per_frame = _seconds_per_frame(expected, task)
    counts = Counter(declared.name for declared, _ in members if not isinstance(declared, Check))
    presented = sum(
        kind.presentations(model_settings, budget_frames(partition.partition("|")[0], pool))
        * (1 + HALF_AS_LONG * (declared.where.arm == ALL))
        for declared, partition in members
        if declared.name == "model" and not isinstance(declared, Check)
    )
    presented += counts["evaluation"] * PREDICTING * n_test
    n_runs = len({partition for _, partition in members})
    at_once = max(1, min(n_runs, cells_at_once(archive.profile)))
    planned.seconds = (presented * per_frame + n_runs * SECONDS_PER_RUN) / at_once
    planned.is_measured = True
    planned.note = f"{counts['model']:,} trainings, {counts['evaluation']:,} scores, {at_once} at a time"
    if getattr(model_settings, "steps", None) is not None:
        planned.note += f", {'at most ' if is_bound else ''}{model_settings.steps:,} steps each"


def _with_length(expected: Expected, task: str) -> tuple[Any, bool]:
    """The network's settings with the number of steps, and whether that is only the bound: not found yet."""
    settings = expected.planner.archive.profile.tasks[task]
    if not settings.searches_length:
        return settings.model_settings, False
    cell = Cell(s.length_asset(task))
    found = expected.planner.receipts.current(cell)
    is_bound = found is None or cell in expected.pending
    steps = settings.model_settings.search.max_steps if found is None or is_bound else found.metrics["steps"]
    return replace(settings.model_settings, steps=steps, search=None), is_bound


def _seconds_per_frame(expected: Expected, task: str) -> float:
    """Seconds per frame presented: the median of the cells trained so far; before the first, of a few steps made now."""
    profile = expected.planner.archive.profile
    settings = profile.tasks[task]
    kind = kind_of(settings.kind)
    known = [
        receipt.metrics["seconds"] / receipt.metrics["presented"]
        for arm in arms_of(settings)
        for receipt in expected.planner.held(f"{task}/{arm}/model").values()
        if "presented" in receipt.metrics
    ]
    if known:
        return float(np.median(known))
    n_classes = len(settings.classes or ()) or 2
    return kind.seconds_per_frame(settings.model_settings, settings.size, n_classes, time.perf_counter, profile.device)


def plan_text(archive: Archive, goal: Goal = Goal()) -> str:  # noqa: B008  (frozen)
    """The plan as lines for a terminal."""
    plan = make_plan(archive, goal)
    sides = side_report(archive)
    notes = [f"  {note}" for note in plan.notes] + [f"  blocked: {what}: {why}" for what, why in plan.blocked.items()]
    if not plan.stages:
        return "\n".join(["everything is up to date: a run would do nothing", *notes, *sides])
    lines = [f"{'stage':34} {'assets':>7} {'seconds':>9}"]
    for stage in plan.stages:
        guess = "" if stage.is_measured or not stage.seconds else "  (a guess)"
        lines.append(f"{stage.name:34} {len(stage.cells):>7,} {stage.seconds:>9,.0f}  {stage.note}{guess}".rstrip())
    lines.append(f"{'in all about':34} {len(plan.cells):>7,} {plan.seconds:>9,.0f}")
    return "\n".join([*lines, *notes, *sides])
