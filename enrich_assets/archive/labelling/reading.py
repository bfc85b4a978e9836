"""Labels of a batch: those of its manifest, then those imported since; the latest word on a frame holds.

Used twice, by the asset that keeps the labels and by the one that keeps only which frames have one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from enrich_assets.archive.frames import Frames
from enrich_assets.archive.sources import ImportedLabels, Manifest, SourceFiles
from enrich_assets.method.images.crop import Box, crop
from enrich_assets.method.images.resize import resize_mask
from enrich_assets.method.kinds import kind_of
from enrich_assets.settings import TaskSettings
from enrich_assets.studies.errors import UnreadableFile

if TYPE_CHECKING:
    from enrich_assets.studies.decoding import Plane

COLUMNS = ["frame_id", "label", "mask_row", "mask_path", "mask_sha256", "mask_digest"]
COLUMNS += ["source", "author", "entry", "batch"]  # entry: of the log of imports; "" for the manifest


@dataclass(frozen=True)
class BatchLabels:
    """Current labels of a task in a batch."""

    table: pd.DataFrame  # COLUMNS
    problems: pd.DataFrame  # item, reason: what could not be used
    masks: np.ndarray | None = None  # (m, side, side) uint8 (segmentation)
    ignored: tuple[str, ...] = ()  # frames that a labeller could not tell ("unsure")


@dataclass(frozen=True)
class LabelSources:
    """Where the labels of a batch come from."""

    frames: Frames  # of this batch
    manifest: Manifest
    imported: ImportedLabels
    files: SourceFiles
    plane: Plane = "stored"  # of the slices of volumes

    def read(self, name: str, task: TaskSettings) -> BatchLabels:
        """Current labels of the task `name`, in the order of the frames, and those that cannot be used."""
        reader = _masks if kind_of(task.kind).answers == "mask" else _classes
        return reader(self, name, task)

    @property
    def batch(self) -> str:
        """Name of the batch."""
        return self.manifest.batch.name


def _rows_by_frame(frames_of_batch: Frames, manifest: Manifest, column: str) -> pd.DataFrame:
    """frame_id, value, named: a file's label holds for all its frames, unless a row names the frame itself."""
    rows = manifest.rows
    if column not in rows:
        return pd.DataFrame({"frame_id": [], "value": [], "named": []}, dtype="string")
    rows = rows[rows[column].notna() & (rows[column].astype("string").str.strip() != "")]
    frames = frames_of_batch.frame_table[["frame_id", "path", "frame_index"]]
    whole = rows[rows["frame_index"].isna()].drop_duplicates("path", keep="last")
    single = rows[rows["frame_index"].notna()]
    of_files = frames.merge(whole[["path", column]], on="path")
    of_frames = frames.merge(
        single[["path", "frame_index", column]].astype({"frame_index": "int64"}), on=["path", "frame_index"]
    )
    both = pd.concat([of_files.assign(named=False), of_frames.assign(named=True)], ignore_index=True)
    both = both.drop_duplicates("frame_id", keep="last").rename(columns={column: "value"})
    return both[["frame_id", "value", "named"]]


def manifest_labels(frames: Frames, manifest: Manifest, column: str) -> pd.DataFrame:
    """Class labels as the manifest gave them.

    Parameters
    ----------
    frames
        Of the batch.
    manifest
        Of the batch.
    column
        The manifest's column of the task.

    Returns
    -------
    pandas.DataFrame
        frame_id, label, source, author, entry; a label of a whole file is repeated for each of its frames.
    """
    labels = _rows_by_frame(frames, manifest, column).rename(columns={"value": "label"}).drop(columns="named")
    return labels.assign(source="manifest", author="", entry="")


def _classes(sources: LabelSources, name: str, task: TaskSettings) -> BatchLabels:
    table = manifest_labels(sources.frames, sources.manifest, task.label)
    later = sources.imported.latest(name)[["frame_id", "label", "source", "author", "entry"]]
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
    return BatchLabels(_ordered(sources, usable), problems, ignored=tuple(table.loc[asked, "frame_id"]))


def _masks(sources: LabelSources, name: str, task: TaskSettings) -> BatchLabels:
    clips = sources.frames.clips.set_index("path")
    paths = dict(sources.frames.frame_table[["frame_id", "path"]].itertuples(index=False))
    kept, problems = _manifest_masks(sources, clips, paths, name, task)
    for entry in sources.imported.latest(name).itertuples():
        clip = clips.loc[paths[entry.frame_id]]
        mask = _to_view(sources.imported.mask(entry.entry, int(entry.mask_row)), clip, name, task)
        kept[entry.frame_id] = ((None, None, entry.source, entry.author, entry.entry), mask)
    rows = [(frame_id, *row) for frame_id, (row, _) in kept.items()]
    masks = [mask for _, mask in kept.values()]
    table = pd.DataFrame(rows, columns=["frame_id", "mask_path", "mask_sha256", "source", "author", "entry"])
    pixel_digests = [hashlib.sha256(mask.tobytes()).hexdigest() for mask in masks]
    table = _ordered(sources, table.assign(mask_row=np.arange(len(table)), label=None, mask_digest=pixel_digests))
    stack = np.stack(masks) if masks else np.empty((0, task.size, task.size), np.uint8)
    return BatchLabels(table, pd.DataFrame(problems, columns=["item", "reason"], dtype="string"), stack)


Kept = dict[str, tuple[tuple[object, ...], np.ndarray]]  # frame_id -> (path, sha256, source, author, entry), mask


def _manifest_masks(
    sources: LabelSources, clips: pd.DataFrame, paths: dict[str, str], name: str, task: TaskSettings
) -> tuple[Kept, list[tuple[str, str]]]:
    """Masks that the manifest names, by frame, and those that cannot be used: (item, reason)."""
    from enrich_assets.studies.readers import read_mask  # late: it loads OpenCV, FFmpeg and pydicom

    manifest = sources.manifest
    by_path = (
        manifest.rows.drop_duplicates("mask_path").set_index("mask_path") if "mask_path" in manifest.rows else None
    )
    kept: Kept = {}
    problems: list[tuple[str, str]] = []
    for frame_id, mask_path, named in _rows_by_frame(sources.frames, manifest, "mask_path").itertuples(index=False):
        assert by_path is not None
        clip, sha256 = clips.loc[paths[frame_id]], by_path["mask_sha256"][mask_path]
        try:
            sources.files.require_unchanged(mask_path, sha256)
            mask = read_mask(
                sources.files.address(mask_path),
                task.classes,
                (int(clip.height), int(clip.width)),
                page=int(frame_id.rpartition("/")[2]),
                page_each=not named and int(clip.n_frames) > 1,
                plane=sources.plane,
            )
        except UnreadableFile as refusal:
            problems.append((frame_id, str(refusal)))
            continue
        kept[frame_id] = ((mask_path, sha256, "manifest", "", ""), _to_view(mask, clip, name, task))
    return kept, problems


def _to_view(mask: np.ndarray, clip: pd.Series, name: str, task: TaskSettings) -> np.ndarray:
    """A mask drawn on the source frame, cut as the task's picture is; one drawn on that picture stays as it is."""
    if mask.shape == (int(clip.height), int(clip.width)):
        mask = crop(mask[None], Box(*map(int, clip[f"box_{name}"])))[0]
    return resize_mask(mask[None], task.size)[0]


def _ordered(sources: LabelSources, table: pd.DataFrame) -> pd.DataFrame:
    """In the order of the frames, so that equal labels have equal digests."""
    order = sources.frames.frame_table[["frame_id"]]
    merged = order.merge(table, on="frame_id").assign(batch=sources.batch)
    text = ("label", "mask_path", "mask_sha256", "mask_digest")
    # the type of ids too: what was joined to them would decide it, and equal labels would have other bytes
    return merged[COLUMNS].astype({"frame_id": "object", "mask_row": "int64", **dict.fromkeys(text, "string")})
