"""One DICOM file to one clip, de-identified before anything else sees it.

Reading goes header (`header`), pixels (`pixels`), de-identification (`deidentify`). Folders of DICOM files without a
manifest are in `folder`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from enrich_assets.studies.decoding import Clip
from enrich_assets.studies.dicom.deidentify import blank_outside_cone, deidentify, has_cone, image_regions
from enrich_assets.studies.dicom.header import open_dataset
from enrich_assets.studies.dicom.pixels import decode
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.pseudonyms import Pseudonyms


def read_dicom(path: str, content: bytes | None = None, pseudonyms: Pseudonyms | None = None) -> Clip:
    """The frames with everything outside the ultrasound cone blanked, and what may be kept of the header.

    Parameters
    ----------
    path : str
        A local path or any fsspec URL.
    content : bytes, optional
        The file's bytes where they are at hand.
    pseudonyms : Pseudonyms, optional
        Without them no identifier and no date is kept.

    Raises
    ------
    UnreadableFile
        Its reason quotes no attribute.
    """
    dataset = open_dataset(path, content)
    kept, actions = deidentify(dataset, pseudonyms)
    confine, times = has_cone(dataset), frame_times_ms(dataset)
    regions = image_regions(dataset, (int(kept.get("rows", 0)), int(kept.get("columns", 0)))) if confine else None
    clip = decode(dataset, path)
    if confine:
        actions.append(_confine(path, clip, regions, kept.get("burned_in_annotation") == "YES"))
    else:
        actions.append("an image without ultrasound cone or burned-in text: pixels kept")
    clip.kept = {**clip.kept, **kept, "number_of_frames": len(clip)}
    clip.actions = actions
    if times is not None and len(times) >= len(clip):
        clip.frame_times_ms = times[: len(clip)]
    elif clip.frame_times_ms is None and "frame_time" in kept:
        clip.frame_times_ms = np.arange(len(clip), dtype=np.float64) * float(kept["frame_time"])
    return clip


def _confine(path: str, clip: Clip, regions: NDArray[np.bool_] | None, has_text: bool) -> str:
    """Blank the clip outside its cone, in place; returns what was done. has_text: the header announces burned-in text."""
    try:
        clip.frames, blanked = blank_outside_cone(clip.frames, regions)
    except ValueError:
        raise UnreadableFile(
            path,
            "shows no ultrasound cone, and what little it shows may be burned-in text",
            "look at it; if it is clean, export it as PNG or video",
        ) from None
    if blanked:
        return f"pixels outside the ultrasound cone set to 0 (113101): {blanked:.1%} of the image"
    if has_text:
        raise UnreadableFile(
            path,
            "says that text is burned into its pixels, and no ultrasound cone is found to confine them to",
            "clean it, then set BurnedInAnnotation to NO or export it as PNG or video",
        )
    clip.warnings.append("no ultrasound cone found: burned-in text, if any, was not removed")
    return "no ultrasound cone found: pixels kept"


def frame_times_ms(dataset: Dataset) -> NDArray[np.float64] | None:
    """Milliseconds from the first frame on by FrameTimeVector, or None where there is none."""
    try:
        steps: Any = dataset.get("FrameTimeVector")
        if steps is None:
            return None
        return np.cumsum(np.array([0.0, *(float(step) for step in list(steps)[1:])], np.float64))
    except Exception:
        return None
