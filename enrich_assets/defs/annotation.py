"""Label files taken in, and frames handed out to be labelled: between the archive and the labelling tools."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.store.annotations import Annotations
from enrich_assets.store.receipts import now
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.labels.reading import read_labels
from enrich_assets.studies.readers.reading import read_clip


@dataclass(frozen=True)
class TakenIn:
    """What became of a label file."""

    n_imported: int
    n_unchanged: int
    problems: pd.DataFrame  # item, reason


def take_in_labels(archive: Archive, file: str, task: str) -> TakenIn:
    """Append the labels of a file to the log of annotations. Raises ValueError when the file is none of the formats."""
    settings = archive.profile.tasks[task]
    frames = archive.frame_table()
    answers = settings.classes
    if answers is not None and settings.kind == "classification":
        answers = (*answers, *settings.ignore)
    try:
        found = read_labels(file, settings.kind, answers, set(frames["frame_id"]))
    except UnreadableFile as error:
        raise ValueError(str(error)) from error
    labels, problems = found.labels, found.problems
    if settings.kind == "segmentation" and len(labels):
        sizes = _source_sizes(archive, frames)
        fits = [
            mask.shape in ((settings.size, settings.size), sizes[f])
            for f, mask in labels[["frame_id", "mask"]].itertuples(index=False)
        ]
        wrong = labels[~np.array(fits, bool)]
        said = [
            f"mask of {m.shape[0]}x{m.shape[1]}; it must have the size of the frame, {sizes[f][0]}x{sizes[f][1]}"
            for f, m in wrong[["frame_id", "mask"]].itertuples(index=False)
        ]
        problems = pd.concat([problems, pd.DataFrame({"item": wrong["frame_id"], "reason": said})], ignore_index=True)
        labels = labels[np.array(fits, bool)]
    same = _as_they_were(archive, task, labels)
    new = labels[~same].reset_index(drop=True)
    if len(new):
        new["recorded_at"] = new["recorded_at"].fillna(now())
        masks = list(new["mask"]) if settings.kind == "segmentation" else None
        Annotations(archive.store.folder).add(task, new.drop(columns="mask"), masks)
    return TakenIn(len(new), int(same.sum()), problems)


def _source_sizes(archive: Archive, frames: pd.DataFrame) -> dict[str, tuple[int, int]]:
    clips = pd.concat([archive.frames.clips(batch) for batch in archive.batches], ignore_index=True)
    size = {path: (int(h), int(w)) for path, h, w in clips[["path", "height", "width"]].itertuples(index=False)}
    return {frame: size[path] for frame, path in frames[["frame_id", "path"]].itertuples(index=False)}


def _as_they_were(archive: Archive, task: str, labels: pd.DataFrame) -> np.ndarray:
    """Labels that say what is current already (classes only; masks are always taken)."""
    if archive.profile.tasks[task].kind == "segmentation" or labels.empty:
        return np.zeros(len(labels), bool)
    current = archive.labels(task).set_index("frame_id")["label"]
    log = Annotations(archive.store.folder).all()
    later = log[log["task"] == task].drop_duplicates("frame_id", keep="last").set_index("frame_id")["label"]
    known = labels["frame_id"].map(later).fillna(labels["frame_id"].map(current))
    return (known.astype(object) == labels["label"].astype(object)).to_numpy()


class Pictures:
    """Frames as a labeller should see them: whole, from the de-identified source; where that is gone, as stored."""

    def __init__(self, archive: Archive, task: str, rows: pd.DataFrame) -> None:
        self.archive, self.task = archive, task
        frames = archive.frame_table()
        self.rows = rows[["frame_id"]].merge(frames, on="frame_id").set_index("frame_id")
        self._whole: dict[str, np.ndarray] = {}
        for path, group in self.rows.groupby("path"):
            try:
                clip = read_clip(archive.address(str(path)), pseudonyms=archive.pseudonyms)
            except (UnreadableFile, OSError, LookupError):
                continue
            for frame_id, index in group["frame_index"].items():
                position = 0 if len(clip.frames) == 1 else int(index)
                self._whole[str(frame_id)] = clip.frames[position]

    def __call__(self, frame_id: str) -> np.ndarray:
        if frame_id in self._whole:
            return self._whole[frame_id]
        return self.archive.frames.pixels(self.task, self.rows.loc[[frame_id]].reset_index())[0]
