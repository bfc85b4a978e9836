"""How many patients and frames stand on each side, in all and of each class; and what is too few, with what helps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from enrich_assets.archive.frames import Frames
from enrich_assets.archive.labels import Labels
from enrich_assets.archive.sides.drawing import MASK, sides_now
from enrich_assets.archive.sides.expected import expected_frames
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.split import TEST, TRAIN
from enrich_assets.settings import Profile, TaskSettings
from enrich_assets.store.batches import Batch
from enrich_assets.store.receipts import Cell

if TYPE_CHECKING:
    from enrich_assets.archive.home import Archive

# The least with which a test over patients can come out at all at the level 0.05, two-sided: exact sign test (2 / 2^6 = 0.03, with
# five patients 2 / 2^5 = 0.06), exact Mann-Whitney test of two classes (4 against 4: 2 / 70 = 0.03, 3 against 3: 2 / 20 = 0.1).
FEWEST_ON_TEST, FEWEST_OF_A_CLASS_ON_TEST = 6, 4
FEWEST_OF_A_CLASS_ON_TRAIN = 2  # of one patient alone, a model cannot tell the class from the patient
EVERY = ""  # the class that stands for all of them
KEYS = ["study_id", "patient_id", "task", "class"]


@dataclass(frozen=True)
class SideCounts:
    """Patients and frames of an archive by side and class.

    Parameters
    ----------
    rows
        study_id, patient_id, split, task ("" of all frames), class ("" of all), frames.
    is_estimate
        Frames of files that were not decoded yet are estimated.
    """

    rows: pd.DataFrame
    is_estimate: bool

    @cached_property
    def table(self) -> pd.DataFrame:
        """split, task, class, patients, frames."""
        grouped = self.rows.groupby(["split", "task", "class"], sort=True)
        return grouped.agg(patients=("patient_id", "nunique"), frames=("frames", "sum")).reset_index()

    def of(self, side: str, task: str = EVERY, name: str = EVERY, what: str = "patients") -> int:
        """Patients (or frames) of a side and class."""
        here = (self.table["split"] == side) & (self.table["task"] == task) & (self.table["class"] == name)
        return int(self.table.loc[here, what].sum())

    @property
    def classes(self) -> list[tuple[str, str]]:
        """Task and class of each that has labels."""
        labelled = self.table[self.table["task"] != EVERY]
        return list(dict.fromkeys(labelled[["task", "class"]].itertuples(index=False, name=None)))


def count_sides(archive: Archive) -> SideCounts:
    """Patients and frames by side and class: of what is decoded and labelled as it is, else by the manifests.

    Returns
    -------
    SideCounts
        Those of every batch.
    """
    sides = sides_now(archive).set_index("patient_id")["split"]
    parts, is_estimate = [], False
    for batch in archive.pinned:
        held = {name: archive.store.receipts.current(Cell(name, batch.name)) for name in ("frames", "labels")}
        if held["frames"] is not None and held["labels"] is not None:
            frames = Frames(archive.store, {batch.name: held["frames"]})
            parts.append(
                classes_of_frames(frames, Labels(archive.store, {batch.name: held["labels"]}), archive.profile)
            )
        else:
            part, guessed = _by_manifest(archive, batch)
            parts.append(part)
            is_estimate |= guessed
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*KEYS, "frames"])
    return SideCounts(rows.assign(split=rows["patient_id"].map(sides)), is_estimate)


def classes_of_frames(frames: Frames, labels: Labels, profile: Profile) -> pd.DataFrame:
    """Frames by study and class, as decoded and labelled now.

    Returns
    -------
    pandas.DataFrame
        study_id, patient_id, task, class, frames; task and class are "" for all frames of a study.
    """
    every = frames.frame_table[["frame_id", "study_id", "patient_id"]]
    parts = [every.assign(task=EVERY, **{"class": EVERY})]
    for name in profile.tasks:
        if any(f"{name}.parquet" not in receipt.files for receipt in labels.receipts.values()):
            continue  # a task that came since
        named = every.merge(labels.of_task(name)[["frame_id", "label"]], on="frame_id")
        parts.append(named.assign(task=name, **{"class": named["label"].fillna(MASK)}))
    rows = pd.concat(parts, ignore_index=True)
    return rows.groupby(KEYS).size().rename("frames").reset_index()


def _by_manifest(archive: Archive, batch: Batch) -> tuple[pd.DataFrame, bool]:
    rows = archive.register.rows(batch)
    frames, is_estimate = expected_frames(archive, rows)
    rows = rows.assign(frames=frames)
    parts = [rows[["study_id", "patient_id", "frames"]].assign(task=EVERY, **{"class": EVERY})]
    for name, task in archive.profile.tasks.items():
        classes = _classes(rows, task)
        usable = rows.assign(task=name, **{"class": classes})[classes.notna()]
        parts.append(usable[[*KEYS, "frames"]])
    counted = pd.concat(parts, ignore_index=True)
    return counted.groupby(KEYS, as_index=False)["frames"].sum(), is_estimate


def _classes(rows: pd.DataFrame, task: TaskSettings) -> pd.Series:
    """The class of each row for a task; NA where it has no usable one."""
    if kind_of(task.kind).answers == "mask":
        has = rows["mask_path"].notna() if "mask_path" in rows else pd.Series(False, index=rows.index)
        return pd.Series(pd.NA, index=rows.index, dtype="string").mask(has, MASK)
    if task.label not in rows:
        return pd.Series(pd.NA, index=rows.index, dtype="string")
    label = rows[task.label].astype("string").str.strip()
    usable = label.ne("") & ~label.isin(task.ignore) & (label.isin(task.classes) if task.classes is not None else True)
    return label.where(usable.fillna(False))


def side_lines(counts: SideCounts) -> list[str]:
    """The counts as lines for a terminal: a row for each side, a column for each class; patients, then frames."""
    about = "about " if counts.is_estimate else ""
    heads = ["side", "patients", "frames", *(f"{task}: {name}" for task, name in counts.classes)]
    lines = [heads]
    for side in (TRAIN, TEST):
        row = [side, f"{counts.of(side):,}", f"{about}{counts.of(side, what='frames'):,}"]
        for task, name in counts.classes:
            patients, frames = (counts.of(side, task, name, what) for what in ("patients", "frames"))
            row.append(f"{patients:,} ({about}{frames:,})")
        lines.append(row)
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [*text, "(of each class: patients, and frames between brackets)"] if counts.classes else text


def too_few(counts: SideCounts) -> list[str]:
    """What has too few patients for anything to follow from it: a side, or a class on a side.

    Returns
    -------
    list of str
        Sentences; none where there are enough. Enough to be tested at all is not enough to show a small difference.
    """
    if not len(counts.table):
        return []
    found = []
    n_train, n_test = counts.of(TRAIN), counts.of(TEST)
    if not n_train:
        found.append("nobody is on the train side, so there is nothing to learn from")
    if n_test < FEWEST_ON_TEST:
        found.append(
            f"only {_patients(n_test)} on the test side of {n_train + n_test:,}: with fewer than {FEWEST_ON_TEST} no comparison "
            "over patients can reach p < 0.05, whatever the models do (exact sign test)"
        )
    n_classes = Counter(task for task, _ in counts.classes)
    for task, name in counts.classes:
        on_train, on_test = counts.of(TRAIN, task, name), counts.of(TEST, task, name)
        if on_test < FEWEST_OF_A_CLASS_ON_TEST and n_classes[task] > 1:
            found.append(
                f"{task}: {name} has only {_patients(on_test)} on the test side of {on_train + on_test:,}: every score hangs on "
                f"them; {FEWEST_OF_A_CLASS_ON_TEST} against {FEWEST_OF_A_CLASS_ON_TEST} is the first exact rank test that can reach p < 0.05"
            )
        if on_train < FEWEST_OF_A_CLASS_ON_TRAIN and n_train:
            found.append(
                f"{task}: {name} has only {_patients(on_train)} on the train side: a model cannot tell the class from the patient"
            )
    return found


def what_helps(profile: Profile) -> str:
    """The remedy for too few patients on a side."""
    return (
        f"ingest studies of more patients; or set split.test_share (now {profile.split.test_share:g}) in the profile, which draws every "
        "batch again; or name sides in a column `split` of the manifest and ingest the batch again under its name (--batch)"
    )


def _patients(n: int) -> str:
    return f"{n:,} patient{'' if n == 1 else 's'}"
