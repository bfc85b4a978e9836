"""Labels as values: the current labels and masks of some batches, and which frames carry one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from enrich_assets.archive.values import Plain, Value
from enrich_assets.method.kinds import kind_of
from enrich_assets.settings import TaskSettings
from enrich_assets.store.receipts import digest_of

DIGESTED = ["frame_id", "label", "mask_digest"]


class LabelPresence(Value):
    """Which frames carry a usable label for each task: never which label."""

    def frames(self, task: str) -> set[str]:
        """Ids of the frames that carry one."""
        return set(self.table(task)["frame_id"]) if self.receipts else set()

    def frames_of(self, task: str) -> Plain:
        """The same as a part."""
        return Plain(sorted(self.frames(task)))

    def is_anywhere(self, task: str) -> Plain:
        """Whether any frame at all carries one."""
        return Plain(any(receipt.metrics.get(f"labelled_{task}", 0) for receipt in self.receipts.values()))


class Labels(Value):
    """Current labels of some batches."""

    def of_task(self, task: str) -> pd.DataFrame:
        """A row per labelled frame: frame_id, label (class), mask_row (-1: none), mask_digest, batch, source, ..."""
        return self._by_task(task)[0].copy(deep=False)

    def _by_task(self, task: str) -> tuple[pd.DataFrame, pd.Index]:
        """The labels of a task and where each frame stands; read once, for thousands of models each ask for a few frames."""
        if task not in self._read:
            table = self.table(task) if self.receipts else pd.DataFrame(columns=["frame_id", "label"])
            self._read[task] = table, pd.Index(table["frame_id"])
        return self._read[task]

    @cached_property
    def _read(self) -> dict[str, tuple[pd.DataFrame, pd.Index]]:
        return {}

    def of(self, frames: pd.DataFrame, task: str) -> LabelsOfFrames:
        """Labels of the frames named by a column `frame_id`, in that order; frames without one are left out."""
        table, position = self._by_task(task)
        at = position.get_indexer_for(frames["frame_id"])
        return LabelsOfFrames(table.iloc[at[at >= 0]].reset_index(drop=True), task, self)

    def ignored(self, task: str) -> set[str]:
        """Frames that a labeller could not tell: imported labels among the task's `ignore`."""
        return set(self.table(f"{task}_ignored")["frame_id"]) if self.receipts else set()

    def classes(self, task: str, settings: TaskSettings) -> Plain:
        """The class names of a task: the profile's, else those of the labels."""
        names: set[str] = set()
        highest = 0
        for receipt in self.receipts.values():
            names.update(map(str, receipt.metrics.get("classes", {}).get(task, [])))
            highest = max(highest, receipt.metrics.get("highest_class", {}).get(task, 0))
        return Plain(tuple(kind_of(settings.kind).class_names(settings.classes, names, highest)))

    def masks(self, task: str, rows: pd.DataFrame) -> np.ndarray:
        """Masks of some frames.

        Parameters
        ----------
        task
            A segmentation task.
        rows
            Of `of_task`.

        Returns
        -------
        (n, side, side) uint8
            Class indices (0 = background), in the order of the rows; (0, 0, 0) for no rows.
        """
        out: np.ndarray | None = None
        position = rows["mask_row"].to_numpy()
        for batch, members in rows.reset_index(drop=True).groupby("batch", sort=False).groups.items():
            stored = self.store.array(self.receipts[str(batch)], f"{task}_masks")
            at = np.asarray(members)
            if out is None:
                out = np.empty((len(rows), *stored.shape[1:]), np.uint8)
            out[at] = stored[position[at]]
        return out if out is not None else np.empty((0, 0, 0), np.uint8)


@dataclass(frozen=True)
class LabelsOfFrames:
    """Labels of certain frames; the digest is of these alone, so a label corrected elsewhere changes nothing here."""

    table: pd.DataFrame
    task: str
    labels: Labels

    @cached_property
    def digest(self) -> str:
        return labels_digest(self.table)

    def answers(self, settings: TaskSettings, classes: tuple[str, ...]) -> np.ndarray:
        """What a model learns.

        Parameters
        ----------
        settings
            Of the task.
        classes
            Class names, in the order of their codes.

        Returns
        -------
        (n,) int64 or (n, side, side) uint8
            Class codes (-1: none of the classes), or masks of class indices.
        """
        kind = kind_of(settings.kind)
        if kind.answers == "mask":
            return self.labels.masks(self.task, self.table)
        return kind.class_codes(self.table["label"], classes)


def labels_digest(table: pd.DataFrame) -> str:
    """Of frame ids, labels and mask digests, in the order of the rows."""
    return digest_of(table[DIGESTED].astype("string").fillna("").to_csv(index=False))
