"""Labels that came after the studies did: an append-only log. Nothing is overwritten; the latest word on a frame is current."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd

from enrich_assets.store.folder import Folder
from enrich_assets.store.receipts import digest_of, now

COLUMNS = ("frame_id", "task", "label", "mask_row", "entry", "source", "author", "recorded_at", "imported_at")


class Annotations:
    """Entries `annotations/<time>-<digest>.parquet`, with their masks beside as `.npz`."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def add(self, task: str, table: pd.DataFrame, masks: Sequence[np.ndarray] | None = None) -> str:
        """Append labels as one entry.

        Parameters
        ----------
        task
            What they are labels for.
        table
            Columns frame_id, label, source, author, recorded_at.
        masks : sequence of (h, w) uint8, optional
            One per row, of any sizes; None for classes.

        Returns
        -------
        str
            Name of the entry.
        """
        imported_at = now()
        entry = f"{imported_at.replace(':', '')}-{digest_of(table.to_json())[:8]}"
        table = table.assign(task=task, entry=entry, imported_at=imported_at)
        table = table.assign(mask_row=np.arange(len(table)) if masks is not None else -1)
        if masks is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, *masks)
            self.folder.write(f"annotations/{entry}.npz", buffer.getvalue())
        buffer = io.BytesIO()
        table[list(COLUMNS)].to_parquet(buffer, index=False)
        self.folder.write(f"annotations/{entry}.parquet", buffer.getvalue())
        return entry

    def all(self) -> pd.DataFrame:
        """Every label ever imported, oldest first; columns `COLUMNS`."""
        tables = [
            pd.read_parquet(io.BytesIO(self.folder.read(name)), use_threads=False)
            for name in self.folder.files("annotations", ".parquet")
        ]
        tables = [table for table in tables if len(table)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))

    def mask(self, entry: str, row: int) -> np.ndarray:
        """The mask of a row of an entry.

        Parameters
        ----------
        entry, row
            As the columns `entry` and `mask_row` have it.

        Returns
        -------
        (h, w) uint8
            Class indices.
        """
        with np.load(io.BytesIO(self.folder.read(f"annotations/{entry}.npz")), allow_pickle=False) as masks:
            return masks[f"arr_{row}"]
