"""The whole archive compared with itself, train and test, labelled or not: its redundancy, and what leaks across the split."""

from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Panels, Vectors
from enrich_assets.archive.frames import Split, ViewOfFrames
from enrich_assets.archive.labels import Labels
from enrich_assets.archive.tables.leaks import find_leaks
from enrich_assets.archive.values import Plain, Value
from enrich_assets.core.partitions import Partitions
from enrich_assets.core.reads import every, part, same, up_to
from enrich_assets.core.step import CellContext, CheckOutcome, Picture, StepOutput, check, step
from enrich_assets.core.where import Where
from enrich_assets.defs.assets.embedding import similarity_view
from enrich_assets.defs.automation import by_batch, summary
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.panels import ARCHIVE, ESTIMATE, WHOLES, estimated_table, redundancy_tables

GROUP = "archive"
CHECKED_FRAMES = 8


def sides_of_patients(where: Where, split: Split) -> Plain:
    """Patient -> side: how it was decided makes no panel stale."""
    return Plain(dict(sorted(split.sides.items())))


def similarity_settings(where: Where) -> dict[str, Any]:
    """What of the profile a panel of the whole archive depends on: it lists no neighbours and keeps no matrix."""
    names = {"near_duplicate", "max_near_duplicates", "max_pairs", "sampled_pairs"}
    return where.profile.similarity.model_dump(mode="json", include=names)


def codes_of(frames: pd.DataFrame, sides: Plain) -> dict[str, np.ndarray]:
    """Clip, patient and side of each frame, as `all_pairs` takes them: (n,) int64 each."""
    codes = {f"{name}s": pd.factorize(frames[f"{name}_id"])[0].astype(np.int64) for name in ("clip", "patient")}
    return {**codes, "sides": (frames["patient_id"].map(sides.value) == "test").to_numpy(np.int64)}


def by_default_embedding(where: Where) -> bool:
    """The whole archive is compared once, by the first embedding of the profile."""
    return where.embedding == where.profile.default_embedding


# -------------------------------------------------------------------------------------------------------- similarity


@step(
    "archive/similarity/{embedding}",
    Partitions.BATCH,
    only=by_default_embedding,
    reads={
        "frames": part(up_to("frames"), similarity_view),
        "split": part(up_to("split"), sides_of_patients),
        "vectors": up_to("embeddings/{embedding}"),
    },
    settings=similarity_settings,
    holds=Panels,
    group=GROUP,
    kinds=("numba", "numpy"),
    automation=by_batch(),
    pool="gpu",
)
def archive_similarity(cell: CellContext, frames: ViewOfFrames, split: Plain, vectors: Vectors) -> StepOutput:
    """The whole archive's panel: all frames of this batch against all frames so far, counted by relation and sides of the split."""
    from enrich_assets.method.pairs.blocks import PAIRS_OF_A_PART, panel_in_blocks
    from enrich_assets.method.pairs.panel import PairLists
    from enrich_assets.method.pairs.sampled import estimate_redundancy

    table, settings = frames.table, cell.settings
    codes, of_frames = codes_of(table, split), vectors.of(table)
    new = int((table["batch"] == cell.partition).sum())
    n_earlier = len(table) - new
    n_pairs = new * n_earlier + new * (new - 1) // 2
    metrics: dict[str, Any] = {"frames": new, "frames_before": n_earlier, "pairs": n_pairs}
    if n_pairs > settings["max_pairs"]:
        estimate = estimate_redundancy(
            of_frames, codes["clips"], codes["patients"], settings["sampled_pairs"], seed=0, n_earlier=n_earlier
        )
        return StepOutput({ESTIMATE: estimate}, metrics={**metrics, "is_estimate": True})
    lists = PairLists(0, settings["near_duplicate"], settings["max_near_duplicates"], between_patients=True)
    with cell.progress("all pairs", "pairs") as advance:
        panel = panel_in_blocks(
            of_frames,
            clips=codes["clips"],
            patients=codes["patients"],
            sides=codes["sides"],
            n_earlier=n_earlier,
            lists=lists,
            device=cell.device,
            progress=advance,
            resume=cell.checkpoint() if n_pairs > PAIRS_OF_A_PART else None,
            save=cell.save_checkpoint,
            spread=cell.spread,
        )
    metrics |= {
        "is_estimate": False,
        "near_duplicates_between_patients": int(len(panel.near_duplicates) + panel.near_duplicates_left_out),
    }
    return StepOutput(arrays={f"panel/{name}": array for name, array in panel.arrays().items()}, metrics=metrics)


@check(
    "archive/similarity/{embedding}",
    Partitions.BATCH,
    only=by_default_embedding,
    reads={
        "panel": same("archive/similarity/{embedding}"),
        "frames": part(up_to("frames"), similarity_view),
        "vectors": up_to("embeddings/{embedding}"),
    },
    blocking=True,
)
def archive_panel_is_whole(cell: CellContext, panel: Panels, frames: ViewOfFrames, vectors: Vectors) -> CheckOutcome:
    """As many pairs as there are frames for, and the near-duplicates of a few frames as plain arithmetic finds them."""
    table = frames.table
    new = int((table["batch"] == cell.partition).sum())
    n_pairs = new * (len(table) - new) + new * (new - 1) // 2
    if panel.are_estimated:
        return CheckOutcome(True, f"estimated from a sample of {n_pairs:,} pairs")
    total = panel.total()
    counted = 0 if total is None or total.by_sides is None else int(total.by_sides.sum())
    wrong = _wrongly_listed(total, vectors.of(table), table) if total is not None and counted == n_pairs else []
    ids = table["frame_id"].to_numpy()
    return CheckOutcome(
        counted == n_pairs and not wrong,
        f"{counted:,} of {n_pairs:,} pairs counted"
        + (f"; near-duplicates of {', '.join(ids[wrong[:3]])} are not those that there are" if wrong else ""),
    )


def _wrongly_listed(panel: Any, vectors: np.ndarray, table: pd.DataFrame) -> list[int]:
    """Of a few frames of the batch: those that have more or fewer near-duplicates of other patients than are listed."""
    new = np.arange(panel.n_earlier, panel.n)
    if panel.near_duplicates_left_out or not len(new):  # not all are listed
        return []
    patients = table["patient_id"].to_numpy()
    frames = new[np.linspace(0, len(new) - 1, min(CHECKED_FRAMES, len(new))).astype(int)]
    listed = np.bincount(panel.near_duplicates.ravel(), minlength=panel.n)
    near = vectors[frames].astype(np.int64) @ vectors.astype(np.int64).T >= panel.near_duplicate
    near &= patients[frames][:, None] != patients[None, :]
    return [int(f) for f, count in zip(frames, near.sum(axis=1), strict=True) if listed[f] != count]


# -------------------------------------------------------------------------------------------------------- redundancy


@step(
    "archive/redundancy/{embedding}",
    only=by_default_embedding,
    reads={
        "panels": every("archive/similarity/{embedding}", current=True),
        "frames": part(every("frames"), similarity_view),
        "split": part(every("split"), sides_of_patients),
        "vectors": every("embeddings/{embedding}", counts=False),
    },
    settings=lambda where: {"sampled_pairs": where.profile.similarity.sampled_pairs},
    group=GROUP,
    kinds=("parquet",),
    automation=summary(),
)
def archive_redundancy(
    cell: CellContext, panels: Panels, frames: ViewOfFrames, split: Plain, vectors: Vectors
) -> StepOutput:
    """How much of the archive, and of all its train frames, is nearly the same picture, labelled or not. Figure 1."""
    from enrich_assets.defs.assets.similarity import shares_by_relation, shares_over
    from enrich_assets.report.figures import redundancy_png

    total = panels.total()
    tables = _estimates(cell, frames.table, split, vectors) if total is None else redundancy_tables(total)
    whole, train = (tables[name] for name in WHOLES)
    png = redundancy_png(whole)
    table = pd.concat([one.assign(whole=name) for name, one in tables.items()], ignore_index=True)
    return StepOutput(
        tables={"redundancy": table},
        notes={"redundancy.png": png},
        metrics={
            **shares_over(whole),
            **{f"train_{name}": share for name, share in shares_over(train).items()},
            "frames": len(frames.table),
            "pairs": int(whole.loc[whole["relation"] == "all", "pairs"].sum()),
            "is_estimate": bool(whole["is_estimate"].any()),
        },
        metadata={"figure_1": Picture(png, "figure 1"), "share_of_pairs": shares_by_relation(whole)},
    )


def _estimates(cell: CellContext, frames: pd.DataFrame, split: Plain, vectors: Vectors) -> dict[str, pd.DataFrame]:
    from enrich_assets.method.pairs.sampled import estimate_redundancy

    tables = {}
    for name in WHOLES:
        members = frames if name == ARCHIVE else frames[frames["patient_id"].map(split.value) == name]
        codes = codes_of(members, split)
        sampled = estimate_redundancy(
            vectors.of(members), codes["clips"], codes["patients"], cell.settings["sampled_pairs"], seed=0
        )
        tables[name] = estimated_table(sampled)
    return tables


# ------------------------------------------------------------------------------------------------------------- leaks


def class_labels(where: Where, labels: Labels) -> Plain:
    """Task -> frame id -> class name, of every task whose labels are classes."""
    found = {}
    for task, settings in where.profile.tasks.items():
        if kind_of(settings.kind).answers == "class":
            table = labels.of_task(task).drop_duplicates("frame_id").dropna(subset="label")
            found[task] = dict(sorted(zip(table["frame_id"], table["label"].astype(str), strict=True)))
    return Plain(found)


@step(
    "leaks",
    reads={
        "panels": every("archive/similarity/{embedding}", current=True),
        "frames": part(every("frames"), similarity_view),
        "split": part(every("split"), sides_of_patients),
        "labels": part(every("labels"), class_labels),
        "vectors": every("embeddings/{embedding}"),
    },
    settings=lambda where: {
        "near_duplicate": where.profile.similarity.near_duplicate,
        "most": where.profile.similarity.max_near_duplicates,
    },
    group=GROUP,
    kinds=("numpy", "parquet"),
    automation=summary(),
)
def leaks(
    cell: CellContext, panels: Panels, frames: ViewOfFrames, split: Plain, labels: Plain, vectors: Vectors
) -> StepOutput:
    """Identical and nearly identical frames across the split, between patients, and under contradicting labels anywhere."""
    table = frames.table.assign(split=frames.table["patient_id"].map(split.value))
    found = find_leaks(table, vectors.of(table), panels.total(), labels.value, **cell.settings)
    worst = found.table.head(20)
    return StepOutput(
        {"leaks": found.table}, metrics=found.metrics, metadata={"worst": worst.round(4)} if len(worst) else {}
    )


@check("leaks", reads={"leaks": same("leaks")})
def near_duplicates_across_split(cell: CellContext, leaks: Value) -> CheckOutcome:
    """No frame of a test patient is nearly the same picture as a frame of a train patient, labelled or not."""
    metrics, table = leaks.metrics, leaks.table("leaks")
    across = table[table["across_split"]]
    if not metrics["all_pairs_known"]:
        return CheckOutcome(
            False,
            f"not all pairs were looked at, because there are more than similarity.max_pairs: {len(across):,} identical "
            "pictures across the split are known, others may be there",
            across.head(100),
        )
    at_least = "at least " if metrics["left_out"] else ""
    return CheckOutcome(
        across.empty,
        f"{metrics['across_split']:,} pairs of a train and a test frame are near-duplicates, of {at_least}"
        f"{metrics['test_frames']:,} test frames"
        + (f": {_first(across)}; scores on them flatter the model" if len(across) else ""),
        across.head(100),
    )


@check("leaks", reads={"leaks": same("leaks")})
def labels_agree(cell: CellContext, leaks: Value) -> CheckOutcome:
    """Near-duplicates have the same label, wherever they stand."""
    table = leaks.table("leaks")
    wrong = table[table["labels_conflict"].fillna(False).astype(bool)]
    return CheckOutcome(
        wrong.empty,
        f"{len(wrong):,} pairs of near-duplicates carry different labels"
        + (f": {_first(wrong)}; look at them, one of each pair is likely wrong" if len(wrong) else ""),
        wrong.head(100),
    )


@check("leaks", reads={"leaks": same("leaks")})
def patients_differ(cell: CellContext, leaks: Value) -> CheckOutcome:
    """No picture stands under two patients: where one does, they are probably one patient under two ids."""
    table = leaks.table("leaks")
    same_picture = table[table["identical_pixels"] & (table["relation"] == "between patients")]
    ends = np.sort(same_picture[["patient_id", "other_patient_id"]].to_numpy(dtype=str), axis=1)
    patients = np.unique(ends, axis=0)
    return CheckOutcome(
        same_picture.empty,
        f"{len(same_picture):,} pairs of identical pictures of different patients, of {len(patients):,} pairs of patients"
        + (f": {_first(same_picture)}; are they one patient under two ids?" if len(same_picture) else ""),
        same_picture.head(100),
    )


def _first(pairs: pd.DataFrame) -> str:
    return "; ".join(f"{r.frame_id} ~ {r.other_id} ({r.similarity:.4f})" for r in pairs.head(5).itertuples(index=False))
