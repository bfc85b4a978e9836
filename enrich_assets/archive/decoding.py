"""A source file decoded: its frames in every view, their digests, and where they were cut. Written part by part, so that an
interrupted batch goes on where it stopped."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from enrich_assets.archive.frames import FRAME_COLUMNS, digest_column, frame_ids
from enrich_assets.archive.sources import SourceFiles
from enrich_assets.archive.values import joined
from enrich_assets.method.images.digest import pixel_digests
from enrich_assets.parquet import from_parquet
from enrich_assets.progress import Advance
from enrich_assets.settings import FrameSettings
from enrich_assets.store.artefacts import Draft
from enrich_assets.studies.addresses import at_hand
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.isolation import in_order, isolated

if TYPE_CHECKING:
    from enrich_assets.studies.readers import View

PART_FRAMES = 1000  # about so many frames go into one stored part
FRAMES_OF_A_VIDEO = 60  # a guess, to group files into parts before they are decoded
STILLS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

SourceFile = tuple[str, pd.DataFrame]  # path, and the manifest's rows of it
Tables = dict[str, pd.DataFrame]


class NotLookedFor(UserWarning):
    """Something that could be in the pixels, and that nobody looked for."""


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
        from enrich_assets.studies.decoding.burned_in import NOT_LOOKED_FOR, can_look

        # A file of several rows (a video of which single frames carry masks) is decoded once.
        sources = [(str(path), group) for path, group in rows.groupby("path", sort=False)]
        if not can_look():
            warnings.warn(NotLookedFor(NOT_LOOKED_FOR), stacklevel=2)
        tables = {name: [table] for name, table in self._no_rows().items()}
        done = 0
        for number, part in enumerate(_parts(sources)):
            if not draft.has(f"refused-{number:04d}.parquet", note=True):
                self._decode_part(draft, number, part)
            for name, collected in tables.items():
                collected.append(self._read_part(draft, name, number))
            done += len(part)
            advance(done, len(sources), {"frames": float(sum(map(len, tables["frames"])))})
        return {name: joined(collected) for name, collected in tables.items()}

    def _decode_part(self, draft: Draft, number: int, part: list[SourceFile]) -> None:
        decoded = list(in_order(self._decode_file, part))
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

    def _decode_file(self, source: SourceFile) -> DecodedFile | UnreadableFile:
        from enrich_assets.studies.readers import Wanted, read_pictures  # late: OpenCV, FFmpeg and pydicom

        path, rows = source
        first, frame_index = rows.iloc[0], rows["frame_index"]
        named = tuple(int(index) for index in frame_index.dropna())
        taken = self.settings
        wanted = Wanted(named, bool(frame_index.isna().any()), taken.frame_stride, taken.max_per_clip, taken.slices)
        try:
            self.files.require_unchanged(path, first.sha256)
            with at_hand(self.files.address(path)) as place:
                pictures = isolated(path, read_pictures, place, wanted, dict(self.views))
        except UnreadableFile as refusal:
            return UnreadableFile(path, refusal.reason, refusal.remedy)  # under the name it is known by, sealed or not
        except OSError as error:
            return UnreadableFile(
                path, f"cannot be opened ({type(error).__name__})", "bring it back, then `enrich run`"
            )
        indices, pixels, boxes = pictures.indices, pictures.views, pictures.boxes
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
            "height": pictures.height,
            "width": pictures.width,
            "warnings": "; ".join(pictures.warnings),
            "deidentification": "; ".join(pictures.actions),
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
