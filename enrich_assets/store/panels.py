"""Panels as they are kept, and the tables that follow from them: redundancy, neighbours, near-duplicates.

What a panel is: `method/pairs/panel.py`. Positions in a panel are rows of the task's pool, batch after batch;
of the archive's panel those of all frames.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.method.pairs.panel import BIN_EDGES, NO_NEIGHBOUR, RELATIONS, SIDE_PAIRS, Panel
from enrich_assets.store.artefacts import Draft, Store
from enrich_assets.store.receipts import Receipt

ALL_PAIRS = "all"
ARCHIVE, TRAIN, POOL = (
    "archive",
    "train",
    "pool",
)  # wholes: all frames, all train frames, the frames a task may choose from
WHOLES = (ARCHIVE, TRAIN)  # those that the archive's panels count
ESTIMATE = "estimate"  # the table that stands in place of a panel where its pairs were sampled
REDUNDANCY_COLUMNS = ["relation", "lower", "upper", "pairs", "share", "is_estimate", "ci_low", "ci_high"]
MATRIX_CHUNK = 1024
MATRIX = "matrix.zarr"


def read_panel(store: Store, receipt: Receipt) -> Panel:
    """The panel of a batch, as the step `similarity` wrote it.

    Raises
    ------
    DamagedStore
        If one of its files is gone or changed.
    """
    names = [name.removeprefix("panel/").removesuffix(".npy") for name in receipt.files if name.startswith("panel/")]
    return Panel.from_arrays({name: np.asarray(store.array(receipt, f"panel/{name}")) for name in names})


def redundancy_table(panel: Panel) -> pd.DataFrame:
    """Pairs per bin of similarity, for all pairs and for each relation.

    Parameters
    ----------
    panel : Panel
        Of one batch, or the sum of all batches for the whole pool; every pair was counted.

    Returns
    -------
    pandas.DataFrame
        A row per relation and bin, columns `REDUNDANCY_COLUMNS`. `share` is of the pairs of the relation and sums to
        1 over its bins (to 0 where it has no pair).
    """
    return _table_of(panel.histograms)


def redundancy_tables(panel: Panel) -> dict[str, pd.DataFrame]:
    """Each whole that a panel of the archive counts -> its table, as `redundancy_table`: all frames, and all train frames.

    Raises
    ------
    ValueError
        For a panel that does not count by the sides of the split.
    """
    if panel.by_sides is None:
        raise ValueError("a panel of a task's pool holds no other whole than the pool")
    train = panel.by_sides[SIDE_PAIRS.index("train-train")]
    return {ARCHIVE: _table_of(panel.histograms), TRAIN: _table_of(train)}


def _table_of(histograms: NDArray[np.int64]) -> pd.DataFrame:
    """A row per relation and bin, of (3, N_BINS) pairs."""
    rows = []
    for name, counts in ((ALL_PAIRS, histograms.sum(axis=0)), *zip(RELATIONS, histograms, strict=True)):
        share = counts / max(int(counts.sum()), 1)
        bins = {"relation": name, "lower": BIN_EDGES[:-1], "upper": BIN_EDGES[1:], "pairs": counts, "share": share}
        rows.append(pd.DataFrame({**bins, "is_estimate": False, "ci_low": np.nan, "ci_high": np.nan}))
    return pd.concat(rows, ignore_index=True)[REDUNDANCY_COLUMNS]


def estimated_table(estimate: pd.DataFrame) -> pd.DataFrame:
    """The same from sampled pairs (`method.pairs.sampled.estimate_redundancy`): pairs rounded, intervals kept."""
    return estimate.assign(pairs=estimate["pairs"].round().astype("int64"))[REDUNDANCY_COLUMNS]


def panel_redundancy(store: Store, receipt: Receipt) -> pd.DataFrame:
    """The tables of one batch: its pairs with itself and every earlier batch, counted or estimated.

    Parameters
    ----------
    store : Store
        Where the panel is kept.
    receipt : Receipt
        Of a cell `<task>/similarity/<embedding>` or `archive/similarity/<embedding>`.

    Returns
    -------
    pandas.DataFrame
        As `redundancy_table`, with a column `whole`: `pool`, or `archive` and, where pairs were counted, `train`.

    Raises
    ------
    DamagedStore
        If a file of the panel is gone or changed.
    """
    of_archive = receipt.asset.startswith(f"{ARCHIVE}/")
    if f"{ESTIMATE}.parquet" in receipt.files:
        return estimated_table(store.table(receipt, ESTIMATE)).assign(whole=ARCHIVE if of_archive else POOL)
    panel = read_panel(store, receipt)
    tables = redundancy_tables(panel) if of_archive else {POOL: redundancy_table(panel)}
    return pd.concat([table.assign(whole=whole) for whole, table in tables.items()], ignore_index=True)


def relation_of(
    one: NDArray[np.integer], other: NDArray[np.integer], clips: NDArray[np.int64], patients: NDArray[np.int64]
) -> NDArray[np.object_]:
    """How each pair of frames is related.

    Parameters
    ----------
    one, other : (m,) int
        Positions in the pool.
    clips, patients : (n,) int64
        Which clip and patient each frame of the pool is of.

    Returns
    -------
    (m,) object
        Names out of `RELATIONS`.
    """
    return np.array(RELATIONS, dtype=object)[_relation_codes(one, other, clips, patients)]


def _relation_codes(
    one: NDArray[np.integer], other: NDArray[np.integer], clips: NDArray[np.int64], patients: NDArray[np.int64]
) -> NDArray[np.int8]:
    same_patient = np.where(patients[one] == patients[other], np.int8(1), np.int8(2))
    return np.where(clips[one] == clips[other], np.int8(0), same_patient)


def neighbour_table(
    panel: Panel, pool: pd.DataFrame, clips: NDArray[np.int64], patients: NDArray[np.int64]
) -> pd.DataFrame:
    """Each frame's nearest frames, over all and, where those are all of its own clip, outside it.

    Parameters
    ----------
    panel
        The sum over all batches.
    pool
        Its n frames, with a column frame_id.
    clips, patients : (n,) int64
        Which clip and patient each frame is of.

    Returns
    -------
    pandas.DataFrame
        frame_id, rank (from 1 within the relation), neighbour_id, similarity (cosine), relation.
    """
    parts = []  # numbers as long as it goes: names are put in their place at the end, once
    for index, similarity in (
        (panel.neighbours, panel.cosines("neighbour_similarity")),
        (panel.outside_neighbours, panel.cosines("outside_similarity")),
    ):
        row, slot = np.nonzero(index != NO_NEIGHBOUR)
        parts.append((row.astype(np.int32), index[row, slot].astype(np.int32), similarity[row, slot]))
    frame, other, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
    del parts
    by_name = np.argsort(np.argsort(RELATIONS)).astype(np.int8)  # place of each relation in the alphabet
    relation = by_name[_relation_codes(frame, other, clips, patients)]
    order = np.lexsort((other, -cosine, relation, frame))
    frame, other, cosine, relation = frame[order], other[order], cosine[order], relation[order]
    del order
    once = np.ones(len(frame), bool)  # a frame of another clip may stand in both lists
    once[1:] = (frame[1:] != frame[:-1]) | (other[1:] != other[:-1])
    frame, other, cosine, relation = frame[once], other[once], cosine[once], relation[once]
    begins = np.ones(len(frame), bool)
    begins[1:] = (frame[1:] != frame[:-1]) | (relation[1:] != relation[:-1])
    at = np.arange(len(frame))
    rank = at - np.maximum.accumulate(np.where(begins, at, 0)) + 1
    ids = pool["frame_id"].array
    names = pd.array(sorted(RELATIONS), dtype=ids.dtype)
    columns = {
        "frame_id": ids.take(frame),
        "rank": rank,
        "neighbour_id": ids.take(other),
        "similarity": cosine,
        "relation": names.take(relation),
    }
    return pd.DataFrame(columns)


def near_duplicate_table(
    panel: Panel, pool: pd.DataFrame, clips: NDArray[np.int64], patients: NDArray[np.int64]
) -> pd.DataFrame:
    """Listed near-duplicate pairs; parameters as of `neighbour_table`.

    Returns
    -------
    pandas.DataFrame
        frame_id, other_id, similarity (cosine), relation.
    """
    ids = pool["frame_id"].to_numpy()
    one, other = (panel.near_duplicates[:, k].astype(np.int64) for k in (0, 1))
    return pd.DataFrame(
        {
            "frame_id": ids[one],
            "other_id": ids[other],
            "similarity": panel.cosines("near_duplicate_similarity"),
            "relation": relation_of(one, other, clips, patients),
        }
    )


def write_matrix(draft: Draft, embeddings: NDArray[np.int16], n_earlier: int, dtype: str) -> None:
    """The panel's matrix as a chunked Zarr array, written chunk by chunk.

    It lies beside the content: whether it is kept, and how, changes no digest.

    Parameters
    ----------
    draft
        Of the panel's cell.
    embeddings : (n, d) int16
        Fixed point: earlier batches, then this one.
    n_earlier
        Frames of earlier batches. The matrix has n - n_earlier rows (the batch) and n columns.
    dtype
        'int32' for exact products, 'float16' for cosines.
    """
    import zarr
    from zarr.storage import MemoryStore

    from enrich_assets.method.pairs.similarity import matrix_blocks

    memory = MemoryStore()
    shape = (len(embeddings) - n_earlier, len(embeddings))
    array = zarr.create_array(memory, shape=shape, chunks=(MATRIX_CHUNK, MATRIX_CHUNK), dtype=dtype)
    written: set[str] = set()

    def flush() -> None:
        for name in sorted(set(memory._store_dict) - written):
            draft.write(f"{MATRIX}/{name}", memory._store_dict[name].to_bytes(), note=True)
            written.add(name)
            if name != "zarr.json":
                del memory._store_dict[name]

    for rows, columns, block in matrix_blocks(embeddings, n_earlier=n_earlier, block=MATRIX_CHUNK):
        array[rows, columns] = block if dtype == "int32" else (block / SCALE**2).astype(dtype)
        flush()


def open_matrix(store: Store, receipt: Receipt) -> object:
    """The panel's matrix, opened lazily: a Zarr array (frames of the batch, these and all earlier ones).

    Raises
    ------
    FileNotFoundError
        If it was not kept (`store_matrix`).
    """
    import zarr

    path = store.path(receipt, MATRIX)
    if f"{MATRIX}/zarr.json" not in {**receipt.files, **receipt.notes}:
        raise FileNotFoundError(
            f"{receipt.cell} kept no matrix: set similarity.store_matrix in the profile, and run again"
        )
    return zarr.open_array(store.folder.fs.unstrip_protocol(store.folder.path(path)), mode="r")
