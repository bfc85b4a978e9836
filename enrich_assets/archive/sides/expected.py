"""How many frames a manifest stands for, before they are decoded: by the headers of some of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from enrich_assets.archive.decoding import FRAMES_OF_A_VIDEO, STILLS
from enrich_assets.studies.addresses import at_hand
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.isolation import isolated

if TYPE_CHECKING:
    from enrich_assets.archive.home import Archive

MOST_LOOKED_INTO = 64  # files of a batch, spread over it


def expected_frames(archive: Archive, rows: pd.DataFrame) -> tuple[pd.Series, bool]:
    """Frames by row, and whether any of that is an estimate.

    A row that names a frame, and a still, is one. Of other files some headers are read; the others are taken to hold as many as these do
    on average. The profile's `frame_stride` and `max_per_clip` are applied.

    Parameters
    ----------
    archive
        Whose.
    rows
        Of a manifest as it was ingested.
    """
    one = rows["frame_index"].notna() | rows["path"].str.lower().str.endswith(STILLS)
    counts = pd.Series(1, index=rows.index, dtype="int64")
    paths = sorted(set(rows.loc[~one, "path"]))
    if not paths:
        return counts, False
    looked_into = paths[:: max(1, -(-len(paths) // MOST_LOOKED_INTO))]
    known = {path: n for path in looked_into if (n := _announced(archive, path)) is not None}
    mean = round(float(np.mean(list(known.values())))) if known else FRAMES_OF_A_VIDEO
    taken, named = archive.profile.frames, rows.loc[one, "path"].value_counts()  # those have rows of their own
    for at, path in rows.loc[~one, "path"].items():
        n = -(-known.get(path, mean) // taken.frame_stride)
        whole = n if taken.max_per_clip is None else min(n, taken.max_per_clip)
        counts[at] = max(0, whole - named.get(path, 0))
    return counts, len(known) < len(paths)


def _announced(archive: Archive, path: str) -> int | None:
    from enrich_assets.archive.sources import source_files  # it reads the sides, too
    from enrich_assets.studies.readers import frames_announced  # late: OpenCV, FFmpeg and pydicom

    try:
        with at_hand(source_files(archive).address(path)) as place:
            return isolated(path, frames_announced, place)
    except (UnreadableFile, OSError, LookupError):
        return None
