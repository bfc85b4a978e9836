"""A source file decoded: its frames in every view, their digests, and where they were cut. Written part by part, so that an
interrupted batch goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.frames import FRAME_COLUMNS, digest_column, frame_ids
from enrich_assets.archive.sources import SourceFiles
from enrich_assets.archive.values import joined
from enrich_assets.method.images.cone import cone_mask
from enrich_assets.method.images.crop import Box, crop, window
from enrich_assets.method.images.digest import pixel_digests
from enrich_assets.method.images.resize import resize
from enrich_assets.parquet import from_parquet
from enrich_assets.progress import Advance
from enrich_assets.settings import Crop, FrameSettings
from enrich_assets.store.artefacts import Draft
from enrich_assets.studies.decoding import Clip
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers import read_clip

PART_FRAMES = 1000  # about so many frames go into one stored part
FRAMES_OF_A_VIDEO = 60  # a guess, to group files into parts before they are decoded
STILLS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

View = tuple[Crop, float, int]  # how it is cut, the share of the shorter side, the side in pixels
SourceFile = tuple[str, pd.DataFrame]  # path, and the manifest's rows of it
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Decoding:
    """How the files of a batch become frames.

    Parameters
    ----------
    batch
        Its name.
    files
        Opens paths that are sealed, and says whether a file is what it was.
    settings
        Which frames of a clip.
    views
        How each picture of a frame is cut: name -> crop, share of the shorter side, side in pixels.
    """

    batch: str
    files: SourceFiles
    settings: FrameSettings
    views: Mapping[str, View]

    def decode(self, rows: pd.DataFrame, draft: Draft, advance: Advance) -> Tables:
        """Decode files into a draft, part by part. Parts that an interrupted attempt has written are kept.

        Parameters
        ----------
        rows
            Of a manifest; several rows may name one file.
        draft
            Gets `<view>/<part>.npy`, (n, side, side) uint8, and the tables of each part as notes.
        advance
            Called after each part.

        Returns
        -------
        dict of str to pandas.DataFrame
            frames, clips, refused (path, reason). A file that cannot be read is refused; it stops no other.
        """
        # A file of several rows (a video of which single frames carry masks) is decoded once.
        sources = [(str(path), group) for path, group in rows.groupby("path", sort=False)]
        tables = {name: [table] for name, table in self._no_rows().items()}
        done = 0
        with ThreadPoolExecutor(cpu_count() or 1) as threads:
            for number, part in enumerate(_parts(sources)):
                if not draft.has(f"refused-{number:04d}.parquet", note=True):
                    self._decode_part(draft, number, part, threads)
                for name, collected in tables.items():
                    collected.append(self._read_part(draft, name, number))
                done += len(part)
                advance(done, len(sources), {"frames": float(sum(map(len, tables["frames"])))})
        return {name: joined(collected) for name, collected in tables.items()}

    def _decode_part(self, draft: Draft, number: int, part: list[SourceFile], threads: ThreadPoolExecutor) -> None:
        decoded = list(self._in_order(threads, part))
        kept = [one for one in decoded if not isinstance(one, UnreadableFile)]
        nothing = self._no_rows()
        frames = pd.concat([one.frames for one in kept], ignore_index=True) if kept else nothing["frames"]
        repeated = frames["frame_id"].duplicated()
        refusals = [(one.path, f"{one.reason}; {one.remedy}") for one in decoded if isinstance(one, UnreadableFile)]
        refusals += [
            (row.path, f"frame {row.frame_id} stands in the manifest twice; only the first is used")
            for row in frames[repeated].itertuples()
        ]
        for view, (_, _, side) in self.views.items():
            pixels = [one.pixels[view] for one in kept] or [np.empty((0, side, side), np.uint8)]
            draft.array(f"{view}/{number:04d}", np.concatenate(pixels))
        frames = frames.assign(batch=self.batch, part=number, row=np.arange(len(frames)))[~repeated]
        clips = pd.DataFrame([one.clip for one in kept], columns=nothing["clips"].columns)
        refused = pd.DataFrame(refusals, columns=["path", "reason"], dtype="string")
        # `refused` last: it says that the part is whole.
        for name, table in (("frames", frames), ("clips", clips), ("refused", refused)):
            draft.table(f"{name}-{number:04d}", table, note=True)

    def _read_part(self, draft: Draft, name: str, number: int) -> pd.DataFrame:
        draft.has(f"{name}-{number:04d}.parquet", note=True)
        for view in self.views:
            draft.has(f"{view}/{number:04d}.npy")
        return from_parquet(draft.read(f"{name}-{number:04d}.parquet"))

    def _in_order(self, threads: ThreadPoolExecutor, part: list[SourceFile]) -> Iterator[DecodedFile | UnreadableFile]:
        """Decode on all cores, a few files ahead, results in the order of the manifest."""
        ahead: list[Future[DecodedFile | UnreadableFile]] = []
        width = 2 * (cpu_count() or 1)
        for path, rows in part:
            ahead.append(threads.submit(self._decode_file, path, rows))
            if len(ahead) >= width:
                yield ahead.pop(0).result()
        yield from (future.result() for future in ahead)

    def _decode_file(self, path: str, rows: pd.DataFrame) -> DecodedFile | UnreadableFile:
        first = rows.iloc[0]
        try:
            self.files.require_unchanged(path, first.sha256)
            clip = read_clip(self.files.address(path), pseudonyms=self.files.pseudonyms)
            positions, indices = _chosen(path, clip, rows, self.settings)
            pixels, boxes = _cut(path, clip, positions, self.views)
        except UnreadableFile as refusal:
            return UnreadableFile(path, refusal.reason, refusal.remedy)  # under the name it is known by, sealed or not
        clip_id = f"{first.study_id}/{first.clip_id}"
        table: dict[str, Any] = {
            "frame_id": frame_ids(clip_id, indices),
            "study_id": first.study_id,
            "clip_id": clip_id,
            "patient_id": first.patient_id,
            "frame_index": indices,
            "path": path,
        }
        for view in self.views:
            table[digest_column(view)] = pixel_digests(pixels[view])
        described = {
            "clip_id": clip_id,
            "study_id": first.study_id,
            "patient_id": first.patient_id,
            "path": path,
            "file_sha256": first.sha256,
            "n_frames": len(indices),
            "height": clip.frames.shape[1],
            "width": clip.frames.shape[2],
            "warnings": "; ".join(clip.warnings),
            "deidentification": "; ".join(clip.actions),
            **{f"box_{view}": [box.top, box.left, box.side] for view, box in boxes.items()},
        }
        return DecodedFile(pd.DataFrame(table), pixels, described)

    def _no_rows(self) -> Tables:
        """The tables of a batch of which no file can be read."""
        clip = ["clip_id", "study_id", "patient_id", "path", "file_sha256", "n_frames", "height", "width"]
        clip += ["warnings", "deidentification", *(f"box_{view}" for view in self.views)]
        frame = [*FRAME_COLUMNS, *(digest_column(view) for view in self.views)]
        columns = {"frames": frame, "clips": clip, "refused": ["path", "reason"]}
        counts = ("frame_index", "part", "row", "n_frames", "height", "width")
        return {
            name: pd.DataFrame({c: pd.Series(dtype="int64" if c in counts else "string") for c in names})
            for name, names in columns.items()
        }


@dataclass(frozen=True)
class DecodedFile:
    """What came of one file."""

    frames: pd.DataFrame
    pixels: dict[str, np.ndarray]  # view -> (n, side, side) uint8
    clip: dict[str, Any]


def _parts(sources: Sequence[SourceFile]) -> Iterator[list[SourceFile]]:
    part: list[SourceFile] = []
    weight = 0
    for path, rows in sources:
        part.append((path, rows))
        weight += 1 if path.lower().endswith(STILLS) else FRAMES_OF_A_VIDEO
        if weight >= PART_FRAMES:
            yield part
            part, weight = [], 0
    if part:
        yield part


def _cut(
    path: str, clip: Clip, positions: list[int], views: Mapping[str, View]
) -> tuple[dict[str, np.ndarray], dict[str, Box]]:
    """View -> the frames at these positions as the view shows them, and where it was cut. Raises UnreadableFile."""
    chosen = clip.frames[positions]
    asked = any(crop_to == "cone" for crop_to, _, _ in views.values())
    cone = cone_mask(clip.frames) if asked else np.ones(clip.frames.shape[1:], bool)
    boxes = {view: window(cone, crop_to, share) for view, (crop_to, share, _) in views.items()}
    try:
        return {view: resize(crop(chosen, boxes[view]), side) for view, (_, _, side) in views.items()}, boxes
    except ValueError as error:
        raise UnreadableFile(
            path, f"cannot be cut as the profile says: {error}", "choose another `crop`, or leave the file out"
        ) from error


def _chosen(path: str, clip: Clip, rows: pd.DataFrame, settings: FrameSettings) -> tuple[list[int], list[int]]:
    """Positions in the file and frame indices in the clip. Frames named one by one are always taken."""
    n, most = len(clip.frames), settings.max_per_clip
    named = [int(index) for index in rows["frame_index"].dropna()]
    if n == 1 and not clip.is_partial:  # a still: the manifest says which frame of its clip it is
        if len(named) > 1:
            raise UnreadableFile(
                path, f"is one picture, but the manifest names frames {named} of it", "correct frame_index"
            )
        return [0], [named[0] if named else 0]
    beyond = [index for index in named if not 0 <= index < n]
    if beyond:
        raise UnreadableFile(
            path, f"the manifest names frame {beyond[0]}, the clip has {n} frames (0 to {n - 1})", "correct frame_index"
        )
    if not rows["frame_index"].isna().any():
        return named, named
    taken = list(range(0, n, settings.frame_stride))
    if most is not None and len(taken) > most:
        taken = [taken[round(i)] for i in np.linspace(0, len(taken) - 1, most)]
    both = sorted({*taken, *named})
    return both, both
