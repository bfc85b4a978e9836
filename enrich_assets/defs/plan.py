"""`enrich plan`: what a run would do and what it would cost, from receipts, a short measurement, and what cells took before."""

import time
from dataclasses import dataclass, field

import numpy as np

from enrich_assets.archive import Archive
from enrich_assets.defs import graph as g
from enrich_assets.defs.workers import trainings_at_once
from enrich_assets.settings import ALL, budget_frames
from enrich_assets.store.receipts import DamagedStore

FRAMES_OF_A_VIDEO = 60  # a guess, while nothing has been decoded
SECONDS_PER_FILE = 0.05
PREDICTING = 1 / 3  # time of a frame that is only predicted, against one learned from: no way back through the network
OVERHEAD_PER_RUN = 0.5
STILLS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass
class Stage:
    """A line of the plan. Seconds and bytes are forecasts, good within a factor of two where `is_measured`."""

    name: str
    cells: int = 0
    seconds: float = 0.0
    bytes: int = 0
    note: str = ""
    is_measured: bool = False


@dataclass
class Plan:
    stages: list[Stage] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)


def make_plan(archive: Archive) -> Plan:
    """What is stale or missing now, and all that would follow from it."""
    graph = g.Graph(archive.profile)
    plan = Plan()
    batches = archive.batches
    new = _stale_groups(archive, g.arrival_groups(graph, batches))
    new_files = sum(archive.arrivals.rows(group.partition)["path"].nunique() for group in new)
    plan.stages.append(
        Stage("take in", sum(len(x.steps) for x in new), new_files * SECONDS_PER_FILE, 0, f"{new_files:,} files")
    )
    frames = _frames(archive)
    vae = _stale_groups(archive, g.vae_groups(graph))
    steps = archive.profile.vae.max_steps if vae else 0
    plan.stages.append(
        Stage(
            "train the VAE",
            len(vae),
            steps * _vae_seconds_per_step(archive) if vae else 0.0,
            0,
            f"at most {steps:,} steps" if vae else "",
            True,
        )
    )
    behind = bool(new or vae)
    _plan_similarity(archive, graph, plan, frames, behind)
    for task in archive.profile.tasks:
        _plan_task(archive, graph, plan, task, frames, behind)
    conclusions = g.conclusion_groups(graph, list(archive.profile.tasks), compared=list(archive.profile.tasks))
    stale = behind or any(stage.cells for stage in plan.stages) or bool(_stale_groups(archive, conclusions))
    plan.stages.append(Stage("publish", len(conclusions[0].steps) if stale else 0, 8.0 if stale else 0.0))
    return plan


def _frames(archive: Archive) -> int:
    """Frames decoded, and those to be expected of files that are not."""
    held = archive.store.receipts.of("frames")
    total = 0
    for batch in archive.batches:
        if batch in held:
            total += held[batch].figures["frames"]
        else:
            paths = archive.arrivals.rows(batch)["path"].drop_duplicates()
            total += sum(1 if str(p).lower().endswith(STILLS) else FRAMES_OF_A_VIDEO for p in paths)
    return total


def _stale_groups(archive: Archive, groups: list[g.Group]) -> list[g.Group]:
    return [group for group in groups if any(_is_stale(archive, step, group.partition) for step in group.steps)]


def _is_stale(archive: Archive, step: g.Step, partition: str) -> bool:
    try:
        return step.why_stale(archive, partition) is not None
    except (LookupError, DamagedStore):
        return True


def _plan_similarity(archive: Archive, graph: g.Graph, plan: Plan, frames: int, behind: bool) -> None:
    from enrich_assets.method.pairs.cost import calibrate, foretell_pairs

    groups = g.similarity_groups(graph, archive.batches)
    stale = groups if behind and not archive.store.receipts.of("embeddings") else _stale_groups(archive, groups)
    if not stale:
        plan.stages.append(Stage("similarity", 0))
        return
    rates = calibrate(time.perf_counter, frames=frames)
    share = len(stale) / max(len(groups), 1)
    new = round(frames * share)
    seconds = pairs = memory = 0.0
    for _ in archive.profile.tasks:
        cost = foretell_pairs(new, frames, rates, neighbours=archive.profile.similarity.neighbours)
        seconds, memory = seconds + cost.seconds, max(memory, cost.bytes)
        pairs += new * (frames - new) + new * (new - 1) / 2
    limit = archive.profile.similarity.max_pairs
    note = f"{pairs:,.0f} pairs at most, {memory / 1e6:,.0f} MB of memory"
    if pairs > limit:
        note += f"; over {limit:,} pairs a panel is estimated from a sample, and labelled so"
    plan.stages.append(Stage("similarity", len(stale), seconds + new * 0.002, int(memory), note, True))


def _plan_task(archive: Archive, graph: g.Graph, plan: Plan, task: str, frames: int, behind: bool) -> None:
    from enrich_assets.method.pairs.cost import calibrate, foretell_ranking

    settings, arms = archive.profile.tasks[task], g.arms_of(graph, task)
    held = archive.store.receipts.of(f"{task}/pool")
    pool = (
        sum(receipt.figures["frames"] for receipt in held.values())
        if held
        else round(_candidates(archive, task, frames) * (1 - archive.profile.split.test_share))
    )
    if pool < 2:
        plan.stages.append(Stage(f"{task}: curate and train", 0, note="its pool is empty"))
        return
    rankings = _stale_groups(archive, g.ranking_groups(graph, task, arms))
    if behind:
        rankings = g.ranking_groups(graph, task, arms)
    cost = (
        foretell_ranking(pool, pool, settings.start_frames(pool), calibrate(time.perf_counter, frames=pool))
        if rankings
        else None
    )
    seconds = len(rankings) * (cost.seconds if cost else 0) + len(rankings) * OVERHEAD_PER_RUN
    memory, note = (cost.bytes, f"{cost.bytes / 1e6:,.0f} MB of memory") if cost else (0, "")
    plan.stages.append(Stage(f"{task}: rank {pool:,} frames", len(rankings) * len(arms), seconds, memory, note, True))
    groups = g.training_groups(graph, task, arms)
    stale = groups if behind else _stale_groups(archive, groups)
    cells, trained, seconds, beyond = 0, 0, 0.0, set()
    per_frame = _seconds_per_frame(archive, task, arms) if stale else 0.0
    tested = _candidates(archive, task, frames) * archive.profile.split.test_share
    for group in stale:
        key = group.partition.partition("|")[0]
        size = budget_frames(key, pool)
        if size > pool and key != ALL:
            beyond.add(key)
            continue
        cells += len(group.steps)
        trained += 1
        shown = _presentations(settings, size) + PREDICTING * tested
        seconds += len(group.steps) / 3 * shown * per_frame + OVERHEAD_PER_RUN
    side_by_side = min(trained, trainings_at_once(archive.profile)) if trained else 1
    seconds /= side_by_side
    note = f"{side_by_side} at a time" if side_by_side > 1 else ""
    if beyond:
        note += f"{'; ' if note else ''}budgets {', '.join(sorted(beyond))} are more than the pool and are left out"
    plan.stages.append(Stage(f"{task}: train and score", cells, seconds, 0, note, True))


def _candidates(archive: Archive, task: str, frames: int) -> int:
    """Frames the task may choose from: all, or those with a mask."""
    if archive.profile.tasks[task].kind == "classification":
        return frames
    return sum(int(archive.arrivals.rows(batch)["mask_path"].notna().sum()) for batch in archive.batches)


def _presentations(settings: object, size: int) -> float:
    """Frames shown to the network in one training."""
    model = settings.model_settings  # type: ignore[attr-defined]
    return max(model.epochs * size, model.min_steps * model.batch_size)


def _seconds_per_frame(archive: Archive, task: str, arms: list[str]) -> float:
    """Seconds per presented frame: the median of the cells trained so far; before the first, of a few steps made now."""
    settings = archive.profile.tasks[task]
    found = [
        receipt.figures["seconds"] / _presentations(settings, receipt.figures["n_train"])
        for arm in arms
        for receipt in archive.store.receipts.of(f"{task}/{arm}/model").values()
    ]
    if found:
        return float(np.median(found))
    from enrich_assets.method.networks.cost import seconds_per_frame

    classes = len(settings.classes or ()) or 2
    return seconds_per_frame(settings.model_settings, settings.size, classes, time.perf_counter, archive.profile.device)


def _vae_seconds_per_step(archive: Archive) -> float:
    from enrich_assets.method.networks.cost import vae_seconds_per_step

    return vae_seconds_per_step(archive.profile.vae, time.perf_counter, archive.profile.device)


def plan_text(archive: Archive) -> str:
    """The plan as lines for a terminal."""
    plan = make_plan(archive)
    if not any(stage.cells for stage in plan.stages):
        return "everything is up to date: a run would do nothing"
    lines = [f"{'stage':34} {'cells':>7} {'seconds':>9}"]
    for stage in plan.stages:
        if stage.cells or stage.note:
            guess = "" if stage.is_measured or not stage.cells else "  (a guess)"
            lines.append(f"{stage.name:34} {stage.cells:>7,} {stage.seconds:>9,.0f}  {stage.note}{guess}".rstrip())
    lines.append(f"{'in all about':34} {sum(s.cells for s in plan.stages):>7,} {plan.seconds:>9,.0f}")
    return "\n".join(lines)
