"""Decoded frames, kept in parts of about a thousand: one table of frames, one `.npy` per part and view.

A *view* is one way a frame is cut and sized: `similarity` (64x64) and one per task.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from enrich_assets.store.artefacts import Store
from enrich_assets.store.receipts import Cell, Receipt

SIMILARITY = "similarity"
FRAME_COLUMNS = (
    "frame_id",
    "study_id",
    "clip_id",
    "patient_id",
    "batch",
    "frame_index",
    "path",
    "part",
    "row",
)


def digest_column(view: str) -> str:
    """The column of the frame table that holds the pixel digests of a view."""
    return f"digest_{view}"


class Frames:
    """Reads the frames of all batches. Tables and parts are immutable, so what was read is kept in memory."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._table = lru_cache(maxsize=64)(self._read_table)

    def receipt(self, batch: str) -> Receipt:
        return self.store.receipts.require(Cell("frames", batch))

    def table(self, batches: Iterable[str]) -> pd.DataFrame:
        """One row per frame, batch after batch, in the order of the manifest."""
        tables = [self._table(self.receipt(batch).digest, batch) for batch in batches]
        if not tables:
            return pd.DataFrame(columns=list(FRAME_COLUMNS))
        return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)

    def clips(self, batch: str) -> pd.DataFrame:
        return self.store.table(self.receipt(batch), "clips")

    def refused(self, batch: str) -> pd.DataFrame:
        return self.store.table(self.receipt(batch), "refused")

    def pixels(self, view: str, frames: pd.DataFrame) -> np.ndarray:
        """Pixels of the frames named by rows of `table`, in that order: (n, side, side) uint8."""
        out: np.ndarray | None = None
        keys = frames[["batch", "part"]].reset_index(drop=True)
        rows = frames["row"].to_numpy()
        for (batch, part), members in keys.groupby(["batch", "part"], sort=False).groups.items():
            stored = self.store.array(self.receipt(batch), f"{view}/{part:04d}")
            at = np.asarray(members)
            if out is None:
                out = np.empty((len(frames), *stored.shape[1:]), np.uint8)
            out[at] = stored[rows[at]]
        return out if out is not None else np.empty((0, 0, 0), np.uint8)

    def _read_table(self, digest: str, batch: str) -> pd.DataFrame:
        return self.store.table(self.receipt(batch), "frames")


def frame_ids(clip_id: str, indices: Sequence[int]) -> list[str]:
    """`clip_id` is "<study>/<clip>"."""
    return [f"{clip_id}/{index}" for index in indices]
