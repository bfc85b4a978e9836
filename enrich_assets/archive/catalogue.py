"""What is in an archive now, read: the values of current receipts, for the command line, label import and people's own code.

Steps do not come here: what they read, they declare (`core.reads`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from enrich_assets.archive.curation import Pool, Vectors
from enrich_assets.archive.frames import Frames, Split
from enrich_assets.archive.home import Archive
from enrich_assets.archive.labels import Labels
from enrich_assets.archive.values import V
from enrich_assets.store.receipts import Cell


class Catalogue:
    """Reads an archive. `batches` are names; without them, all batches the archive works on.

    Raises
    ------
    MissingArtefact
        By each method, with what to do, where something was not made yet.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def frames(self, batches: Sequence[str] | None = None) -> Frames:
        """Decoded frames."""
        return self._batches(Frames, "frames", batches)

    def split(self, batches: Sequence[str] | None = None) -> Split:
        """Sides of the patients."""
        return self._batches(Split, "split", batches)

    def labels(self, batches: Sequence[str] | None = None) -> Labels:
        """Current labels of all tasks."""
        return self._batches(Labels, "labels", batches)

    def pool(self, task: str) -> Pool:
        """Train frames that a task may choose from."""
        return self._batches(Pool, f"{task}/pool")

    def vectors(self, embedding: str | None = None) -> Vectors:
        """Vectors of every frame by an embedding; by the profile's first one, where none is named."""
        return self._batches(Vectors, f"embeddings/{embedding or self.archive.profile.default_embedding}")

    def frame_table(self, batches: Sequence[str] | None = None) -> pd.DataFrame:
        """All frames with their side of the split, batch after batch.

        Returns
        -------
        pandas.DataFrame
            Columns `archive.frames.FRAME_COLUMNS`, a pixel digest per view, and `split`.
        """
        return self.frames(batches).with_sides(self.split(batches))

    def classes(self, task: str) -> tuple[str, ...]:
        """The class names of a task: the profile's, else those of its labels."""
        return tuple(self.labels().classes(task, self.archive.profile.tasks[task]).value)

    def _batches(self, holds: type[V], asset: str, batches: Sequence[str] | None = None) -> V:
        names = self.archive.batches if batches is None else batches
        receipts = {name: self.archive.store.receipts.require(Cell(asset, name)) for name in names}
        return self.archive.value(holds, receipts)
