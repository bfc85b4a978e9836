"""Label files imported, and frames handed out to be labelled: between the archive and the annotation tools."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.home import Archive
from enrich_assets.archive.labelling.so_far import LabelsSoFar
from enrich_assets.archive.sources import source_files
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.annotations import Annotations
from enrich_assets.studies.addresses import at_hand
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.isolation import isolated
from enrich_assets.studies.labels import SKIPPED, read_labels
from enrich_assets.studies.readers import read_frames


@dataclass(frozen=True)
class Imported:
    """What became of a label file."""

    n_imported: int
    n_unchanged: int
    problems: pd.DataFrame  # item, reason
    new_classes: dict[str, int]  # classes that no label of the task had before -> labels of them in this file

    @property
    def refused(self) -> pd.DataFrame:
        """The problems that are mistakes: all but what a labeller skipped."""
        return self.problems[~self.problems["reason"].astype("string").str.startswith(SKIPPED)]


def import_labels(archive: Archive, file: str, task: str) -> Imported:
    """Append the labels of a file to the log of annotations.

    Parameters
    ----------
    archive
        Whose frames are labelled.
    file
        CSV, or what an annotation tool exports (`studies.labels`).
    task
        Its name.

    Returns
    -------
    Imported
        How many labels are new or unchanged, and which could not be used, with the reason.

    Raises
    ------
    ValueError
        If the file is of none of the formats.
    MissingArtefact
        If the frames were not read yet.
    """
    settings, catalogue = archive.profile.tasks[task], Catalogue(archive)
    answers = kind_of(settings.kind).answers
    frames = catalogue.frame_table()
    classes = settings.classes
    if classes is not None and answers == "class":
        classes = (*classes, *settings.ignore)
    try:
        read = read_labels(file, answers, classes, set(frames["frame_id"]))
    except UnreadableFile as error:
        raise ValueError(str(error)) from error
    labels, problems = read.labels, read.problems
    if answers == "mask" and len(labels):
        labels, wrong = _of_right_size(labels, _source_sizes(catalogue, frames), settings.size)
        problems = pd.concat([problems, wrong], ignore_index=True)
    same = _unchanged(catalogue, task, labels)
    new = labels[~same].reset_index(drop=True)
    before = set(LabelsSoFar(catalogue).classes(task)) | set(settings.ignore)
    counts = labels["label"].dropna().astype(str).value_counts()
    new_classes = {str(name): int(n) for name, n in counts.items() if answers == "class" and name not in before}
    if len(new):
        masks = list(new["mask"]) if answers == "mask" else None
        Annotations(archive.store.folder).add(task, new.drop(columns="mask"), masks)
    return Imported(len(new), int(same.sum()), problems, new_classes)


def _of_right_size(
    labels: pd.DataFrame, sizes: dict[str, tuple[int, int]], side: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Masks as large as their frame (or as the task's picture of it), and the others as problems."""
    pairs = list(labels[["frame_id", "mask"]].itertuples(index=False))
    fits = np.array([mask.shape in ((side, side), sizes[frame_id]) for frame_id, mask in pairs], bool)
    reasons = [
        f"mask of {mask.shape[0]}x{mask.shape[1]}; it must have the size of the frame, {sizes[frame_id][0]}x{sizes[frame_id][1]}"
        for (frame_id, mask), right in zip(pairs, fits, strict=True)
        if not right
    ]
    return labels[fits], pd.DataFrame({"item": labels.loc[~fits, "frame_id"], "reason": reasons})


def _source_sizes(catalogue: Catalogue, frames: pd.DataFrame) -> dict[str, tuple[int, int]]:
    clips = catalogue.frames().clips
    size = {path: (int(h), int(w)) for path, h, w in clips[["path", "height", "width"]].itertuples(index=False)}
    return {frame: size[path] for frame, path in frames[["frame_id", "path"]].itertuples(index=False)}


def _unchanged(catalogue: Catalogue, task: str, labels: pd.DataFrame) -> np.ndarray:
    """Labels that say what is current already; masks, what was last imported."""
    archive = catalogue.archive
    log = Annotations(archive.store.folder)
    latest = log.all()
    latest = latest[latest["task"] == task].drop_duplicates("frame_id", keep="last").set_index("frame_id")
    if kind_of(archive.profile.tasks[task].kind).answers == "mask" or labels.empty:
        return np.array(
            [_is_mask_of(log, latest, *pair) for pair in zip(labels["frame_id"], labels["mask"], strict=True)], bool
        )
    current = catalogue.labels().of_task(task).set_index("frame_id")["label"]
    later = latest["label"]
    imported, held = (labels["frame_id"].map(known).astype(object) for known in (later, current))
    known = imported.fillna(held)
    return (known.astype(object) == labels["label"].astype(object)).to_numpy()


def _is_mask_of(log: Annotations, latest: pd.DataFrame, frame_id: str, mask: np.ndarray) -> bool:
    if frame_id not in latest.index:
        return False
    entry, row = latest.loc[frame_id, ["entry", "mask_row"]]
    return int(row) >= 0 and np.array_equal(log.mask(str(entry), int(row)), mask)


class Pictures:
    """Frames as a labeller should see them: whole, from the de-identified source; where that is gone, as stored.

    Called with a frame id, it gives (height, width) uint8.

    Parameters
    ----------
    archive, task
        Whose stored picture stands in for a source that is gone.
    rows
        The frames, by a column `frame_id`.
    """

    def __init__(self, archive: Archive, task: str, rows: pd.DataFrame) -> None:
        self.task, self._frames = task, Catalogue(archive).frames()
        files = source_files(archive)
        self.rows = rows[["frame_id"]].merge(self._frames.frame_table, on="frame_id").set_index("frame_id")
        self._whole: dict[str, np.ndarray] = {}
        for path, group in self.rows.groupby("path"):
            try:
                with at_hand(files.address(str(path))) as place:
                    indices = [int(index) for index in group["frame_index"]]
                    whole = isolated(str(path), read_frames, place, indices, archive.profile.frames.slices)
            except (UnreadableFile, OSError, LookupError):
                continue
            self._whole.update(zip(map(str, group.index), whole, strict=True))

    def __call__(self, frame_id: str) -> np.ndarray:
        if frame_id in self._whole:
            return self._whole[frame_id]
        return self._frames.pixels(self.task, self.rows.loc[[frame_id]].reset_index())[0]
