"""The anatomy of the phantom: cross-sections of a fetal chest and belly as outlines with an echogenicity each.

Outlines only. How an outline becomes an echo is told in `phantom_ultrasound`, which patients and clips there are in
`phantom`. Proportions follow the usual description of the four-chamber view (Carvalho et al., ISUOG practice guidelines
2023): the heart fills a third of the chest, its axis lies 45 degrees to the left, the tricuspid valve inserts a little
nearer to the apex than the mitral, the descending aorta lies between left atrium and spine.

Body frame: origin in the middle of the chest, unit length = radius of the chest, x to the fetus' left, y to its back.
Heart frame: apex at (0, -1), atria at (0, 1), right ventricle at negative x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Line = Points | list[tuple[float, float]]

CHAMBERS = ("background", "LV", "RV", "LA", "RA")  # the classes of a mask, in the order of their indices

# Echogenicity in quarter decibels; 200 is a strong diffuse scatterer.
FLUID, BLOOD, THYMUS, LUNG, MUSCLE, LIVER, SKIN, WALL, VALVE, BONE = 8, 14, 126, 154, 142, 148, 178, 186, 182, 250


class Shape(NamedTuple):
    """A filled outline in the body frame, painted over the shapes before it. chamber: index in CHAMBERS, 0 = none."""

    points: Points
    echogenicity: float
    chamber: int = 0


@dataclass(frozen=True)
class Build:
    """What is particular to a patient (and, slightly, to a clip: another plane through the same body)."""

    heart_axis: float = np.pi / 4  # from the front towards the left
    heart_size: float = 0.62  # half length over the radius of the chest
    heart_centre: tuple[float, float] = (0.14, -0.1)
    left_width: float = 1.0  # of the left chambers
    right_width: float = 1.0
    wall: float = 0.0  # thicker (+) or thinner (-) muscle, in heart units
    ribs: tuple[tuple[float, float], ...] = ()  # (angle, half length in angle) of each rib in the plane
    flatness: float = 0.9  # front-to-back over left-to-right diameter of the chest
    finding: str = ""  # '', 'small left heart', 'septal defect', 'effusion', 'large heart'
    waves: Points = field(default_factory=lambda: np.zeros((0, 5)))  # (k, 5): smooth deformations, see `_warp`


def draw_build(rng: np.random.Generator) -> Build:
    """A patient."""
    finding = str(rng.choice(["", "small left heart", "septal defect", "effusion", "large heart"],
                             p=[0.84, 0.04, 0.04, 0.04, 0.04]))  # fmt: skip
    angles = rng.permutation(np.linspace(0.35, 2 * np.pi - 0.35, 8) + rng.uniform(-0.2, 0.2, 8))
    return Build(
        heart_axis=np.deg2rad(rng.normal(44, 8)),
        heart_size=float(rng.uniform(0.57, 0.68)) * (1.17 if finding == "large heart" else 1.0),
        heart_centre=(float(rng.normal(0.12, 0.04)), float(rng.normal(-0.1, 0.04))),
        left_width=float(rng.normal(1, 0.08)) * (0.6 if finding == "small left heart" else 1.0),
        right_width=float(rng.normal(1, 0.08)) * (1.12 if finding == "small left heart" else 1.0),
        wall=float(rng.normal(0, 0.015)),
        ribs=tuple((float(a), float(rng.uniform(0.06, 0.2))) for a in angles[: rng.integers(3, 7)]),
        flatness=float(rng.uniform(0.84, 1.0)),
        finding=finding,
        waves=draw_waves(rng, 3, 0.028),
    )


def draw_waves(rng: np.random.Generator, count: int, amplitude: float) -> Points:
    """Smooth deformations of the plane: each a displacement (dx, dy) times a sine along a direction (kx, ky)."""
    direction = rng.uniform(0, 2 * np.pi, count)
    pace = rng.uniform(1.0, 2.6, count)
    shift = rng.normal(0, amplitude, (count, 2))
    return np.column_stack([shift, pace * np.cos(direction), pace * np.sin(direction), rng.uniform(0, 6.3, count)])


def _warp(points: Points, waves: Points) -> Points:
    """The same smooth displacement for all that lies at a place: neighbouring outlines never cross."""
    if not len(waves):
        return points
    return points + np.sin(points @ waves[:, 2:4].T + waves[:, 4]) @ waves[:, :2]


# ------------------------------------------------------------------------------------------------- outlines


def curve(controls: Line, closed: bool = True, steps: int = 6) -> Points:
    """A smooth line through the control points (Catmull-Rom): (k, 2) -> (k * steps, 2)."""
    p = np.asarray(controls, float)
    if closed:
        i = np.arange(len(p))
        before, after, beyond = p[i - 1], p[i + 1 - len(p)], p[i + 2 - len(p)]
    else:
        before, after = np.vstack([p[:1], p[:-1]]), np.vstack([p[1:], p[-1:]])
        beyond = np.vstack([p[2:], p[-1:], p[-1:]])
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (x[:, None, :] for x in (before, p, after, beyond))
    smooth: Points = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return smooth.reshape(-1, 2)


@lru_cache(maxsize=8)
def _circle(n: int) -> Points:
    t = np.arange(n) * (2 * np.pi / n)
    return np.column_stack([np.cos(t), np.sin(t)])


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0, n: int = 28) -> Points:
    c, s = math.cos(turn), math.sin(turn)
    return _circle(n) @ np.array([[rx * c, rx * s], [-ry * s, ry * c]]) + (x, y)


def ribbon(line: Line, width: float, end: float | None = None) -> Points:
    """A line with a width (tapering to `end`) as an outline."""
    p = np.asarray(line, float)
    along = np.empty_like(p)
    along[1:-1] = p[2:] - p[:-2]
    along[0], along[-1] = p[1] - p[0], p[-1] - p[-2]
    across = along[:, ::-1] * (-1, 1) / (np.hypot(along[:, 0], along[:, 1])[:, None] + 1e-9)
    half = width / 2 if end is None else np.linspace(width / 2, end / 2, len(p))[:, None]
    return np.concatenate([p + half * across, (p - half * across)[::-1]])


def _arc(angle: float, half: float, radius: float, flatness: float, n: int = 9) -> Points:
    t = np.linspace(angle - half, angle + half, n)
    return np.column_stack([radius * np.sin(t), -radius * flatness * np.cos(t)])


# ------------------------------------------------------------------------------------------------- the trunk


def _trunk(build: Build, inside: float) -> list[Shape]:
    """Skin, chest or belly wall, ribs, spine with its three ossification centres; `inside` fills it."""
    return list(_resting(build.ribs, build.flatness, inside))


@lru_cache(maxsize=64)
def _resting(ribs: tuple[tuple[float, float], ...], flat: float, inside: float) -> tuple[Shape, ...]:
    """The trunk does not beat: it is outlined once for all frames of a clip."""
    shapes = [
        Shape(ellipse(0, 0, 1.13, 1.13 * flat, n=48), SKIN),
        Shape(ellipse(0, 0, 1.06, 1.06 * flat, n=48), MUSCLE + 6),
        Shape(ellipse(0, 0, 0.97, 0.97 * flat, n=48), inside),
        Shape(ellipse(0, 0.9 * flat, 0.24, 0.2), MUSCLE + 4),
    ]
    shapes += [Shape(ribbon(_arc(a, half, 1.01, flat), 0.07), BONE) for a, half in ribs]
    y = 0.8 * flat
    centres = ((0.0, y, 0.085, 0.06), (-0.12, y + 0.17, 0.05, 0.04), (0.12, y + 0.17, 0.05, 0.04))
    shapes += [Shape(ellipse(*centre, n=16), BONE) for centre in centres]
    shapes.append(Shape(ellipse(0, y + 0.13, 0.05, 0.045, n=16), FLUID + 60))  # spinal canal
    return tuple(shapes)


def _vessel(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> list[Shape]:
    ry = rx if ry is None else ry
    return [Shape(ellipse(x, y, rx + 0.025, ry + 0.025, turn), WALL), Shape(ellipse(x, y, rx, ry, turn), BLOOD)]


def _great_vessels_behind(build: Build) -> list[Shape]:
    return _vessel(0.13, 0.62 * build.flatness, 0.085)


def _tube(line: list[tuple[float, float]], width: float, end: float | None = None) -> list[Shape]:
    smooth = curve(line, closed=False)
    wall = None if end is None else end + 0.05
    return [Shape(ribbon(smooth, width + 0.05, wall), WALL), Shape(ribbon(smooth, width, end), BLOOD)]


# ------------------------------------------------------------------------------------------------- the heart

_LV = [(0.08, -0.70), (0.27, -0.66), (0.46, -0.44), (0.53, -0.14), (0.48, 0.09), (0.28, 0.13), (0.09, 0.12),
       (0.06, -0.10), (0.055, -0.42)]  # fmt: skip
_RV = [(-0.08, -0.52), (-0.24, -0.58), (-0.45, -0.38), (-0.57, -0.10), (-0.52, 0.04), (-0.30, 0.06), (-0.09, 0.05),
       (-0.06, -0.14), (-0.055, -0.36)]  # fmt: skip
_LA = [(0.07, 0.25), (0.26, 0.21), (0.45, 0.26), (0.51, 0.45), (0.41, 0.66), (0.22, 0.74), (0.07, 0.67),
       (0.035, 0.45)]  # fmt: skip
_RA = [(-0.07, 0.18), (-0.28, 0.14), (-0.50, 0.19), (-0.60, 0.42), (-0.50, 0.66), (-0.27, 0.75), (-0.08, 0.68),
       (-0.035, 0.45)]  # fmt: skip
_EPICARDIUM = [(0.0, -0.92), (0.32, -0.84), (0.60, -0.50), (0.69, -0.10), (0.62, 0.20), (0.62, 0.48), (0.47, 0.77),
               (0.20, 0.85), (-0.02, 0.79), (-0.27, 0.86), (-0.57, 0.78), (-0.70, 0.45), (-0.64, 0.16),
               (-0.70, -0.14), (-0.56, -0.50), (-0.30, -0.78)]  # fmt: skip


class Beat(NamedTuple):
    """A moment of the cycle. squeeze: 0 end-diastole to 1 end-systole. opening of the AV valves: 0 shut to 1 open."""

    squeeze: float = 0.0
    opening: float = 0.0


def beat_at(phase: float) -> Beat:
    """phase: share of the cycle since end-diastole. Ejection takes 40 % of it, filling most of the rest."""
    phase %= 1.0
    through = phase / 0.4 if phase < 0.4 else 1 + (phase - 0.4) / 0.6
    squeeze = 0.5 - 0.5 * np.cos(np.pi * through)
    opening = np.clip(np.sin(np.pi * (phase - 0.45) / 0.52), 0, 1) if 0.45 < phase < 0.97 else 0.0
    return Beat(float(squeeze), float(opening) ** 0.6)


def _moved(points: Line, beat: Beat) -> Points:
    """The base of the heart is drawn towards the apex in systole, and back."""
    p = np.array(points, float)
    p[:, 1] -= 0.09 * beat.squeeze * np.exp(-(((p[:, 1] - 0.12) / 0.4) ** 2))
    return p


def _sized(points: Points, build: Build) -> Points:
    p = points.copy()
    p[:, 0] *= np.where(p[:, 0] > 0, build.left_width, build.right_width)
    return p


def _chamber(controls: list[tuple[float, float]], build: Build, beat: Beat, ventricle: bool) -> Points:
    p = _moved(curve(controls), beat)
    centre = p.mean(axis=0)
    sx, sy = (1 - 0.3 * beat.squeeze, 1 - 0.1 * beat.squeeze) if ventricle else (1 + 0.08 * beat.squeeze,) * 2
    # Ventricles narrow towards the septum and the valve, not towards their own middle: these stay where they are.
    anchor = np.array([0.07 * np.sign(centre[0]), p[:, 1].max() if ventricle else p[:, 1].min()])
    p = anchor + (p - anchor) * (sx, sy)
    inner = 1 - (build.wall + (0.02 if ventricle and centre[0] > 0 else 0)) / 0.5
    return _sized(p, build) if not build.wall else _sized(p.mean(axis=0) + (p - p.mean(axis=0)) * inner, build)


def _valve(near: tuple[float, float], far: tuple[float, float], build: Build, beat: Beat) -> list[Shape]:
    """Blood between the hinges, and two leaflets that meet between them or point into the ventricle."""
    hinge = _sized(_moved([near, far], beat), build)
    a, b = hinge
    middle = (a + b) / 2
    neck = np.array([a, b, b, a]) + np.array([(0, -0.09), (0, -0.09), (0, 0.1), (0, 0.1)])
    shapes = [Shape(neck, BLOOD)]
    for end, length in ((a, 0.9), (b, 0.75)):
        sag = np.array([0, 0.02])
        shut = middle + sag
        wide = end + (middle - end) * 0.3 - np.array([0, 0.24 * length])
        tip = shut + (wide - shut) * beat.opening
        leaflet = curve(np.array([end, (end + tip) / 2 + sag, tip]), closed=False, steps=4)
        shapes.append(Shape(ribbon(leaflet, 0.035), VALVE))
    return shapes


def four_chamber(build: Build, beat: Beat) -> list[Shape]:
    """The heart of the apical four-chamber view, in the heart frame; the target view."""
    chambers = [_chamber(c, build, beat, v) for c, v in ((_LV, True), (_RV, True), (_LA, False), (_RA, False))]
    outline = _sized(_moved(curve(_EPICARDIUM), beat) * (1 - 0.05 * beat.squeeze), build)
    shapes = _pericardium(outline, build)
    shapes += [Shape(p, BLOOD, i + 1) for i, p in enumerate(chambers)]
    shapes += _valve((0.10, 0.17), (0.46, 0.17), build, beat)
    shapes += _valve((-0.10, 0.10), (-0.50, 0.11), build, beat)
    moderator = _sized(_moved([(-0.06, -0.30), (-0.20, -0.36), (-0.36, -0.42)], beat), build)
    shapes.append(Shape(ribbon(moderator, 0.06), MUSCLE))
    if build.finding == "septal defect":
        gap = _sized(_moved([(-0.12, -0.04), (0.12, -0.02), (0.12, 0.30), (-0.12, 0.28)], beat), build)
        shapes.append(Shape(gap, BLOOD))
    else:
        shapes.append(Shape(_sized(_moved(ellipse(0, 0.13, 0.07, 0.06), beat), build), WALL))  # the crux
        foramen = np.array([(-0.05, 0.38), (0.06, 0.38), (0.06, 0.52), (-0.05, 0.52)])
        shapes.append(Shape(foramen, BLOOD))
        flap = [(0.03, 0.37), (0.10 + 0.04 * beat.squeeze, 0.45), (0.03, 0.54)]
        shapes.append(Shape(ribbon(curve(flap, closed=False), 0.025), VALVE - 15))
    for x, y, to_x, to_y in ((0.44, 0.62, 0.66, 0.76), (0.30, 0.71, 0.38, 0.93)):  # pulmonary veins
        shapes.append(Shape(ribbon([(x, y), ((x + to_x) / 2, (y + to_y) / 2), (to_x, to_y)], 0.07, 0.05), BLOOD))
    return shapes


def _pericardium(outline: Points, build: Build) -> list[Shape]:
    middle = outline.mean(axis=0)
    rim = 1.13 if build.finding == "effusion" else 1.0
    shapes = [Shape(middle + (outline - middle) * (rim + 0.045), WALL)]
    if rim > 1:
        shapes.append(Shape(middle + (outline - middle) * rim, FLUID))
    return [*shapes, Shape(outline, MUSCLE)]


def _outflow(build: Build, beat: Beat) -> list[Shape]:
    """The left outflow tract ("five chambers"): a near miss, with the aorta where the crux should be."""
    shapes = [s._replace(chamber=0) for s in four_chamber(replace(build, finding=""), beat)]
    root = [(0.20, -0.12), (0.08, 0.10), (-0.08, 0.32), (-0.16, 0.62)]
    line = _sized(_moved(curve(root, closed=False), beat), build)
    shapes += [Shape(ribbon(line[5:], 0.34, 0.27), WALL), Shape(ribbon(line, 0.25, 0.19), BLOOD)]
    shut = line[len(line) // 2]
    cusp = np.array([0.11 * (1 - 0.8 * np.sin(np.pi * beat.squeeze)), 0.02])
    shapes.append(Shape(ribbon(np.array([shut - cusp, shut, shut + cusp]), 0.03), VALVE))
    return shapes


def _ventricles_only(build: Build, beat: Beat) -> list[Shape]:
    """A plane too far towards the diaphragm: both ventricles and the septum, no valves, no crux, hardly an atrium."""
    p = curve([(x, y * 0.85 + 0.12) for x, y in _EPICARDIUM[:5]] + [(0.42, 0.52), (0.0, 0.66), (-0.42, 0.52)]
              + [(x, y * 0.85 + 0.12) for x, y in _EPICARDIUM[12:]])  # fmt: skip
    shapes = _pericardium(_sized(p * (1 - 0.05 * beat.squeeze), build), build)
    for controls in (_LV, _RV):
        grown = [(x, y if y < -0.05 else 0.9 * y + 0.2) for x, y in controls]
        shapes.append(Shape(_chamber(grown, build, beat, True), BLOOD))
    band = [(-0.06, -0.16), (-0.24, -0.24), (-0.42, -0.26)]
    shapes.append(Shape(ribbon(_sized(np.array(band), build), 0.07), MUSCLE))
    shapes.append(Shape(ribbon([(0.12, 0.48), (0.3, 0.52), (0.42, 0.46)], 0.08, 0.05), BLOOD))  # coronary sinus
    return shapes


def _short_axis(build: Build, beat: Beat) -> list[Shape]:
    """A cut across the ventricles: the left a ring, the right a crescent around it."""
    radius = 0.30 * build.left_width * (1 - 0.3 * beat.squeeze)
    left = ellipse(0.14, 0, 0.52, 0.54)
    right = curve([(0.05, 0.56), (-0.40, 0.5), (-0.66, 0.1), (-0.56, -0.34), (-0.1, -0.56)], closed=False)
    outline = np.vstack([left[21:], left[:8], right])
    shapes = _pericardium(outline, build)
    inner = 0.07 * beat.squeeze
    crescent = [(-0.02, 0.44), (-0.36, 0.40), (-0.56 + inner, 0.08), (-0.46 + inner, -0.28), (-0.10, -0.44),
                (-0.30, -0.20), (-0.37, 0.04), (-0.26, 0.28)]  # fmt: skip
    shapes += [Shape(curve(crescent), BLOOD), Shape(ellipse(0.15, 0, radius, radius * 1.05), BLOOD)]
    for x, y in ((0.15 - 0.62 * radius, 0.7 * radius), (0.15 + 0.66 * radius, 0.55 * radius)):
        shapes.append(Shape(ellipse(x, y, 0.06, 0.075), MUSCLE))  # papillary muscles
    return shapes


# ------------------------------------------------------------------------------------------------- whole sections


def _with_heart(heart: Callable[[Build, Beat], list[Shape]]) -> Callable[[Build, Beat], list[Shape]]:
    def section(build: Build, beat: Beat) -> list[Shape]:
        c, s = np.cos(build.heart_axis), np.sin(build.heart_axis)
        turn = build.heart_size * np.array([[c, s], [-s, c]])
        placed = [x._replace(points=x.points @ turn + build.heart_centre) for x in heart(build, beat)]
        return _trunk(build, LUNG) + placed + _great_vessels_behind(build)

    return section


def _three_vessels(build: Build, beat: Beat) -> list[Shape]:
    """Pulmonary trunk, aorta, superior vena cava in a row of falling size; thymus before, trachea and spine behind."""
    grow = 1 + 0.12 * beat.squeeze
    shapes = _trunk(build, LUNG)
    shapes.append(Shape(ellipse(0.02, -0.42, 0.46, 0.28), THYMUS))
    shapes += _tube([(0.02, -0.46), (0.12, -0.22), (0.20, 0.10), (0.19, 0.42)], 0.25 * grow, 0.17)
    shapes += _vessel(-0.13, -0.2, 0.105 * grow, 0.12 * grow)
    shapes += _vessel(-0.36, -0.12, 0.08)
    shapes.append(Shape(ellipse(-0.1, 0.22, 0.055, 0.055), WALL + 10))
    shapes.append(Shape(ellipse(-0.1, 0.22, 0.03, 0.03), FLUID + 30))
    return shapes + _great_vessels_behind(build)


def _arches(build: Build, beat: Beat) -> list[Shape]:
    """Three vessels and trachea: ductal and aortic arch meet in a V left of the spine."""
    grow = 1 + 0.1 * beat.squeeze
    shapes = _trunk(build, LUNG)
    shapes.append(Shape(ellipse(0.0, -0.46, 0.44, 0.26), THYMUS))
    shapes += _tube([(0.02, -0.40), (0.14, -0.12), (0.18, 0.2), (0.14, 0.52)], 0.17 * grow, 0.15)
    shapes += _tube([(-0.26, -0.26), (-0.06, -0.06), (0.07, 0.22), (0.14, 0.52)], 0.14 * grow, 0.13)
    shapes += _vessel(-0.42, -0.16, 0.075)
    shapes.append(Shape(ellipse(-0.16, 0.24, 0.06, 0.06), WALL + 10))
    shapes.append(Shape(ellipse(-0.16, 0.24, 0.035, 0.035), FLUID + 30))
    return shapes


def _belly(build: Build, beat: Beat) -> list[Shape]:
    """Situs: stomach on the left, umbilical vein curving into the liver, aorta and vena cava before the spine."""
    size = 0.2 + 0.12 * (build.left_width - 0.9)
    shapes = _trunk(build, LIVER)
    spleen = curve([(0.4, -0.1), (0.62, 0.0), (0.66, 0.3), (0.46, 0.5), (0.36, 0.28)])
    shapes.append(Shape(spleen, LIVER - 14))
    shapes += [Shape(ellipse(0.46, 0.12, size * 1.15 + 0.02, size + 0.02, 0.5), WALL - 12)]
    shapes += [Shape(ellipse(0.46, 0.12, size * 1.15, size, 0.5), FLUID)]
    shapes += _tube([(0.0, -0.8), (-0.02, -0.4), (-0.12, -0.14), (-0.34, -0.02)], 0.10, 0.07)
    shapes += _vessel(0.12, 0.58 * build.flatness, 0.085)
    shapes += _vessel(-0.2, 0.42 * build.flatness, 0.075, 0.06)
    return [*shapes, Shape(ellipse(-0.5, 0.35, 0.16, 0.22, 0.4), LIVER + 12)]


def _head(build: Build, beat: Beat) -> list[Shape]:
    """Skull, midline, choroid plexus: the sonographer on the way to the heart."""
    shapes = [Shape(ellipse(0, 0, 1.12, 0.88, n=48), SKIN), Shape(ellipse(0, 0, 1.05, 0.81, n=48), BONE - 18)]
    shapes.append(Shape(ellipse(0, 0, 0.97, 0.73, n=48), MUSCLE - 27))
    shapes += [Shape(ribbon([(-0.9, 0), (-0.4, 0.01), (0.4, 0), (0.9, 0)], 0.03), VALVE)]
    for side in (-1, 1):
        shapes.append(Shape(ellipse(0.2, 0.3 * side, 0.42, 0.14, 0.1 * side), FLUID + 30))
        shapes.append(Shape(ellipse(0.3, 0.3 * side, 0.26, 0.1, 0.12 * side), MUSCLE + 28))
    return shapes


def _limb(build: Build, beat: Beat) -> list[Shape]:
    """A thigh in amniotic fluid: a long bone with its shadow."""
    tilt = 0.3 * np.sin(build.heart_axis * 9)
    line = curve([(-0.8, -tilt), (0.0, -0.06), (0.8, tilt)], closed=False)
    return [
        Shape(ribbon(line * 1.25, 0.75, 0.6), SKIN - 10),
        Shape(ribbon(line * 1.22, 0.66, 0.5), MUSCLE),
        Shape(ribbon(line * 0.5, 0.1), BONE),
    ]


TARGET = "A4C"
VIEWS: dict[str, Callable[[Build, Beat], list[Shape]]] = {
    "A4C": _with_heart(four_chamber),
    "LVOT": _with_heart(_outflow),
    "ventricles": _with_heart(_ventricles_only),
    "SAX": _with_heart(_short_axis),
    "3VV": _three_vessels,
    "3VT": _arches,
    "abdomen": _belly,
    "head": _head,
    "limb": _limb,
}


def section(view: str, build: Build, phase: float) -> list[Shape]:
    """The outlines of a view at a moment of the heart's cycle, in the body frame, in the order of painting.

    view: a key of VIEWS. phase: share of the cycle since end-diastole. Raises KeyError for another view.
    """
    shapes = VIEWS[view](build, beat_at(phase))
    ends = np.cumsum([len(shape.points) for shape in shapes])
    warped = np.split(_warp(np.concatenate([shape.points for shape in shapes]), build.waves), ends[:-1])
    return [shape._replace(points=points) for shape, points in zip(shapes, warped, strict=True)]
