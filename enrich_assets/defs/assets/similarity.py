"""How alike the frames of a task's pool are: pool, panels, and their sum. No label is looked at here."""

from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Panels, Pool, Vectors
from enrich_assets.archive.frames import Frames, Split, ViewOfFrames
from enrich_assets.archive.labels import LabelPresence
from enrich_assets.archive.values import Plain
from enrich_assets.core.partitions import Partitions
from enrich_assets.core.reads import earlier, every, part, same, up_to
from enrich_assets.core.stages import Outlook
from enrich_assets.core.step import CellContext, CheckOutcome, Picture, StepOutput, check, step
from enrich_assets.core.where import Where
from enrich_assets.defs.automation import by_batch, summary
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.panels import near_duplicate_table, neighbour_table, write_matrix

THRESHOLDS = (0.5, 0.7, 0.9)
POOL_COLUMNS = ["frame_id", "patient_id", "study_id", "clip_id", "batch", "part", "row"]


# -------------------------------------------------------------------------------------------------------------- pool


def task_view(where: Where, frames: Frames) -> ViewOfFrames:
    """The frames as the task's models see them."""
    return frames.in_view(where.task)


def labelled_frames(where: Where, presence: LabelPresence) -> Plain:
    """Which frames carry a label of the task."""
    return presence.frames_of(where.task)


def any_label(where: Where, presence: LabelPresence) -> Plain:
    """Whether any frame carries a label of the task."""
    return presence.is_anywhere(where.task)


def any_label_stays(outlook: Outlook, where: Where, batches: set[str]) -> bool:
    """Whether `any_label` stays as it is when these batches are read."""
    return outlook.has_labels(where.task) == outlook.will_have_labels(where.task)


@step(
    "{task}/pool",
    Partitions.BATCH,
    reads={
        "frames": part(same("frames"), task_view),
        "split": same("split"),
        "labelled": part(same("label_presence"), labelled_frames),
        "any_labelled": part(
            every("label_presence", optional=True), any_label, stays=any_label_stays, of_receipts=True
        ),
    },
    settings=lambda where: {"needs_labels": kind_of(where.task_settings.kind).needs_labels_to_pool},
    holds=Pool,
    kinds=("parquet",),
    automation=by_batch(),
)
def pool(cell: CellContext, frames: ViewOfFrames, split: Split, labelled: Plain, any_labelled: Plain) -> StepOutput:
    """Train frames of the batch that the task may choose from. Where nothing is labelled yet: all train frames."""
    table = frames.table.assign(pixel_digest=frames.pixel_digests)
    chosen = table[table["patient_id"].map(split.sides) == "train"]
    with_label = set(labelled.value)
    # An archive without labels still has redundancy to measure and a worklist to draw up.
    if cell.settings["needs_labels"] or any_labelled.value:
        chosen = chosen[chosen["frame_id"].isin(with_label)]
    chosen = chosen[[*POOL_COLUMNS, "pixel_digest"]].reset_index(drop=True)
    metrics = {
        "frames": len(chosen),
        "labelled": int(chosen["frame_id"].isin(with_label).sum()),
        "patients": int(chosen["patient_id"].nunique()),
        "clips": int(chosen["clip_id"].nunique()),
    }
    return StepOutput({"pool": chosen}, metrics=metrics)


# -------------------------------------------------------------------------------------------------------- similarity


@step(
    "{task}/similarity/{embedding}",
    Partitions.BATCH,
    reads={
        "pool": up_to("{task}/pool"),
        "vectors": up_to("embeddings/{embedding}"),
        "before": earlier("{task}/similarity/{embedding}", optional=True, counts=False),
    },
    settings=lambda where: where.profile.similarity,
    holds=Panels,
    kinds=("numba", "numpy"),
    automation=by_batch(),
    pool="gpu",
)
def similarity(cell: CellContext, pool: Pool, vectors: Vectors, before: Panels) -> StepOutput:
    """The panel: similarity of this batch with itself and every earlier batch, all pairs, exactly."""
    from enrich_assets.method.pairs.blocks import PAIRS_OF_A_PART, panel_in_blocks
    from enrich_assets.method.pairs.panel import PairLists
    from enrich_assets.method.pairs.sampled import estimate_redundancy

    settings, of_pool = cell.settings, vectors.of(pool.frames)
    n_earlier = pool.n_before(cell.partition)
    new = len(pool) - n_earlier
    n_pairs = new * n_earlier + new * (new - 1) // 2
    metrics: dict[str, Any] = {"frames": new, "frames_before": n_earlier, "pairs": n_pairs}
    if settings.store_matrix:  # kept beside the content: it changes nothing that is made of the panel
        write_matrix(cell.draft, of_pool, n_earlier, settings.matrix_dtype)
    if n_pairs > settings.max_pairs:
        estimate = estimate_redundancy(
            of_pool, pool.clips, pool.patients, n_samples=settings.sampled_pairs, seed=0, n_earlier=n_earlier
        )
        return StepOutput({"estimate": estimate}, metrics={**metrics, "is_estimate": True})
    lists = PairLists(settings.neighbours, settings.near_duplicate, settings.max_near_duplicates)
    with cell.progress("all pairs", "pairs") as advance:
        panel = panel_in_blocks(
            of_pool,
            clips=pool.clips,
            patients=pool.patients,
            n_earlier=n_earlier,
            lists=lists,
            so_far=before.total_for(
                n_earlier, settings.neighbours
            ),  # spares a small batch most of its neighbour updates
            device=cell.device,
            progress=advance,
            resume=cell.checkpoint() if n_pairs > PAIRS_OF_A_PART else None,
            save=cell.save_checkpoint,
            spread=cell.spread,
        )
    metrics |= {
        "is_estimate": False,
        "near_duplicates": int(len(panel.near_duplicates) + panel.near_duplicates_left_out),
    }
    return StepOutput(arrays={f"panel/{name}": array for name, array in panel.arrays().items()}, metrics=metrics)


@check(
    "{task}/similarity/{embedding}",
    Partitions.BATCH,
    reads={
        "panel": same("{task}/similarity/{embedding}"),
        "pool": up_to("{task}/pool"),
        "vectors": up_to("embeddings/{embedding}"),
    },
    blocking=True,
)
def panel_is_whole(cell: CellContext, panel: Panels, pool: Pool, vectors: Vectors) -> CheckOutcome:
    """As many pairs as the pools allow, and the nearest neighbours of a few frames as plain arithmetic finds them."""
    new = len(pool) - pool.n_before(cell.partition)
    n_pairs = new * (len(pool) - new) + new * (new - 1) // 2
    if panel.are_estimated:
        return CheckOutcome(True, f"estimated from a sample of {n_pairs:,} pairs")
    total = panel.total()
    counted = int(total.histograms.sum()) if total is not None else 0
    wrong = _wrong_neighbours(total, vectors.of(pool.frames)) if counted == n_pairs else []
    ids = pool.ids
    return CheckOutcome(
        counted == n_pairs and not wrong,
        f"{counted:,} of {n_pairs:,} pairs counted"
        + (
            f"; {len(wrong)} frames have other nearest neighbours than listed: {', '.join(ids[wrong[:3]])}"
            if wrong
            else ""
        ),
    )


CHECKED_FRAMES = 8


def _wrong_neighbours(panel: Any, vectors: np.ndarray) -> list[int]:
    """Of a few frames of the batch: those whose greatest listed similarity is not the greatest there is."""
    new = np.arange(panel.n_earlier, panel.n)
    if panel.n_neighbours == 0 or panel.n < 2 or not len(new):
        return []
    frames = new[np.linspace(0, len(new) - 1, min(CHECKED_FRAMES, len(new))).astype(int)]
    products = vectors[frames].astype(np.int64) @ vectors.astype(np.int64).T
    products[np.arange(len(frames)), frames] = np.iinfo(np.int64).min
    return [
        int(f) for f, best in zip(frames, products.max(axis=1), strict=True) if panel.neighbour_similarity[f, 0] != best
    ]


# -------------------------------------------------------------------------------------------------------- redundancy


@step(
    "{task}/redundancy/{embedding}",
    reads={
        "panels": every("{task}/similarity/{embedding}", current=True),
        "pool": every("{task}/pool"),
        "vectors": every("embeddings/{embedding}", counts=False),
    },
    settings=lambda where: {"sampled_pairs": where.profile.similarity.sampled_pairs},
    kinds=("parquet",),
    automation=summary(),
)
def redundancy(cell: CellContext, panels: Panels, pool: Pool, vectors: Vectors) -> StepOutput:
    """Panels summed: how much of the pool is nearly the same picture. Figure 1."""
    from enrich_assets.method.pairs.sampled import estimate_redundancy
    from enrich_assets.report.figures import redundancy_png
    from enrich_assets.store.panels import estimated_table, redundancy_table

    total = panels.total()
    if total is None:
        n_samples = cell.settings["sampled_pairs"]
        sampled = estimate_redundancy(vectors.of(pool.frames), pool.clips, pool.patients, n_samples=n_samples, seed=0)
        table, neighbours, near, left_out = estimated_table(sampled), pd.DataFrame(), pd.DataFrame(), 0
    else:
        table = redundancy_table(total)
        neighbours = neighbour_table(total, pool.frames, pool.clips, pool.patients)
        near = near_duplicate_table(total, pool.frames, pool.clips, pool.patients)
        left_out = int(total.near_duplicates_left_out)
    metrics = {
        **shares_over(table),
        "frames": len(pool),
        "pairs": int(table.loc[table["relation"] == "all", "pairs"].sum()),
        "near_duplicates": len(near) + left_out,
        "near_duplicates_listed": len(near),
        "is_estimate": bool(table["is_estimate"].any()),
    }
    png = redundancy_png(table.assign(task=cell.where.task))
    return StepOutput(
        tables={"redundancy": table, "neighbours": neighbours, "near_duplicates": near},
        notes={"redundancy.png": png},
        metrics=metrics,
        metadata={"figure_1": Picture(png, "figure 1"), "share_of_pairs": shares_by_relation(table)},
    )


def shares_over(table: pd.DataFrame) -> dict[str, float]:
    """Shares of all pairs over each threshold, by name of the metric."""
    return {f"share_over_{k}": share_over(table, "all", k) for k in THRESHOLDS}


def shares_by_relation(table: pd.DataFrame) -> pd.DataFrame:
    """The same for each relation, for the UI."""
    return pd.DataFrame(
        [
            {"relation": relation, **{f"> {k}": f"{share_over(table, relation, k):.2%}" for k in THRESHOLDS}}
            for relation in table["relation"].unique()
        ]
    )


def share_over(table: pd.DataFrame, relation: str, threshold: float) -> float:
    """Share of a relation's pairs at or above a threshold."""
    rows = table[table["relation"] == relation]
    return float(rows.loc[rows["lower"] >= threshold - 1e-9, "pairs"].sum() / max(rows["pairs"].sum(), 1))
