"""Labels of a batch: those of its manifest, then those imported since; the latest word on a frame holds.

Used twice, by the asset that keeps the labels and by the one that keeps only which frames have one.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.method.images.preprocessing import Box, crop, resize_mask
from enrich_assets.settings import TaskSettings
from enrich_assets.store.annotations import Annotations
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers.reading import read_mask

COLUMNS = ["frame_id", "label", "mask_row", "mask_path", "mask_sha256", "mask_digest"]
COLUMNS += ["source", "author", "recorded_at", "batch"]


def imported(archive: Archive, batch: str) -> pd.DataFrame:
    """Imported labels of the batch's frames, oldest first."""
    log = Annotations(archive.store.folder).all()
    return log[log["frame_id"].isin(set(archive.frames.table([batch])["frame_id"]))].reset_index(drop=True)


@dataclass(frozen=True)
class BatchLabels:
    """Current labels of a task in a batch."""

    table: pd.DataFrame  # COLUMNS
    problems: pd.DataFrame  # item, reason: what could not be used
    masks: np.ndarray | None = None  # (m, side, side) uint8 (segmentation)
    ignored: tuple[str, ...] = ()  # frames that a labeller could not tell ("unsure")


def read_labels(archive: Archive, batch: str, name: str) -> BatchLabels:
    task = archive.profile.tasks[name]
    return (_classes if task.kind == "classification" else _masks)(archive, batch, name, task)


def _rows_by_frame(archive: Archive, batch: str, column: str) -> pd.DataFrame:
    """frame_id, value, named: a file's label holds for all its frames, unless a row names the frame itself."""
    rows = archive.arrivals.rows(batch)
    if column not in rows:
        return pd.DataFrame({"frame_id": [], "value": [], "named": []}, dtype="string")
    rows = rows[rows[column].notna() & (rows[column].astype("string").str.strip() != "")]
    frames = archive.frames.table([batch])[["frame_id", "path", "frame_index"]]
    whole = rows[rows["frame_index"].isna()].drop_duplicates("path", keep="last")
    single = rows[rows["frame_index"].notna()]
    of_files = frames.merge(whole[["path", column]], on="path")
    of_frames = frames.merge(
        single[["path", "frame_index", column]].astype({"frame_index": "int64"}), on=["path", "frame_index"]
    )
    both = pd.concat([of_files.assign(named=False), of_frames.assign(named=True)], ignore_index=True)
    both = both.drop_duplicates("frame_id", keep="last").rename(columns={column: "value"})
    return both[["frame_id", "value", "named"]]


def _imported_for(archive: Archive, batch: str, name: str) -> pd.DataFrame:
    found = imported(archive, batch)
    return found[found["task"] == name].drop_duplicates("frame_id", keep="last")


def manifest_labels(archive: Archive, batch: str, name: str) -> pd.DataFrame:
    """Class labels as the manifest gave them: frame_id, label, source, author, recorded_at."""
    found = _rows_by_frame(archive, batch, archive.profile.tasks[name].label).rename(columns={"value": "label"})
    found = found.drop(columns="named")
    return found.assign(source="manifest", author="", recorded_at=archive.arrivals.get(batch).received_at)


def _classes(archive: Archive, batch: str, name: str, task: TaskSettings) -> BatchLabels:
    table = manifest_labels(archive, batch, name)
    later = _imported_for(archive, batch, name)[["frame_id", "label", "source", "author", "recorded_at"]]
    table = pd.concat([table, later], ignore_index=True).drop_duplicates("frame_id", keep="last")
    table["label"] = table["label"].astype("string").str.strip()
    unknown = pd.Series(False, index=table.index)
    if task.classes is not None:
        unknown = ~table["label"].isin([*task.classes, *task.ignore])
    problems = pd.DataFrame(
        {
            "item": table.loc[unknown, "frame_id"],
            "reason": [
                f"label {label!r} is no class of task {name} ({', '.join(task.classes or ())}); correct it, or add it to the profile"
                for label in table.loc[unknown, "label"]
            ],
        }
    )
    ignored = table["label"].isin(task.ignore)
    usable = table[~unknown & ~ignored].assign(mask_row=-1, mask_path=None, mask_sha256=None, mask_digest=None)
    asked = ignored & (table["source"] != "manifest")  # there it may as well say that nobody looked yet
    return BatchLabels(_ordered(archive, batch, usable), problems, ignored=tuple(table.loc[asked, "frame_id"]))


def _masks(archive: Archive, batch: str, name: str, task: TaskSettings) -> BatchLabels:
    clips = archive.frames.clips(batch).set_index("path")
    paths = dict(archive.frames.table([batch])[["frame_id", "path"]].itertuples(index=False))
    received = archive.arrivals.get(batch).received_at
    digests = archive.arrivals.rows(batch).drop_duplicates("mask_path").set_index("mask_path")["mask_sha256"]
    rows, masks, problems = [], [], []
    for frame_id, mask_path, named in _rows_by_frame(archive, batch, "mask_path").itertuples(index=False):
        clip = clips.loc[paths[frame_id]]
        try:
            archive.require_unchanged(mask_path, digests[mask_path])
            mask = read_mask(
                mask_path,
                task.classes,
                (int(clip.height), int(clip.width)),
                page=int(frame_id.rpartition("/")[2]),
                page_each=not named and int(clip.n_frames) > 1,
            )
        except UnreadableFile as refusal:
            problems.append((frame_id, str(refusal)))
            continue
        masks.append(_to_view(mask, clip, name, task))
        rows.append((frame_id, mask_path, digests[mask_path], "manifest", "", received))
    position = {row[0]: i for i, row in enumerate(rows)}
    log = Annotations(archive.store.folder)
    for entry in _imported_for(archive, batch, name).itertuples():
        mask = _to_view(log.mask(entry.entry, int(entry.mask_row)), clips.loc[paths[entry.frame_id]], name, task)
        row = (entry.frame_id, None, None, entry.source, entry.author, entry.recorded_at)
        if entry.frame_id in position:
            rows[position[entry.frame_id]], masks[position[entry.frame_id]] = row, mask
        else:
            rows.append(row)
            masks.append(mask)
    table = pd.DataFrame(rows, columns=["frame_id", "mask_path", "mask_sha256", "source", "author", "recorded_at"])
    pixel_digests = [hashlib.sha256(mask.tobytes()).hexdigest() for mask in masks]
    table = _ordered(
        archive, batch, table.assign(mask_row=np.arange(len(table)), label=None, mask_digest=pixel_digests)
    )
    stack = np.stack(masks) if masks else np.empty((0, task.size, task.size), np.uint8)
    return BatchLabels(table, pd.DataFrame(problems, columns=["item", "reason"]), stack)


def _to_view(mask: np.ndarray, clip: pd.Series, name: str, task: TaskSettings) -> np.ndarray:
    """A mask drawn on the source frame, cut as the task's picture is; one drawn on that picture stays as it is."""
    if mask.shape == (int(clip.height), int(clip.width)):
        mask = crop(mask[None], Box(*map(int, clip[f"box_{name}"])))[0]
    return resize_mask(mask[None], task.size)[0]


def _ordered(archive: Archive, batch: str, table: pd.DataFrame) -> pd.DataFrame:
    """In the order of the frames, so that equal labels have equal digests."""
    order = archive.frames.table([batch])[["frame_id"]]
    merged = order.merge(table, on="frame_id").assign(batch=batch)
    return merged[COLUMNS].astype(
        {"mask_row": "int64", **dict.fromkeys(("label", "mask_path", "mask_sha256", "mask_digest"), "string")}
    )
