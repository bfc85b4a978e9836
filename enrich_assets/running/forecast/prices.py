"""What each stage costs: seconds, pairs, bytes, from what cells took before or a short measurement."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from enrich_assets.core import stages as s
from enrich_assets.core.stages import Stage
from enrich_assets.core.step import Check, Declared
from enrich_assets.core.where import arms_of
from enrich_assets.defs.assets.ranking import sees_labels
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.ranking import rule_named
from enrich_assets.running.forecast.expected import Expected
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


Members = list[tuple[Declared, str]]


def priced(expected: Expected, stage: Stage, task: str, members: Members) -> PlannedStage:
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
    at_once = max(1, min(n_runs, expected.slots))
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
