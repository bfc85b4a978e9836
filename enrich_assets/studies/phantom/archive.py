"""The built-in archive: a fetal-echo phantom, written as the files an ultrasound department would hand over.

The folder, its files and its manifest. Which patients, studies and clips there are: `plan`; what each shows: `drawing`;
the file formats: `files`.
"""

from __future__ import annotations

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.phantom.anatomy import TARGET
from enrich_assets.studies.phantom.drawing import draw_clip
from enrich_assets.studies.phantom.files import write_dicom, write_png, write_video
from enrich_assets.studies.phantom.plan import ClipPlan, StudyPlan, plan_patient
from enrich_assets.studies.phantom.ultrasound import cone

COLUMNS = ("path", "patient_id", "study_id", "clip_id", "frame_index", "label", "view", "mask_path")
NON_TARGET = "NT"


def write_phantom(
    folder: str | os.PathLike[str], *, seed: int = 0, patients: int = 40, first_patient: int = 0, scale: float = 1.0
) -> str:
    """Write an archive of phantom patients.

    Parameters
    ----------
    folder : path
        Local; made if missing.
    seed : int
        Another seed, other people.
    patients, first_patient : int
        How many, from which number on (`first_patient=0` begins with `PH0001`). A number is the same person with the
        same clips whichever drop they come in, so drops with disjoint ranges make one growing archive.
    scale : float
        Of the clips' lengths, for small archives in tests.

    Returns
    -------
    str
        The path of its `manifest.csv`: a row per clip, or per frame where a clip's view changes, and one more per frame
        with a mask.

    Raises
    ------
    ValueError
        No patients, or a scale that is not positive.

    Notes
    -----
    Forty patients: about 2,500 frames of 300x400 in 320 clips, 50 MB. The same arguments give the same files.
    Files: `<patient>/<clip>.dcm|avi|mp4` and `<patient>/<clip>_<k>.png`; `masks/*.png` hold the indices of CHAMBERS.
    """
    if patients < 1 or first_patient < 0 or scale <= 0:
        raise ValueError("a phantom archive needs patients >= 1, first_patient >= 0 and scale > 0")
    home = Path(folder)
    (home / "masks").mkdir(parents=True, exist_ok=True)
    numbers = range(first_patient, first_patient + patients)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        rows = list(threads.map(partial(_write_patient, home, seed, scale), numbers))
    manifest = home / "manifest.csv"
    with open(manifest, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for of_patient in rows for row in of_patient)
    return str(manifest)


def _write_patient(home: Path, seed: int, scale: float, number: int) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for study in plan_patient(seed, number, scale):
        (home / study.patient_id).mkdir(exist_ok=True)
        for k, clip in enumerate(study.clips):
            rows += _write_clip(home, study, k + 1, clip)
    return rows


def _write_clip(home: Path, study: StudyPlan, number: int, clip: ClipPlan) -> list[dict[str, str]]:
    """The clip's files, and its rows of the manifest. number: of the clip in its study, from 1."""
    frames, views, masks = draw_clip(study, clip)
    paths = _write_frames(home, study, number, clip, frames)
    mask_paths = {}
    for index, mask in masks.items():
        mask_paths[index] = f"masks/{study.patient_id}-{clip.name}-{index:03d}.png"
        write_png(home / mask_paths[index], mask)
    common = {"patient_id": study.patient_id, "study_id": study.study_id, "clip_id": clip.name}

    def row(index: int | None, mask: str = "") -> dict[str, str]:
        view = views[index or 0]
        label = TARGET if view == TARGET else NON_TARGET
        at = "" if index is None else str(index)
        return {**common, "path": paths[index or 0], "frame_index": at, "label": label, "view": view, "mask_path": mask}

    if clip.form == "png" or len(set(views)) > 1:
        return [row(index, mask_paths.get(index, "")) for index in range(len(frames))]
    return [row(None), *(row(index, mask) for index, mask in sorted(mask_paths.items()))]


def _write_frames(home: Path, study: StudyPlan, number: int, clip: ClipPlan, frames: NDArray[np.uint8]) -> list[str]:
    """The file of each frame, relative to `home`: one a still, the same for all frames of a DICOM cine or a video."""
    stem = f"{study.patient_id}/{clip.name}"
    if clip.form == "png":
        paths = [f"{stem}_{k}.png" for k in range(len(frames))]
        for path, frame in zip(paths, frames, strict=True):
            write_png(home / path, frame)
        return paths
    path = f"{stem}.{clip.form}"
    if clip.form == "dcm":
        y, x = np.nonzero(cone(study.sector))
        box = (int(x.min()), int(y.min()), int(x.max()), int(y.max()))
        write_dicom(home / path, frames, 1000 / study.frames_per_second, study.identity, number, box)
    else:
        write_video(home / path, frames, study.frames_per_second)
    return [path] * len(frames)
