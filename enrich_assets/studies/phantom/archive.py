"""The built-in archive: a fetal-echo phantom, written as the files an ultrasound department would hand over.

Which patients, studies and clips there are, what each shows and for how long. The anatomy is in `phantom_anatomy`, the
scanner in `phantom_ultrasound`, the file formats in `phantom_files`. The archive is redundant because hearts beat and
sonographers linger, and rare where nature is rare; nothing in it looks at how frames will be chosen.
"""

from __future__ import annotations

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.phantom.anatomy import TARGET, Build, beat_at, draw_build, draw_waves, section
from enrich_assets.studies.phantom.files import Identity, write_dicom, write_png, write_video
from enrich_assets.studies.phantom.ultrasound import HEIGHT, WIDTH, Pose, Scanner, Sector, Setting, blend, cone

COLUMNS = ("path", "patient_id", "study_id", "clip_id", "frame_index", "label", "view", "mask_path")
NON_TARGET = "NT"
TRANSITION = "transition"
SWEEP = ("abdomen", "ventricles", "A4C", "LVOT", "3VV", "3VT")  # the order in which a sweep meets the planes

_OTHER_VIEWS = {"LVOT": 0.1, "ventricles": 0.1, "3VV": 0.2, "abdomen": 0.22, "SAX": 0.12, "3VT": 0.14, "head": 0.06,
                "limb": 0.06}  # fmt: skip
_FAMILY = ("MUSTER", "BEISPIEL", "DOE", "ROE", "ROSSI", "NOVAK", "JANSEN", "SILVA", "TANAKA", "OKAFOR", "LARSEN")
_GIVEN = ("ANNA", "JANE", "MARIE", "LUCIA", "EVA", "YUKI", "INGRID", "AMARA", "SOFIA", "CLARA")
# The department's machines: sector, beam width, pulse length, speckle reduction, dynamic range, gamma; share of studies.
_MACHINES = (
    (Sector(0.62, 62, 13, 276), 1.2, 1.0, 0.75, 48.0, 1.05, 0.5),
    (Sector(0.55, 95, 12, 278), 1.5, 1.2, 0.85, 52.0, 1.0, 0.3),
    (Sector(0.68, 40, 16, 270), 1.0, 0.9, 0.65, 45.0, 1.15, 0.2),
)
_HOSPITALS = ("ST ELSEWHERE", "GENERAL HOSPITAL", "WOMENS CLINIC")


@dataclass(frozen=True)
class ClipPlan:
    """A clip before it is drawn. views: one, or several in the order of a sweep. drift: how restless the fetus is."""

    name: str
    form: str  # 'dcm', 'avi', 'mp4', 'png'
    views: tuple[str, ...]
    n_frames: int
    build: Build
    pose: Pose
    setting: Setting
    drift: float
    seed: int


@dataclass(frozen=True)
class StudyPlan:
    study_id: str
    patient_id: str
    identity: Identity
    sector: Sector
    frames_per_second: int
    beats_per_second: float
    clips: tuple[ClipPlan, ...]


def write_phantom(
    folder: str | os.PathLike[str], *, seed: int = 0, patients: int = 40, first_patient: int = 0, scale: float = 1.0
) -> str:
    """Write an archive of phantom patients and return the path of its `manifest.csv`.

    folder: local, made if missing. seed, patients, first_patient: patient number k (`PH0001` on) is the same person
    with the same clips whichever drop it comes in, so drops with disjoint ranges make one growing archive.
    scale: of the clips' lengths, for small archives in tests.
    Forty patients: about 2,500 frames of 300x400 in 320 clips, 50 MB. The same arguments give the same pixels.
    Files: `<patient>/<clip>.dcm|avi|mp4` and `<patient>/<clip>_<k>.png`; `masks/*.png` hold the indices of CHAMBERS.
    Manifest: a row per clip, or per frame where a clip's view changes, and one more per frame with a mask.
    Raises ValueError for no patients or a scale that is not positive.
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


# --------------------------------------------------------------------------------------- who, what, how long


def plan_patient(seed: int, number: int, scale: float = 1.0) -> list[StudyPlan]:
    """The studies of a patient, before anything is drawn."""
    rng = np.random.default_rng([seed, number])
    patient = f"PH{number + 1:04d}"
    build = draw_build(rng)
    # Which way the fetus lies: apex to the probe (apical, what a sonographer waits for), away from it, or sideways.
    lie = float(rng.choice([0.0, np.pi, np.pi / 2, -np.pi / 2], p=[0.86, 0.08, 0.03, 0.03]) + rng.normal(0, 0.22))
    mirrored = bool(rng.random() < 0.3)
    identity = _draw_identity(rng, number)
    sector, setting = _draw_machine(rng)
    studies = []
    for visit in range(1 + int(rng.random() < 0.15)):
        size = float(rng.uniform(115, 155))
        clips = [
            _plan_clip(rng, f"v{visit + 1}c{k + 1:02d}", views, build, lie, mirrored, setting, size, scale)
            for k, views in enumerate(_draw_views(rng))
        ]
        studies.append(
            StudyPlan(
                study_id=f"{patient}-{visit + 1}",
                patient_id=patient,
                identity=replace(identity, study_number=identity.study_number * 10 + visit),
                sector=sector,
                frames_per_second=int(rng.choice([25, 30, 40])),
                beats_per_second=float(rng.normal(2.35, 0.12)),
                clips=tuple(clips),
            )
        )
    return studies


def _draw_views(rng: np.random.Generator) -> list[tuple[str, ...]]:
    """At least one target and one other clip a study; now and then a sweep through the planes."""
    names, shares = list(_OTHER_VIEWS), np.array(list(_OTHER_VIEWS.values()))
    clips: list[tuple[str, ...]] = [(TARGET,), (str(rng.choice(names, p=shares)),)]
    for _ in range(int(rng.integers(3, 8))):
        chance = rng.random()
        if chance < 0.36:
            clips.append((TARGET,))
        elif chance < 0.44:
            start = int(rng.integers(0, len(SWEEP) - 2))
            planes = SWEEP[start : start + int(rng.integers(2, 4))]
            clips.append(planes if rng.random() < 0.5 else planes[::-1])
        else:
            clips.append((str(rng.choice(names, p=shares)),))
    return [clips[k] for k in rng.permutation(len(clips))]


def _draw_length(rng: np.random.Generator, sweep: bool) -> int:
    """A few frames mostly, a heart beat or two often, a long look now and then."""
    kind = rng.random()
    if kind < 0.74 and not sweep:
        return int(rng.integers(1, 7))
    if kind < 0.97:
        return int(rng.integers(8, 17))
    return int(rng.integers(40, 105))


def _plan_clip(
    rng: np.random.Generator, name: str, views: tuple[str, ...], build: Build, lie: float, mirrored: bool,
    setting: Setting, size: float, scale: float,
) -> ClipPlan:  # fmt: skip
    length = _draw_length(rng, len(views) > 1)
    n_frames = max(1 if length < 4 else 3, round(length * scale))
    form = "png" if length < 4 else str(rng.choice(["dcm", "avi", "mp4"], p=[0.5, 0.2, 0.3]))
    turn = lie - build.heart_axis + float(rng.normal(0, 0.12))
    x, y = rng.normal((199.5, 152.0), 9)
    pose = Pose(turn, size * float(rng.uniform(0.9, 1.1)), float(x), float(y), mirrored)
    # Off-centre structures (apex, arches) are brought to the middle of the picture, as a sonographer would.
    middle = pose.to_picture(np.array([[0.12, -0.05]]))[0]
    pose = replace(pose, x=pose.x + 0.7 * (199.5 - middle[0]), y=pose.y + 0.7 * (152 - middle[1]))
    return ClipPlan(
        name=name,
        form=form,
        views=views,
        n_frames=n_frames,
        build=replace(build, waves=np.vstack([build.waves, draw_waves(rng, 2, 0.015)])),
        pose=pose,
        setting=replace(
            setting,
            gain=setting.gain + float(rng.normal(0, 0.8)),
            depth_gain=tuple(float(g) for g in rng.normal(0, 1.2, 3)),  # type: ignore[arg-type]
            near_wall=float(rng.uniform(14, 42)),
        ),
        drift=float(rng.choice([0.4, 1.0, 3.0], p=[0.5, 0.35, 0.15])),
        seed=int(rng.integers(1 << 31)),
    )


def _draw_machine(rng: np.random.Generator) -> tuple[Sector, Setting]:
    """One of the department's machines, and how this mother's tissue and these knobs make it look."""
    machine = _MACHINES[int(rng.choice(len(_MACHINES), p=[m[-1] for m in _MACHINES]))]
    sector, lateral, axial, smoothing, dynamic_range, gamma, _ = machine
    return sector, Setting(
        gain=float(rng.normal(0, 1.0)),
        dynamic_range=dynamic_range,
        attenuation=float(rng.uniform(3, 10)),
        haze=float(np.exp(rng.uniform(np.log(0.02), np.log(0.12)))),
        noise=float(rng.uniform(-46, -38)),
        lateral=lateral,
        axial=axial,
        specular=float(rng.uniform(0.3, 1.1)),
        smoothing=smoothing,
        unevenness=float(rng.uniform(1.0, 2.5)),
        surroundings=float(rng.choice([66.0, 128.0, 146.0], p=[0.35, 0.3, 0.35])),
        gamma=gamma,
    )


def _draw_identity(rng: np.random.Generator, number: int) -> Identity:
    weeks, days = int(rng.integers(18, 32)), int(rng.integers(0, 7))
    return Identity(
        name=f"{rng.choice(_FAMILY)}^{rng.choice(_GIVEN)}",
        number=f"{rng.integers(10**6, 10**7)}",
        birth_date=f"{rng.integers(1978, 2003)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        study_date=f"{rng.integers(2012, 2022)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        study_number=1000 + number,
        hospital=str(rng.choice(_HOSPITALS)),
        physician=f"{rng.choice(_FAMILY)}^DR",
        weeks=f"{weeks}w{days}d",
    )


# --------------------------------------------------------------------------------------- drawing and writing


def _write_patient(home: Path, seed: int, scale: float, number: int) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for study in plan_patient(seed, number, scale):
        (home / study.patient_id).mkdir(exist_ok=True)
        for k, clip in enumerate(study.clips):
            rows += _write_clip(home, study, k + 1, clip)
    return rows


def _write_clip(home: Path, study: StudyPlan, number: int, clip: ClipPlan) -> list[dict[str, str]]:
    frames, views, masks = draw_clip(study, clip)
    stem = f"{study.patient_id}/{clip.name}"
    paths = [f"{stem}.{clip.form}"] * len(frames)
    if clip.form == "png":
        paths = [f"{stem}_{k}.png" for k in range(len(frames))]
        for path, frame in zip(paths, frames, strict=True):
            write_png(home / path, frame)
    elif clip.form == "dcm":
        y, x = np.nonzero(cone(study.sector))
        box = (int(x.min()), int(y.min()), int(x.max()), int(y.max()))
        write_dicom(home / paths[0], frames, 1000 / study.frames_per_second, study.identity, number, box)
    else:
        write_video(home / paths[0], frames, study.frames_per_second)
    common = {"patient_id": study.patient_id, "study_id": study.study_id, "clip_id": clip.name}

    def row(index: int | None, mask: str = "") -> dict[str, str]:
        view = views[index or 0]
        label = TARGET if view == TARGET else NON_TARGET
        at = "" if index is None else str(index)
        return {**common, "path": paths[index or 0], "frame_index": at, "label": label, "view": view, "mask_path": mask}

    named = {}
    for index, mask in masks.items():
        named[index] = f"masks/{study.patient_id}-{clip.name}-{index:03d}.png"
        write_png(home / named[index], mask)
    if clip.form == "png" or len(set(views)) > 1:
        return [row(index, named.get(index, "")) for index in range(len(frames))]
    return [row(None), *(row(index, mask) for index, mask in sorted(named.items()))]


def draw_clip(study: StudyPlan, clip: ClipPlan) -> tuple[NDArray[np.uint8], list[str], dict[int, NDArray[np.uint8]]]:
    """Frames (n, HEIGHT, WIDTH) uint8, the view of each, and masks of some target frames by frame index."""
    rng = np.random.default_rng(clip.seed)
    scanner = Scanner(study.sector, clip.setting, clip.seed)
    position = _sweep(rng, clip)
    views = [_view_at(clip.views, s) for s in position]
    settled = [k for k, s in enumerate(position) if views[k] == TARGET and s == round(s)]
    masked = set(rng.choice(settled, min(len(settled), int(rng.integers(1, 4))), replace=False)) if settled else set()
    phase = rng.random() + np.arange(clip.n_frames) / study.frames_per_second * study.beats_per_second
    text = _text(rng, study)
    frames = np.empty((clip.n_frames, HEIGHT, WIDTH), np.uint8)
    masks = {}
    for k, pose in enumerate(_drift(rng, clip)):
        lower = int(position[k])
        shapes = section(clip.views[lower], clip.build, phase[k])
        code = scanner.echogenicity(shapes, pose)
        if position[k] > lower:
            beyond = section(clip.views[lower + 1], clip.build, phase[k])
            code = blend(code, scanner.echogenicity(beyond, pose), float(position[k] - lower))
        squeeze = beat_at(float(phase[k])).squeeze
        frames[k] = np.maximum(scanner.frame(code, pose, squeeze), text)
        if k in masked:
            masks[k] = scanner.mask(shapes, pose)
    return frames, views, masks


def _sweep(rng: np.random.Generator, clip: ClipPlan) -> NDArray[np.float64]:
    """Where between the planes each frame lies: 0 is the first view, 1 the second; the hand rests on each plane."""
    path = np.linspace(0, len(clip.views) - 1, clip.n_frames) if len(clip.views) > 1 else np.zeros(clip.n_frames)
    step = np.floor(path)
    within = np.clip((path - step - 0.3) / 0.4, 0, 1)
    return step + within * within * (3 - 2 * within)


def _view_at(views: tuple[str, ...], position: float) -> str:
    near = round(position)
    return views[near] if abs(position - near) < 0.12 else TRANSITION


def _drift(rng: np.random.Generator, clip: ClipPlan) -> list[Pose]:
    """The probe wanders, the mother breathes, a restless fetus turns."""
    t = np.arange(clip.n_frames) / 30
    pace, start = rng.uniform(0.15, 0.5, 4), rng.uniform(0, 6.28, 4)
    wave = np.sin(2 * np.pi * pace * t[:, None] + start) - np.sin(start)
    dx, dy, turn, size = (wave * clip.drift * (2.0, 2.5, 0.02, 0.008)).T
    p = clip.pose
    moved = zip(turn, size, dx, dy, strict=True)
    return [Pose(p.turn + a, p.scale * (1 + s), p.x + right, p.y + down, p.mirrored) for a, s, right, down in moved]


def _text(rng: np.random.Generator, study: StudyPlan) -> NDArray[np.uint8]:
    """(HEIGHT, WIDTH) uint8: what the machine prints around the cone, and never on it."""
    who, image = study.identity, np.zeros((HEIGHT, WIDTH), np.uint8)
    date = f"{who.study_date[6:]}.{who.study_date[4:6]}.{who.study_date[:4]}"
    lines = [
        (3, 11, who.name.replace("^", " ")),
        (3, 23, f"ID {who.number}"),
        (3, 35, f"GA {who.weeks}"),
        (318, 11, date),
        (318, 23, f"MI {rng.uniform(0.7, 1.2):.1f} TIb 0.4"),
        (3, 285, f"{study.frames_per_second} Hz"),
        (3, 296, who.hospital),
    ]
    for x, y, line in lines:
        cv2.putText(image, line, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.33, 205, 1, cv2.LINE_AA)
    sector = study.sector
    for k in range(11):  # depth scale in centimetres
        y = round(sector.top + k * sector.depth / 10.5)
        cv2.line(image, (390 - 4 * (k % 5 == 0), y), (394, y), 190, 1)
    image[60:140, 4:11] = np.linspace(255, 0, 80)[:, None].astype(np.uint8)  # grey wedge
    around = cv2.dilate(cone(sector).astype(np.uint8), np.ones((5, 5), np.uint8))
    image[around > 0] = 0
    return image
