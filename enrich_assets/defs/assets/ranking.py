"""The orders in which frames would be labelled, and what each budget buys of them. No label is looked at here.

Rankings of arms that see labels have a declaration of their own, in `acquisition`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Pool, Vectors
from enrich_assets.archive.frames import SIMILARITY, Frames
from enrich_assets.archive.frames import Split as SplitValue
from enrich_assets.archive.values import Value
from enrich_assets.core.partitions import Partitions, budget_and_seed
from enrich_assets.core.reads import Read, every, itself, same, seed_of
from enrich_assets.core.stages import Outlook
from enrich_assets.core.step import CellContext, CheckOutcome, StepOutput, check, step
from enrich_assets.core.where import Where
from enrich_assets.method.ranking import Ranking, rule_named
from enrich_assets.settings import ALL, ArmSettings, budget_frames
from enrich_assets.store.identity import subset_id
from enrich_assets.store.receipts import Cell, DamagedStore, MissingArtefact, Receipt

# Frames of a subset in the UI: how many, how large, and all pictures together, because Dagster keeps them with every event.
LOOKED_AT, PICTURE_SIDE, PICTURE_BYTES = 20, 64, 60_000
RANKED = ["frame_id", "batch", "patient_id", "clip_id", "pixel_digest"]


# ----------------------------------------------------------------------------------------------------------- ranking


def way_of(where: Where) -> str:
    """How an arm chooses. A ranking is only ever extended by an arm that chooses in the same way."""
    arm = where.arm_settings
    if sees_labels(arm):
        return f"{arm.rule} rule, labels of the frames chosen before"
    by = f" of {where.own_embedding}" if _compares_vectors(arm) and where.own_embedding != "vae" else ""
    quota = f", {arm.quota_per_patient} of a patient" if arm.quota_per_patient else ""
    return f"{arm.rule} rule, {arm.similarity} similarity{by}{quota}"


def _compares_vectors(arm: ArmSettings) -> bool:
    return rule_named(arm.rule).compares_frames and arm.similarity == "cosine"


def sees_labels(arm: ArmSettings) -> bool:
    """Whether an arm chooses by labels of frames chosen before."""
    return rule_named(arm.rule).sees_labels


def label_blind(where: Where) -> bool:
    """Whether the arm of this place sees no label."""
    return not sees_labels(where.arm_settings)


def _description(where: Where) -> str:
    arm = where.arm_settings
    by = f" of {where.own_embedding}" if _compares_vectors(arm) else ""
    how = "by chance" if not rule_named(arm.rule).compares_frames else f"{arm.rule} on {arm.similarity} similarity{by}"
    return f"{where.task}, arm {where.arm}: the order in which frames would be labelled ({'the whole pool' if where.arm == ALL else how})."


def _looks_at_pixels(arm: ArmSettings) -> bool:
    return rule_named(arm.rule).compares_frames and arm.similarity != "cosine"


def ranking_settings(where: Where) -> dict[str, object]:
    """What of the profile changes a ranking. Only rules that make pseudo-labels look at how many classes are expected."""
    task, arm = where.task_settings, where.arm_settings
    settings: dict[str, object] = {
        "arm": arm,
        "initial_frames": task.initial_frames,
        "budgets": task.budgets,
        "growth": task.growth,
    }
    return {**settings, "n_classes": len(task.classes or ()) or 2} if arm.rule == "probcover" else settings


def ranking_reads(where: Where) -> Mapping[str, Read]:
    """Vectors of the arm's own embedding; by those of the profile's first one coverage is measured, the same for all arms.

    Pixels are read only by an arm that compares them. The panels are no input: their checks must have passed.
    """
    reads = {
        "pool": every("{task}/pool"),
        "vectors": every("embeddings/{embedding}"),
        "panels": every("{task}/similarity/{embedding}", counts=False),
        "before": itself("{task}/{arm}/ranking"),
    }
    if not _compares_vectors(where.arm_settings) or where.own_embedding == where.profile.default_embedding:
        own = where.profile.default_embedding
        reads |= {"vectors": every(f"embeddings/{own}"), "panels": every(f"{{task}}/similarity/{own}", counts=False)}
    else:
        reads["coverage_vectors"] = every(f"embeddings/{where.profile.default_embedding}", optional=True)
    return {**reads, "frames": every("frames")} if _looks_at_pixels(where.arm_settings) else reads


@step(
    "{task}/{arm}/ranking",
    Partitions.SEED,
    reads=ranking_reads,
    settings=ranking_settings,
    description=_description,
    only=label_blind,
    kinds=("numba", "numpy"),
)
def ranking(
    cell: CellContext,
    pool: Pool,
    vectors: Vectors,
    panels: Value,
    before: Value,
    frames: Frames | None = None,
    coverage_vectors: Vectors | None = None,
) -> StepOutput:
    """The order in which frames would be labelled: least similar to the chosen first."""
    from enrich_assets.method.ranking import Candidates, Quota, rank_frames

    arm, seed = cell.settings["arm"], int(cell.partition)
    affordable = budget_sizes(cell.where, len(pool))[1]
    start, kept = starting_frames(cell, pool, before)
    of_pool = vectors.of(pool.frames)
    candidates = Candidates(
        embeddings=of_pool,
        frames=frames.of(pool.frames, SIMILARITY).pixels() if frames is not None else None,
        frame_ids=pool.ids,
        quota=Quota(pool.patients, arm.quota_per_patient) if arm.quota_per_patient else None,
        budgets=tuple(affordable),
        n_classes=cell.settings.get("n_classes", 2),
    )
    with cell.progress("ranking", "frames") as advance:
        order = rank_frames(
            arm.rule, arm.similarity, candidates, start, len(pool), seed=seed, device=cell.device, progress=advance
        )
    judged_by = vectors if coverage_vectors is None else coverage_vectors
    can = (
        set(pool.frames["batch"]) <= judged_by.receipts.keys()
    )  # else the first embedding is blocked, and this arm goes on
    return ranking_output(cell, pool, judged_by.of(pool.frames) if can else None, order, start, kept=kept)


def ranking_output(
    cell: CellContext, pool: Pool, of_pool: np.ndarray | None, order: Ranking, start: np.ndarray, *, kept: bool
) -> StepOutput:
    """What a ranking holds: the table, its coverage, and how it came about.

    Parameters
    ----------
    cell, pool
        Of the ranking.
    of_pool : (n, d) int16, optional
        Vectors of the pool by the profile's first embedding, by which coverage is measured for all arms alike; it is not measured
        without them.
    order
        Of the whole pool.
    start : (m,) int64
        Frames it begins with.
    kept
        Whether these are the labels bought by the ranking before.
    """
    from enrich_assets.method.ranking import coverage_at

    arm = cell.settings["arm"]
    budgets, affordable = budget_sizes(cell.where, len(pool))
    table = pool.frames.loc[order.order, RANKED].reset_index(drop=True)
    table["similarity_to_chosen"] = order.cosine_to_chosen()
    left_out = {} if of_pool is None else coverage_at(of_pool, order.order, affordable, device=cell.device)
    coverage = _coverage_table(left_out)
    metrics = {
        "frames": len(pool),
        "start": len(start),
        "way": way_of(cell.where),
        "sees_labels": sees_labels(arm),
        "budgets": budgets,
        "patients_in_first_tenth": int(table["patient_id"].head(max(1, len(pool) // 10)).nunique()),
    }
    first = table[["frame_id", "similarity_to_chosen"]].head(10).round(4)
    return StepOutput(
        tables={"ranking": table, "coverage": coverage},
        metrics=metrics,
        metadata={"coverage": coverage.round(4), "first_frames": first},
        unused=() if kept else ("before",),
    )


def budget_sizes(where: Where, pool: int) -> tuple[dict[str, int], list[int]]:
    """Frames of each budget by its key, and the sizes that the pool affords, ascending, each once."""
    budgets = {key: budget_frames(key, pool) for key in where.task_settings.budgets}
    return budgets, sorted({size for size in budgets.values() if size <= pool})


def starting_frames(cell: CellContext, pool: Pool, before: Value) -> tuple[np.ndarray, bool]:
    """What the order begins with: the labels bought so far where they are kept, else the random set common to all arms.

    Returns
    -------
    start : (m,) int64
        Positions in the pool.
    kept : bool
        Whether they are the labels bought.
    """
    task, affordable = cell.where.task_settings, budget_sizes(cell.where, len(pool))[1]
    if task.growth == "extend" and cell.where.arm != ALL:
        bought = labels_bought(before, pool, way_of(cell.where))
        if bought is not None:
            return bought, True
    return _initial_frames(pool, task.initial_frame_count(len(pool)), affordable, int(cell.partition)), False


def _initial_frames(pool: Pool, asked: int, affordable: list[int], seed: int) -> np.ndarray:
    """The random start set that all arms share: never more than the smallest budget."""
    from enrich_assets.method.ranking import random_order

    return random_order(pool.ids, seed)[: min([asked, *affordable])]


def labels_bought(before: Value, pool: Pool, way: str) -> np.ndarray | None:
    """The labels bought so far: the greatest budget of the ranking before this one.

    Parameters
    ----------
    before
        That ranking, if there was one.
    pool
        As it is now.
    way
        How the arm chooses now (`way_of`).

    Returns
    -------
    (n,) int64 or None
        Positions in the pool, in the order of the ranking. None when there was no ranking, when the arm chose in
        another way then, or when a frame of it has left the pool or changed.
    """
    if not before.is_there or before.metrics.get("way") != way:
        return None
    order = before.table("ranking")
    sizes = [size for size in before.metrics["budgets"].values() if size <= len(order)]
    order = order.head(max(sizes, default=0))
    still_there = order.merge(pool.frames[["frame_id", "pixel_digest"]], on=["frame_id", "pixel_digest"])
    if order.empty or len(still_there) < len(order):
        return None
    return pool.positions(order["frame_id"])


def _coverage_table(left_out: Mapping[int, np.ndarray]) -> pd.DataFrame:
    """Of each budget: how similar the frames left out are to the nearest chosen one."""
    rows = [
        {
            "budget": size,
            "coverage_p05": float(np.quantile(similarity, 0.05)),
            "coverage_p50": float(np.quantile(similarity, 0.5)),
            "coverage_min": float(similarity.min()),
        }
        for size, similarity in left_out.items()
        if len(similarity)
    ]
    return pd.DataFrame(rows, columns=["budget", "coverage_p05", "coverage_p50", "coverage_min"])


@check(
    "{task}/{arm}/ranking",
    Partitions.SEED,
    reads={"ranking": same("{task}/{arm}/ranking"), "pool": every("{task}/pool"), "split": every("split")},
    blocking=True,
)
def train_frames_once(cell: CellContext, ranking: Value, pool: Pool, split: SplitValue) -> CheckOutcome:
    """Each frame of the pool once, none of a test patient."""
    order = ranking.table("ranking")
    repeated = order.loc[order["frame_id"].duplicated(), "frame_id"]
    of_test = order.loc[order["patient_id"].map(split.sides) != "train", "frame_id"]
    missing = set(pool.ids) ^ set(order["frame_id"])
    wrong = sorted({*repeated, *of_test, *missing})
    return CheckOutcome(
        not wrong,
        f"{len(order):,} frames; {len(repeated)} twice, {len(of_test)} not of train patients, {len(missing)} missing or foreign"
        + (f" (first: {wrong[0]})" if wrong else ""),
    )


# ------------------------------------------------------------------------------------------------------------ subset


def prefix_is_kept(outlook: Outlook, cell: Cell) -> bool:
    """Whether a subset outlives a ranking that is about to be made again: the labels bought are kept as the pool grows."""
    step = outlook.planner.graph.steps[cell.asset]
    task, arm = step.where.task_settings, step.where.arm
    budget, seed = budget_and_seed(cell.partition)
    before = outlook.planner.receipts.current(Cell(f"{step.where.task}/{arm}/ranking", str(seed)))
    subset = outlook.planner.receipts.current(cell)
    if before is None or subset is None:
        return False
    if arm == ALL:  # in the order of a hash, whatever the budgets are
        return _pool_stays(outlook, step.where, before)
    if task.growth != "extend":
        return False
    if before.metrics["way"] != way_of(step.where) or _frames_change(outlook, before.read):
        return False
    kept = max((size for size in before.metrics["budgets"].values() if size <= before.metrics["frames"]), default=0)
    return subset.metrics["frames"] == budget_frames(budget, outlook.pool_size(step.where.task)) <= kept


def _pool_stays(outlook: Outlook, where: Where, ranking: Receipt) -> bool:
    """Whether the ranking knew the very pool that there will be."""
    asset = f"{where.task}/pool"
    batches = outlook.planner.archive.batches
    known = {Cell.parse(name).partition: digest for name, digest in ranking.digests_read.get(asset, {}).items()}
    held = {batch: receipt.digest for batch, receipt in outlook.planner.held(asset).items()}
    return known == held and not any(Cell(asset, batch) in outlook.pending for batch in batches)


def _frames_change(outlook: Outlook, read: Mapping[str, object]) -> bool:
    """Whether frames that the ranking knew are about to be decoded again."""
    batches = {Cell.parse(name).partition for name in read if Cell.parse(name).asset.endswith("/pool")}
    return any(Cell("frames", batch) in outlook.pending for batch in batches)


@step(
    "{task}/{arm}/subset",
    Partitions.GRID,
    reads={
        "ranking": seed_of("{task}/{arm}/ranking"),
        "frames": every("frames", optional=True, counts=False),  # for the UI alone
    },
    description=lambda where: (
        f"{where.task}, arm {where.arm}: the first frames of the ranking, as many as the budget buys."
    ),
    kinds=("parquet",),
    outlives=prefix_is_kept,
)
def subset(cell: CellContext, ranking: Value, frames: Frames) -> StepOutput:
    """The first frames of the ranking, as many as the budget buys."""
    budget, seed = budget_and_seed(cell.partition)
    order = ranking.table("ranking")
    size = budget_frames(budget, len(order))
    if size > len(order):
        raise MissingArtefact(
            f"{cell.where.task}: budget {budget} is more than the {len(order)} frames of the pool; leave it out, or name a "
            "share ('80%')"
        )
    chosen = order.head(size)
    name = subset_id(chosen["frame_id"], chosen["pixel_digest"])
    metrics = {
        "subset_id": name,
        "budget": size,
        "seed": seed,
        "frames": size,
        "patients": int(chosen["patient_id"].nunique()),
        "clips": int(chosen["clip_id"].nunique()),
    }
    return StepOutput(
        {"subset": chosen[RANKED]},
        metrics=metrics,
        metadata={"first_frames": _to_look_at(order.head(min(size, LOOKED_AT)), frames, cell.where.task)},
        digest=name,
        unused=("frames",),
    )


def _to_look_at(first: pd.DataFrame, frames: Frames, task: str) -> pd.DataFrame:
    """The first frames as a table with a small picture of each, some tens of kilobytes in all; no part of what the cell holds."""
    from enrich_assets.report.gallery import Pictures

    def picture(frame_id: str) -> np.ndarray | None:
        try:
            return frames.picture(task, frame_id)
        except (KeyError, DamagedStore):
            return None

    pictures = Pictures(picture, side=PICTURE_SIDE, limit=PICTURE_BYTES)
    uris = [pictures.uri(frame_id) for frame_id in first["frame_id"]]
    columns = {
        "no": range(1, len(first) + 1),
        "picture": ["" if uri is None else f"![]({uri})" for uri in uris],
        **{name: first[name] for name in ("frame_id", "patient_id", "clip_id")},
        "similarity_to_chosen": [
            "start" if np.isnan(value) else f"{value:.3f}" for value in first["similarity_to_chosen"]
        ],
    }
    return pd.DataFrame(columns)
