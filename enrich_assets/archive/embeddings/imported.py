"""Vectors made elsewhere, by `frame_id`: read from Parquet or npy, checked, and matched with the frames of a batch.

Parquet: a column `frame_id`, and either one column of lists (`vector`, `embedding`, or the only one there is) or a column per
dimension. npy: (n, d) floats, with the ids of their rows in a second file (`ids`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from enrich_assets.archive.embeddings.files import NamedFile, named_file
from enrich_assets.method.embeddings.fixed_point import MAX_DIMENSIONS
from enrich_assets.method.hyperparameters import ImportedEmbedding

if TYPE_CHECKING:
    from enrich_assets.archive.home import Archive

FRAME_ID = "frame_id"
LIST_COLUMNS = ("vector", "embedding")
NAMED = 5  # frames named in a message
MOST_FILES = 2  # kept in memory
ROWS = 8192  # made float64 at a time


class Unusable(ValueError):
    """What is wrong with a file of vectors, as the end of a sentence that begins with the file."""


@dataclass(frozen=True)
class ImportedVectors:
    """The vectors of the frames of a batch. The digest is of these alone: vectors added for other frames change nothing.

    Parameters
    ----------
    frame_ids : (n,) str
    vectors : (n, d) float
        In the order of the ids.
    n_others
        Vectors in the file for frames that are not of this batch.
    """

    frame_ids: np.ndarray
    vectors: np.ndarray
    n_others: int

    @cached_property
    def digest(self) -> str:
        """sha256 of ids and vectors (as float64, whatever the file holds), in hex."""
        digest = hashlib.sha256(f"{np.dtype(np.float64).str} {self.vectors.shape}\n".encode())
        digest.update("\n".join(map(str, self.frame_ids)).encode())
        for at in range(0, len(self.vectors), ROWS):
            digest.update(self.vectors[at : at + ROWS].astype(np.float64).tobytes())
        return digest.hexdigest()


def imported_vectors(archive: Archive, batch: str, name: str, frames: pd.DataFrame) -> ImportedVectors:
    """Vectors of the frames of a batch.

    Parameters
    ----------
    batch, name
        Of the batch and the embedding.
    frames
        Of the batch; column `frame_id`.

    Raises
    ------
    MissingArtefact
        For a file that cannot be used, and for frames without a vector: with the first of them, and how many there are.
    """
    settings = archive.profile.embeddings[name]
    assert isinstance(settings, ImportedEmbedding)
    setting = f"embeddings.{name}.imported"
    file = named_file(archive, settings.imported, setting)
    ids = None if settings.ids is None else named_file(archive, settings.ids, f"embeddings.{name}.ids")
    try:
        table = _vectors(file, ids, settings.dimensions)
    except Unusable as why:
        raise file.unusable(str(why)) from why
    wanted = frames[FRAME_ID].to_numpy()
    rows = table.rows.reindex(wanted)
    missing = wanted[rows.isna().to_numpy()]
    if len(missing):
        raise file.unusable(
            f"has no vector for {len(missing):,} of the {len(wanted):,} frames of batch {batch} ({_first(missing)}); add them, "
            "and `enrich run` goes on"
        )
    at = rows.to_numpy().astype(np.int64)
    return ImportedVectors(wanted, table.vectors[at], len(table.rows) - len(at))


@dataclass(frozen=True)
class _Table:
    rows: pd.Series  # frame_id -> row
    vectors: np.ndarray  # (n, d) of the floats that the file holds, float64 where it holds integers


def _vectors(file: NamedFile, ids: NamedFile | None, dimensions: int | None) -> _Table:
    return _checked(file, ids, dimensions, "" if ids is None else ids.stamp)


@lru_cache(maxsize=MOST_FILES)
def _checked(file: NamedFile, ids: NamedFile | None, dimensions: int | None, stamp: str) -> _Table:
    """Ids and vectors of a file. Raises Unusable, naming the first frames concerned."""
    content, name = file.read(), file.url.lower()
    if name.endswith((".parquet", ".pq")):
        names, vectors = _parquet(content)
    elif name.endswith(".npy"):
        names, vectors = _npy(content, ids)
    else:
        raise Unusable("is neither .parquet nor .npy")
    if vectors.shape[1] > MAX_DIMENSIONS:
        raise Unusable(f"has {vectors.shape[1]:,} dimensions, at most {MAX_DIMENSIONS:,} are exact: reduce them first")
    if dimensions is not None and vectors.shape[1] != dimensions:
        raise Unusable(f"has vectors of {vectors.shape[1]:,} dimensions, `dimensions` says {dimensions:,}")
    repeated = pd.unique(names[pd.Series(names).duplicated().to_numpy()])
    if len(repeated):
        raise Unusable(f"has more than one vector for {len(repeated):,} frames ({_first(repeated)}): keep one of each")
    for wrong, what in (
        (~np.isfinite(vectors).all(axis=1), "are not finite (NaN or infinite)"),
        (~vectors.any(axis=1), "are zero and have no direction"),
    ):
        if wrong.any():
            raise Unusable(
                f"has {int(wrong.sum()):,} vectors that {what} ({_first(names[wrong])}): embed these frames again, or leave them out"
            )
    return _Table(pd.Series(np.arange(len(names)), index=names), vectors)


def _parquet(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow as pa

    from enrich_assets.parquet import arrow_table

    try:
        table = arrow_table(content)
    except (pa.ArrowException, OSError) as error:
        raise Unusable(f"is no Parquet file that can be read ({' '.join(str(error).split())[:120]})") from error
    if FRAME_ID not in table.column_names:
        raise Unusable(f"has no column {FRAME_ID}; columns: {', '.join(table.column_names[:10])}")
    names = np.asarray(table[FRAME_ID].to_pylist(), dtype=object)
    if any(name is None for name in names):
        raise Unusable(f"has rows without a {FRAME_ID}")
    names = np.asarray([str(name) for name in names], dtype=object)
    others = [name for name in table.column_names if name != FRAME_ID]
    lists = [n for n in others if pa.types.is_nested(table.schema.field(n).type)]
    if not lists:
        return names, _columns(table, others)
    chosen = next((name for name in LIST_COLUMNS if name in lists), lists[0])
    if len(lists) > 1 and chosen not in LIST_COLUMNS:
        raise Unusable(f"has {len(lists)} columns of lists ({', '.join(lists)}); call the one of the vectors `vector`")
    return names, _of_lists(names, table[chosen])


def _columns(table: Any, names: Sequence[str]) -> np.ndarray:
    import pyarrow as pa

    if not names:
        raise Unusable(f"has no column beside {FRAME_ID}")
    words = [
        n
        for n in names
        if not (pa.types.is_floating(table.schema.field(n).type) or pa.types.is_integer(table.schema.field(n).type))
    ]
    if words:
        raise Unusable(
            f"has columns that are no numbers ({', '.join(words[:NAMED])}): keep {FRAME_ID} and the dimensions"
        )
    single = all(table.schema.field(n).type == pa.float32() for n in names)
    vectors = np.empty((len(table), len(names)), np.float32 if single else np.float64)
    for at, name in enumerate(names):
        vectors[:, at] = table[name].to_numpy()
    return vectors


def _of_lists(names: np.ndarray, column: Any) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy()
    except pa.ArrowException as error:
        raise Unusable(f"has vectors that are no lists ({error})") from error
    if not len(lengths):
        return np.empty((0, 0))
    usual = int(np.bincount(lengths[lengths >= 0]).argmax()) if (lengths >= 0).any() else 0
    odd = lengths != usual
    if odd.any() or not usual:
        raise Unusable(
            f"has {int(odd.sum()):,} vectors of another dimension than the usual {usual:,} ({_first(names[odd])}): "
            "all must be made by the same network"
        )
    try:
        values = pc.list_flatten(column)
        if not pa.types.is_floating(values.type):
            values = values.cast(pa.float64())
    except pa.ArrowException as error:
        raise Unusable(f"has vectors that are no numbers ({error})") from error
    return np.asarray(values.to_numpy()).reshape(len(names), usual)  # a value that is missing is NaN


def _npy(content: bytes, ids: NamedFile | None) -> tuple[np.ndarray, np.ndarray]:
    vectors = _array(content, "")
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise Unusable(f"holds {vectors.dtype} {vectors.shape}, not (n, d) numbers")
    if ids is None:
        raise Unusable(
            "does not say which row is of which frame: name a file of their ids under `ids`, a frame_id a line"
        )
    if ids.url.lower().endswith(".npy"):
        names = np.asarray([str(name) for name in _array(ids.read(), f"{ids.url} ").ravel()], dtype=object)
    else:
        try:
            names = np.asarray(ids.read().decode("utf-8").split("\n"), dtype=object)
        except UnicodeDecodeError as error:
            raise Unusable(f"has ids that are no text ({ids.url})") from error
        names = np.asarray([line.rstrip("\r") for line in names if line.strip()], dtype=object)
    if len(names) != len(vectors):
        raise Unusable(f"has {len(vectors):,} rows, but {ids.url} has {len(names):,} ids")
    return names, vectors if vectors.dtype.kind == "f" else vectors.astype(np.float64)


def _array(content: bytes, which: str) -> np.ndarray:
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise Unusable(f"{which}is no npy file that can be read ({' '.join(str(error).split())[:120]})") from error


def _first(names: Sequence[Any] | np.ndarray) -> str:
    more = ", ..." if len(names) > NAMED else ""
    return "first: " + ", ".join(map(str, names[:NAMED])) + more
