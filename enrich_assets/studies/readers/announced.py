"""How many frames a file says it holds, by its header alone: for estimates, before anything is decoded."""

from __future__ import annotations

import av

from enrich_assets.studies import addresses
from enrich_assets.studies.decoding.video import OPENED_ALONE
from enrich_assets.studies.dicom.header import open_dataset
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers.reading import Kind, kind_of


def frames_announced(path: str) -> int | None:
    """The frames of a still (1), a video or a DICOM file.

    Parameters
    ----------
    path : str
        A local path or any fsspec URL.

    Returns
    -------
    int or None
        None where its header does not say, or is not to be trusted.
    """
    try:
        with addresses.open_binary(path) as file:
            kind = kind_of(file.read(264), path)
        if kind is Kind.STILL:
            return 1
        if kind is Kind.DICOM:
            return max(1, int(open_dataset(path, only=("NumberOfFrames", "Rows")).get("NumberOfFrames") or 1))
        if kind is Kind.VIDEO:
            return _of_video(path)
    except (UnreadableFile, OSError, KeyError, ValueError):
        return None
    return None


def _of_video(path: str) -> int | None:
    with (
        addresses.open_binary(path) as file,
        av.open(file, mode="r", metadata_errors="ignore", options=OPENED_ALONE) as video,
    ):
        if not video.streams.video:
            return None
        stream = video.streams.video[0]
        if stream.frames:
            return int(stream.frames)
        if stream.duration and stream.time_base and stream.average_rate:
            return max(1, round(float(stream.duration * stream.time_base * stream.average_rate)))
        if video.duration and stream.average_rate:
            return max(1, round(video.duration / av.time_base * float(stream.average_rate)))
        return None
