"""A clip of the phantom, frame by frame: the planes it passes, the beating heart, the drift of the probe, the masks.

Pictures only: who is scanned is planned in `plan`, files are written in `archive`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.phantom.anatomy import TARGET, section
from enrich_assets.studies.phantom.heart import beat_at
from enrich_assets.studies.phantom.plan import ClipPlan, StudyPlan
from enrich_assets.studies.phantom.ultrasound import HEIGHT, WIDTH, Pose, Scanner, blend, cone

TRANSITION = "transition"  # the view of a frame between two planes


def draw_clip(study: StudyPlan, clip: ClipPlan) -> tuple[NDArray[np.uint8], list[str], dict[int, NDArray[np.uint8]]]:
    """Scan a clip.

    Returns
    -------
    frames : (n, HEIGHT, WIDTH) uint8
        With what the machine prints around the cone.
    views : list of str
        The view of each frame; TRANSITION between two planes.
    masks : dict of int to (HEIGHT, WIDTH) uint8
        Class indices (CHAMBERS) of one to three target frames, by frame index.
    """
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
