"""The heart of the phantom, beating: its sections in the heart frame, from the four-chamber view to the short axis.

Proportions follow the usual description of the four-chamber view (Carvalho et al., ISUOG practice guidelines 2023): the
tricuspid valve inserts a little nearer to the apex than the mitral. Where the heart lies in the chest belongs to
`anatomy`.

Heart frame: apex at (0, -1), atria at (0, 1), right ventricle at negative x.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from enrich_assets.studies.phantom.build import Build
from enrich_assets.studies.phantom.outlines import (
    BLOOD,
    FLUID,
    MUSCLE,
    VALVE,
    WALL,
    Line,
    Points,
    Shape,
    curve,
    ellipse,
    ribbon,
)

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
    """The moment at `phase`, the share of the cycle since end-diastole.

    Ejection takes 40 % of the cycle, filling most of the rest: `beat_at(0)` is (0, 0), `beat_at(0.4)` is (1, 0).
    """
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
    """The patient's own widths of the left and of the right half."""
    p = points.copy()
    p[:, 0] *= np.where(p[:, 0] > 0, build.left_width, build.right_width)
    return p


def _chamber(controls: list[tuple[float, float]], build: Build, beat: Beat, ventricle: bool) -> Points:
    """The blood of a chamber: ventricles empty while atria fill."""
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
    """The heart's muscle in its sac; with an effusion, fluid between the two."""
    middle = outline.mean(axis=0)
    rim = 1.13 if build.finding == "effusion" else 1.0
    shapes = [Shape(middle + (outline - middle) * (rim + 0.045), WALL)]
    if rim > 1:
        shapes.append(Shape(middle + (outline - middle) * rim, FLUID))
    return [*shapes, Shape(outline, MUSCLE)]


def outflow(build: Build, beat: Beat) -> list[Shape]:
    """The left outflow tract ("five chambers"): a near miss, with the aorta where the crux should be."""
    shapes = [s._replace(chamber=0) for s in four_chamber(replace(build, finding=""), beat)]
    root = [(0.20, -0.12), (0.08, 0.10), (-0.08, 0.32), (-0.16, 0.62)]
    line = _sized(_moved(curve(root, closed=False), beat), build)
    shapes += [Shape(ribbon(line[5:], 0.34, 0.27), WALL), Shape(ribbon(line, 0.25, 0.19), BLOOD)]
    shut = line[len(line) // 2]
    cusp = np.array([0.11 * (1 - 0.8 * np.sin(np.pi * beat.squeeze)), 0.02])
    shapes.append(Shape(ribbon(np.array([shut - cusp, shut, shut + cusp]), 0.03), VALVE))
    return shapes


def ventricles_only(build: Build, beat: Beat) -> list[Shape]:
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


def short_axis(build: Build, beat: Beat) -> list[Shape]:
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
