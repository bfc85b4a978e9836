"""Frames as values: tables and pixels of decoded batches, kept in parts of about a thousand, one `.npy` per part and view.

A *view* is one way a frame is cut and sized: `similarity` (64x64) and one per task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from enrich_assets.archive.values import Value
from enrich_assets.store.receipts import DamagedStore, MissingArtefact, Receipt, digest_of

SIMILARITY = "similarity"
FRAME_COLUMNS = ("frame_id", "study_id", "clip_id", "patient_id", "batch", "frame_index", "path", "part", "row")


def embedding_view(embedding: str) -> str:
    """The view of a network that takes pictures of a size of its own. No task is called so: no name has two underscores."""
    return f"embedding__{embedding}"


def digest_column(view: str) -> str:
    """The column of the frame table that holds the pixel digests of a view."""
    return f"digest_{view}"


def frame_ids(clip_id: str, indices: Sequence[int]) -> list[str]:
    """Ids of frames of a clip; `clip_id` is "<study>/<clip>"."""
    return [f"{clip_id}/{index}" for index in indices]


class Split(Value):
    """Which side each patient stands on."""

    @cached_property
    def sides(self) -> pd.Series:
        """patient_id -> train or test; the side given when first seen holds."""
        if not self.receipts:
            return pd.Series(dtype="string")
        return self.table("split").drop_duplicates("patient_id").set_index("patient_id")["split"]

    def decided(self, patients: set[str]) -> dict[str, str]:
        """Sides of these patients, of those that were seen."""
        sides = self.sides
        return dict(sorted(sides[sides.index.isin(patients)].items()))


class Frames(Value):
    """Decoded frames of some batches."""

    @cached_property
    def frame_table(self) -> pd.DataFrame:
        """One row per frame (FRAME_COLUMNS and a digest per view), batch after batch, in the order of the manifest."""
        return self.table("frames") if self.receipts else pd.DataFrame(columns=list(FRAME_COLUMNS))

    @cached_property
    def clips(self) -> pd.DataFrame:
        """One row per clip: its file and digest, its size, where it was cut, what was removed from it."""
        return self.table("clips")

    def with_sides(self, split: Split) -> pd.DataFrame:
        """The frame table with a column `split` (train, test)."""
        if not self.receipts:
            return self.frame_table.assign(split=pd.Series(dtype="string"))
        return self.frame_table.merge(
            split.sides.rename("split").rename_axis("patient_id").reset_index(), on="patient_id", how="left"
        )

    def pixels(self, view: str, rows: pd.DataFrame) -> np.ndarray:
        """Pixels of some frames.

        Parameters
        ----------
        view
            `similarity`, or the name of a task.
        rows
            Of a frame table; columns batch, part, row.

        Returns
        -------
        (n, side, side) uint8
            Grey values, in the order of the rows; (0, 0, 0) for no rows.

        Raises
        ------
        DamagedStore
            If a stored file is gone or changed.
        """
        out: np.ndarray | None = None
        keys = rows[["batch", "part"]].reset_index(drop=True)
        position = rows["row"].to_numpy()
        for (batch, part), members in keys.groupby(["batch", "part"], sort=False).groups.items():
            stored = self.store.array(self._of(str(batch)), f"{view}/{part:04d}")
            at = np.asarray(members)
            if out is None:
                out = np.empty((len(rows), *stored.shape[1:]), np.uint8)
            out[at] = stored[position[at]]
        return out if out is not None else np.empty((0, 0, 0), np.uint8)

    def picture(self, view: str, frame_id: str) -> np.ndarray:
        """One frame by its name, (side, side) uint8: cheap however many frames there are.

        Raises
        ------
        KeyError
            For an unknown frame.
        DamagedStore
            If its file is gone or changed.
        """
        at = self._position.get_loc(frame_id)
        batch, part, row = (column[at] for column in self._places)
        return np.asarray(self.store.array(self._of(str(batch)), f"{view}/{part:04d}")[row])

    def in_view(self, view: str) -> ViewOfFrames:
        """All frames, as one view shows them; one object, so that its digest is computed once for a cell and its checks."""
        if view not in self._views:
            self._views[view] = ViewOfFrames(self.frame_table, view, self.pixels)
        return self._views[view]

    @cached_property
    def _views(self) -> dict[str, ViewOfFrames]:
        return {}

    def of(self, frames: pd.DataFrame, view: str) -> ViewOfFrames:
        """Some frames as a view shows them.

        Parameters
        ----------
        frames
            Named by a column `frame_id`; their order is kept.
        view
            `similarity`, or the name of a task.

        Raises
        ------
        DamagedStore
            For a frame that is no longer there.
        """
        at = self._position.get_indexer_for(frames["frame_id"])
        if (at < 0).any():
            known = frames["frame_id"].isin(self._position)
            gone = frames.loc[~known, "frame_id"].iloc[0]
            raise DamagedStore(f"frame {gone} is no longer in the archive: `enrich run` ranks again without it")
        return ViewOfFrames(self.frame_table.iloc[at].reset_index(drop=True), view, self.pixels)

    @cached_property
    def _position(self) -> pd.Index:
        """Where each frame stands in the table; kept, for thousands of models each ask for a few frames."""
        return pd.Index(self.frame_table["frame_id"])

    @cached_property
    def _places(self) -> tuple[np.ndarray, ...]:
        """Batch, part and row of each frame, as arrays: taking one row of a table of a million costs tens of milliseconds."""
        return tuple(self.frame_table[name].to_numpy() for name in ("batch", "part", "row"))

    def _of(self, batch: str) -> Receipt:
        return self.receipts[batch]


@dataclass(frozen=True)
class ViewOfFrames:
    """Some frames as one view shows them. The digest is of their names and pixels in this view, not of any other."""

    table: pd.DataFrame
    view: str
    _pixels: Callable[[str, pd.DataFrame], np.ndarray]

    @cached_property
    def digest(self) -> str:
        """Of frame, patient and clip ids, and of the pixels."""
        self._require_decoded()
        columns = ["frame_id", "patient_id", "clip_id"]
        return digest_of([self.table[c].tolist() for c in (*columns, digest_column(self.view))])

    @property
    def pixel_digests(self) -> pd.Series:
        """sha256 of each frame's pixels in this view, in hex."""
        self._require_decoded()
        return self.table[digest_column(self.view)]

    def _require_decoded(self) -> None:
        if len(self.table) and digest_column(self.view) not in self.table:
            raise MissingArtefact(
                f"the frames were decoded before pictures for {self.view.removeprefix(embedding_view(''))} were asked for: "
                "`enrich run` decodes them again"
            )

    def pixels(self, rows: pd.DataFrame | None = None) -> np.ndarray:
        """(n, side, side) uint8, of all or of some rows of `table`."""
        return self._pixels(self.view, self.table if rows is None else rows)
