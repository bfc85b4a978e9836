"""The table `leaks`: pairs of frames that should not be as alike as they are, the worst first. Mathematics: `method.pairs.leaks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from enrich_assets.archive.frames import SIMILARITY, digest_column
from enrich_assets.method.embeddings.fixed_point import to_cosine
from enrich_assets.method.pairs.leaks import UNLABELLED, contradicting_pairs, identical_pairs, products_of
from enrich_assets.method.pairs.panel import SIDE_PAIRS, Panel
from enrich_assets.store.panels import relation_of

COLUMNS = [
    "frame_id",
    "other_id",
    "patient_id",
    "other_patient_id",
    "split",
    "other_split",
    "similarity",
    "identical_pixels",
    "relation",
    "across_split",
    "labels_conflict",
    "task",
    "label",
    "other_label",
]
ACROSS = SIDE_PAIRS.index("train-test")


@dataclass(frozen=True)
class Leaks:
    """The table and its numbers: of all pairs there are, and of those that are listed."""

    table: pd.DataFrame
    metrics: dict[str, object]


def find_leaks(
    frames: pd.DataFrame,
    vectors: np.ndarray,
    total: Panel | None,
    labels: Mapping[str, Mapping[str, str]],
    *,
    near_duplicate: float,
    most: int,
) -> Leaks:
    """Near-duplicates across the split and between patients, and those of one patient with contradicting labels.

    Parameters
    ----------
    frames
        All n frames, batch after batch; columns frame_id, patient_id, clip_id, split and a digest of the 64x64 pixels.
    vectors : (n, d) int16
        Fixed point.
    total
        The sum of the archive's panels; None where they are estimates, so that only identical pictures are known.
    labels
        Task -> frame id -> class name.
    near_duplicate, most
        Cosine from which a pair counts, and how many are listed of each kind.
    """
    patients, clips = (pd.factorize(frames[name])[0].astype(np.int64) for name in ("patient_id", "clip_id"))
    pixels = pd.factorize(frames[digest_column(SIMILARITY)])[0]
    # Identical pictures are always listed, however many pairs are as near.
    found = [identical_pairs(pixels, patients)]
    if total is not None:
        found.append(total.near_duplicates)
    n_contradicting_left_out = 0
    for of_task in labels.values():
        codes = pd.Categorical(frames["frame_id"].map(of_task)).codes.astype(np.int64)  # -1 where there is none
        assert UNLABELLED == -1
        pairs, _, left_out = contradicting_pairs(vectors, patients, codes, near_duplicate, most)
        found.append(pairs)
        n_contradicting_left_out += left_out
    pairs = np.unique(np.concatenate(found), axis=0).astype(np.int64)
    table = _table(frames, pairs, vectors, labels)
    table["identical_pixels"] = pixels[pairs[:, 0]] == pixels[pairs[:, 1]]
    table["relation"] = relation_of(pairs[:, 0], pairs[:, 1], clips, patients)
    worst_first = ["across_split", "contradicts", "identical_pixels", "similarity", "frame_id", "other_id"]
    table = table.assign(contradicts=table["labels_conflict"].fillna(False).astype(bool))
    table = table.sort_values(worst_first, ascending=[False] * 4 + [True] * 2, ignore_index=True)
    return Leaks(table[COLUMNS], _metrics(table, total, n_contradicting_left_out))


def _table(
    frames: pd.DataFrame, pairs: np.ndarray, vectors: np.ndarray, labels: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """A row per pair: of two sides the train frame first, of one side the lower name, in whatever batches they came."""
    is_test, names = (frames["split"] == "test").to_numpy(), frames["frame_id"].to_numpy(dtype=str)
    of_sides = is_test[pairs[:, 0]] != is_test[pairs[:, 1]]
    swapped = np.where(of_sides, is_test[pairs[:, 0]], names[pairs[:, 0]] > names[pairs[:, 1]])
    one, other = np.where(swapped, pairs[:, 1], pairs[:, 0]), np.where(swapped, pairs[:, 0], pairs[:, 1])
    table = pd.DataFrame({"similarity": to_cosine(products_of(vectors, pairs))})
    for prefix, at in (("", one), ("other_", other)):
        rows = frames.iloc[at]
        table["frame_id" if not prefix else "other_id"] = rows["frame_id"].to_numpy()
        table[f"{prefix}patient_id"] = rows["patient_id"].to_numpy()
        table[f"{prefix}split"] = rows["split"].to_numpy()
    table["across_split"] = is_test[one] != is_test[other]
    return table.assign(**_labels_of(table, labels))


def _labels_of(table: pd.DataFrame, labels: Mapping[str, Mapping[str, str]]) -> dict[str, pd.Series]:
    """Whether labels contradict each other, in which tasks, and both labels: of the first such task, else of the first labelled."""
    empty = pd.Series(pd.NA, index=table.index, dtype="string")
    conflict, tasks = pd.Series(pd.NA, index=table.index, dtype="boolean"), empty.copy()
    columns = {"label": empty.copy(), "other_label": empty.copy()}
    for task, of_task in labels.items():
        one, other = (table[name].map(of_task).astype("string") for name in ("frame_id", "other_id"))
        both = one.notna() & other.notna()
        differ = both & (one != other).fillna(False)
        is_first = differ & ~conflict.fillna(False)
        is_unseen = columns["label"].isna() & columns["other_label"].isna() & conflict.isna()
        for column, given in zip(columns.values(), (one, other), strict=True):
            column[is_first | is_unseen] = given[is_first | is_unseen]
        tasks[differ] = tasks[differ].fillna("").str.cat([f", {task}"] * int(differ.sum())).str.removeprefix(", ")
        conflict = conflict.mask(both, conflict.fillna(False) | differ)
    return {"labels_conflict": conflict, "task": tasks, **columns}


def _metrics(table: pd.DataFrame, total: Panel | None, contradicting_left_out: int) -> dict[str, object]:
    across, contradicts = table["across_split"], table["contradicts"]
    between = table["relation"] == "between patients"
    near = total.near_by_sides if total is not None else None
    return {
        "pairs": len(table),
        "across_split": int(across.sum()) if near is None else int(near[ACROSS].sum()),
        "between_patients": int(between.sum()) if near is None else int(near[:, -1].sum()),
        "left_out": int(total.near_duplicates_left_out if total is not None else 0) + contradicting_left_out,
        "identical": int(table["identical_pixels"].sum()),
        "labels_conflict": int(contradicts.sum()),
        "test_frames": int(table.loc[across, "other_id"].nunique()),
        "all_pairs_known": total is not None,
    }
