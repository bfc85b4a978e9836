"""What will be there when the groups before are made."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from enrich_assets.archive.sides import sides_now
from enrich_assets.archive.sides.expected import expected_frames
from enrich_assets.core.step import Declared
from enrich_assets.defs.assets.ranking import way_of
from enrich_assets.method.kinds import kind_of
from enrich_assets.running.engines import NoEngine, slots_of
from enrich_assets.running.facts import RunFacts
from enrich_assets.store.batches import Batch
from enrich_assets.store.receipts import Cell


class Expected(RunFacts):
    """What will be there when the groups before are made: known where it is known, else estimated from the manifests."""

    @cached_property
    def slots(self) -> int:
        """Cells that the profile's engine trains at once. Of a cluster that is not up it is noted, and one is taken."""
        try:
            return slots_of(self.planner.archive.profile)
        except NoEngine as absent:
            self.note(f"{absent}; trainings are priced one at a time")
            return 1

    def n_frames(self, batch: Batch) -> int:
        """Frames of a batch: decoded, or to be expected of its files."""
        frames = Cell("frames", batch.name)
        receipt = self.planner.receipts.current(frames)
        if receipt is not None and frames not in self.pending:
            return int(receipt.metrics["frames"])
        if batch.name not in self._estimated:
            self._estimated[batch.name] = int(expected_frames(self.planner.archive, self.rows(batch))[0].sum())
        return self._estimated[batch.name]

    def pool_size(self, task: str) -> int:
        return sum(self.pool(task, batch)[0] for batch in self.planner.archive.pinned)

    def n_labelled(self, task: str) -> int:
        return sum(self.pool(task, batch)[1] for batch in self.planner.archive.pinned)

    def n_test(self, task: str) -> int:
        """Labelled frames of test patients."""
        receipt = self.planner.receipts.current(Cell(f"{task}/test_set"))
        if receipt is not None and Cell(f"{task}/test_set") not in self.pending:
            return int(receipt.metrics["frames"])
        batches = self.planner.archive.pinned
        return round(
            sum(self.n_frames(b) * (1 - self._train_share(b)) * self._labelled_share(task, b) for b in batches)
        )

    def labels_kept(self, ranking: Declared, partition: str) -> int:
        """Labels that a ranking about to be made again is taken to keep: what its greatest budget had bought."""
        receipt = self.planner.receipts.current(ranking.cell(partition))
        where = ranking.where
        if receipt is None or where.task_settings.growth != "extend":
            return 0
        if receipt.metrics["way"] != way_of(where):
            return 0
        return max((n for n in receipt.metrics["budgets"].values() if n <= receipt.metrics["frames"]), default=0)

    def why_not_trainable(self, task: str) -> str | None:
        """Of labels that were not read yet, it is hoped that they can be scored."""
        return None if Cell(f"{task}/test_set") in self.pending else super().why_not_trainable(task)

    def is_evaluated(self, task: str) -> bool:
        pending = any(cell.asset.startswith(f"{task}/") and cell.asset.endswith("/evaluation") for cell in self.pending)
        return pending or super().is_evaluated(task)

    def pool(self, task: str, batch: Batch) -> tuple[int, int]:
        """Frames of a batch in the task's pool, and how many of them are labelled."""
        cell = Cell(f"{task}/pool", batch.name)
        receipt = self.planner.receipts.current(cell)
        if receipt is not None and cell not in self.pending:
            return int(receipt.metrics["frames"]), int(receipt.metrics["labelled"])
        train = self.n_frames(batch) * self._train_share(batch)
        labelled = round(train * self._labelled_share(task, batch))
        kind = kind_of(self.planner.archive.profile.tasks[task].kind)
        only_labelled = kind.needs_labels_to_pool or self.will_have_labels(task)
        return (labelled if only_labelled else round(train)), labelled

    def will_have_labels(self, task: str) -> bool:
        return any(self._labelled_share(task, batch) for batch in self.planner.archive.pinned)

    def new_classes(self, task: str, batches: set[str]) -> bool:
        """By the manifests of batches that were never read. Of labels that are read again, one may be new; of masks, none is hoped."""
        settings = self.planner.archive.profile.tasks[task]
        if settings.classes is not None:
            return False
        read_before = self.planner.held("labels")
        if not read_before or batches & read_before.keys():
            return True
        known = {name for receipt in read_before.values() for name in receipt.metrics["classes"].get(task, [])}
        columns = [
            self.rows(batch).get(settings.label) for batch in self.planner.archive.pinned if batch.name in batches
        ]
        named = {str(label).strip() for column in columns if column is not None for label in column.dropna()}
        return kind_of(settings.kind).answers == "class" and not named - {"", *settings.ignore} <= known

    def _labelled_share(self, task: str, batch: Batch) -> float:
        """Share of a batch's frames that carry a label: as read, else as the manifest has it."""
        presence = Cell("label_presence", batch.name)
        receipt = self.planner.receipts.current(presence)
        if receipt is not None and presence not in self.pending:
            return float(receipt.metrics.get(f"labelled_{task}", 0)) / max(self.n_frames(batch), 1)
        settings, rows = self.planner.archive.profile.tasks[task], self.rows(batch)
        column = "mask_path" if kind_of(settings.kind).answers == "mask" else settings.label
        if column not in rows or rows.empty:
            return 0.0
        given = rows[rows[column].notna() & (rows[column].astype("string").str.strip() != "")]
        whole_clips = int(given["frame_index"].isna().sum()) if "frame_index" in given else len(given)
        frames_of_clips = whole_clips * self.n_frames(batch) / max(rows["path"].nunique(), 1)
        return min(1.0, (frames_of_clips + len(given) - whole_clips) / max(self.n_frames(batch), 1))

    def _train_share(self, batch: Batch) -> float:
        """Share of a batch's rows whose patients train: as they are split, or will be."""
        rows = self.rows(batch)
        if rows.empty:
            return 1 - self.planner.archive.profile.split.test_share
        return float((rows["patient_id"].map(self._sides) == "train").mean())

    @cached_property
    def _sides(self) -> dict[str, str]:
        sides = sides_now(self.planner.archive)
        return dict(zip(sides["patient_id"], sides["split"], strict=True))

    def rows(self, batch: Batch) -> pd.DataFrame:
        """The manifest of a batch, read once."""
        if batch.name not in self._manifests:
            self._manifests[batch.name] = self.planner.archive.register.rows(batch)
        return self._manifests[batch.name]

    @cached_property
    def _estimated(self) -> dict[str, int]:
        return {}

    @cached_property
    def _manifests(self) -> dict[str, pd.DataFrame]:
        return {}
