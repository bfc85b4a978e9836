"""How alike the frames of a task's pool are: pool, panels, and their sum. No label is looked at here, but in checks."""

from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Panels, Pool, Vectors
from enrich_assets.archive.frames import Frames, Split, ViewOfFrames
from enrich_assets.archive.labels import LabelPresence, Labels
from enrich_assets.archive.values import Plain, Value
from enrich_assets.core.partitions import Partitions
from enrich_assets.core.reads import Read, earlier, every, part, same, up_to
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
    from enrich_assets.method.pairs.panel import PairLists
    from enrich_assets.method.pairs.sampled import estimate_redundancy
    from enrich_assets.method.pairs.similarity import all_pairs

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
    with cell.progress("all pairs", "rows") as advance:
        panel = all_pairs(
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
    shares = {f"share_over_{k}": _share_over(table, "all", k) for k in THRESHOLDS}
    metrics = {
        **shares,
        "frames": len(pool),
        "pairs": int(table.loc[table["relation"] == "all", "pairs"].sum()),
        "near_duplicates": len(near) + left_out,
        "near_duplicates_listed": len(near),
        "is_estimate": bool(table["is_estimate"].any()),
    }
    png = redundancy_png(table.assign(task=cell.where.task))
    by_relation = pd.DataFrame(
        [
            {"relation": relation, **{f"> {k}": f"{_share_over(table, relation, k):.2%}" for k in THRESHOLDS}}
            for relation in table["relation"].unique()
        ]
    )
    return StepOutput(
        tables={"redundancy": table, "neighbours": neighbours, "near_duplicates": near},
        notes={"redundancy.png": png},
        metrics=metrics,
        metadata={"figure_1": Picture(png, "figure 1"), "share_of_pairs": by_relation},
    )


def _share_over(table: pd.DataFrame, relation: str, threshold: float) -> float:
    rows = table[table["relation"] == relation]
    return float(rows.loc[rows["lower"] >= threshold - 1e-9, "pairs"].sum() / max(rows["pairs"].sum(), 1))


WHOLE_ARCHIVE: dict[str, Read] = {
    "redundancy": same("{task}/redundancy/{embedding}"),
    "pool": every("{task}/pool"),
    "vectors": every("embeddings/{embedding}"),
    "frames": every("frames"),
    "split": every("split"),
    "presence": every("label_presence"),
}


@check(
    "{task}/redundancy/{embedding}",
    reads=WHOLE_ARCHIVE,
    settings=lambda where: {
        "near_duplicate": where.profile.similarity.near_duplicate,
        "max_pairs": where.profile.similarity.max_pairs,
    },
)
def near_duplicates_across_split(
    cell: CellContext,
    redundancy: Value,
    pool: Pool,
    vectors: Vectors,
    frames: Frames,
    split: Split,
    presence: LabelPresence,
) -> CheckOutcome:
    """No frame of a test patient is nearly the same picture as a frame of the pool."""
    from enrich_assets.method.embeddings.fixed_point import SCALE
    from enrich_assets.method.ranking.worklist import greatest_similarity

    threshold = cell.settings["near_duplicate"]
    test = _test_frames(frames.with_sides(split), presence.frames(cell.where.task))
    most = max(1, cell.settings["max_pairs"] // max(len(pool), 1))
    compared = test.iloc[np.linspace(0, len(test) - 1, min(len(test), most)).astype(int)].reset_index(drop=True)
    nearest, products = greatest_similarity(vectors.of(compared), vectors.of(pool.frames))
    near = np.flatnonzero(products >= threshold * SCALE**2)
    pairs = pd.DataFrame(
        {
            "test_frame": compared["frame_id"].to_numpy()[near],
            "pool_frame": pool.ids[nearest[near]] if len(near) else [],
            "similarity": np.round(products[near] / SCALE**2, 4),
        }
    )
    of = f"{len(compared):,} test frames" + (f" (of {len(test):,}, evenly spaced)" if len(compared) < len(test) else "")
    first = "; ".join(f"{p.test_frame} ~ {p.pool_frame} ({p.similarity})" for p in pairs.head(5).itertuples())
    return CheckOutcome(
        pairs.empty,
        f"{len(pairs):,} of {of} at or above {threshold} to a pool frame"
        + (f": {first}; scores on them flatter the model" if len(pairs) else ""),
        pairs.head(100),
    )


def _test_frames(frames: pd.DataFrame, labelled: set[str]) -> pd.DataFrame:
    """Frames of test patients that the task has labels for; all of them, where none has."""
    test = frames[frames["split"] == "test"]
    has_label = test["frame_id"].isin(labelled)
    return test[has_label] if has_label.any() else test


def task_labels(where: Where, labels: Labels, redundancy: Value) -> Plain:
    """The labels of the frames that stand among near-duplicates: only these can make the check stale."""
    pairs = redundancy.table("near_duplicates")
    frames = {*pairs["frame_id"], *pairs["other_id"]} if len(pairs) else set()
    table = labels.of_task(where.task)
    table = table[table["frame_id"].isin(frames)].drop_duplicates("frame_id").dropna(subset="label")
    return Plain(dict(sorted(zip(table["frame_id"], table["label"], strict=True))))


@check(
    "{task}/redundancy/{embedding}",
    reads={
        "redundancy": same("{task}/redundancy/{embedding}"),
        "labels": part(every("labels"), task_labels, of=("redundancy",)),
    },
)
def labels_agree(cell: CellContext, redundancy: Value, labels: Plain) -> CheckOutcome:
    """Near-duplicates have the same label."""
    pairs = redundancy.table("near_duplicates")
    wrong = pairs[labels_conflict(pairs, labels.value)] if len(pairs) else pairs
    first = "; ".join(
        f"{r.frame_id} ~ {r.other_id} ({r.similarity:.4f})" for r in wrong.head(5).itertuples(index=False)
    )
    return CheckOutcome(
        wrong.empty,
        f"{len(wrong):,} of {len(pairs):,} near-duplicate pairs carry different labels"
        + (f": {first}; look at them, one of each pair is likely wrong" if len(wrong) else ""),
        wrong.head(100),
    )


def labels_conflict(pairs: pd.DataFrame, labels: dict[str, str]) -> np.ndarray:
    """Whether both frames of a pair carry a label, and these differ.

    Parameters
    ----------
    pairs
        n rows; columns frame_id, other_id.
    labels
        Frame id -> class name.

    Returns
    -------
    (n,) bool
    """
    one, other = pairs["frame_id"].map(labels), pairs["other_id"].map(labels)
    return (one.notna() & other.notna() & (one.astype(object) != other.astype(object))).to_numpy()
