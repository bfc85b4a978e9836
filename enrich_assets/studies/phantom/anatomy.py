"""The anatomy of the phantom: cross-sections of a fetal chest, belly, head and limb, as outlines in the order of painting.

Outlines only. How an outline becomes an echo belongs to `ultrasound`; which patients and clips there are, to `plan`.
Proportions follow the usual description of the four-chamber view (Carvalho et al., ISUOG practice guidelines 2023): the
heart fills a third of the chest, its axis lies 45 degrees to the left, the descending aorta lies between left atrium
and spine.

Body frame: origin in the middle of the chest, unit length = radius of the chest, x to the fetus' left, y to its back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from enrich_assets.studies.phantom.build import Build, warp
from enrich_assets.studies.phantom.heart import Beat, beat_at, four_chamber, outflow, short_axis, ventricles_only
from enrich_assets.studies.phantom.outlines import (
    BLOOD,
    BONE,
    FLUID,
    LIVER,
    LUNG,
    MUSCLE,
    SKIN,
    THYMUS,
    VALVE,
    WALL,
    Shape,
    arc,
    curve,
    ellipse,
    ribbon,
)


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
    shapes += [Shape(ribbon(arc(a, half, 1.01, flat), 0.07), BONE) for a, half in ribs]
    y = 0.8 * flat
    centres = ((0.0, y, 0.085, 0.06), (-0.12, y + 0.17, 0.05, 0.04), (0.12, y + 0.17, 0.05, 0.04))
    shapes += [Shape(ellipse(*centre, n=16), BONE) for centre in centres]
    shapes.append(Shape(ellipse(0, y + 0.13, 0.05, 0.045, n=16), FLUID + 60))  # spinal canal
    return tuple(shapes)


def _vessel(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> list[Shape]:
    """A vessel cut across: its wall, then its blood. ry: as `rx` where it is round."""
    ry = rx if ry is None else ry
    return [Shape(ellipse(x, y, rx + 0.025, ry + 0.025, turn), WALL), Shape(ellipse(x, y, rx, ry, turn), BLOOD)]


def _great_vessels_behind(build: Build) -> list[Shape]:
    """The descending aorta, before the spine."""
    return _vessel(0.13, 0.62 * build.flatness, 0.085)


def _tube(line: list[tuple[float, float]], width: float, end: float | None = None) -> list[Shape]:
    """A vessel cut along: its wall, then its blood."""
    smooth = curve(line, closed=False)
    wall = None if end is None else end + 0.05
    return [Shape(ribbon(smooth, width + 0.05, wall), WALL), Shape(ribbon(smooth, width, end), BLOOD)]


# ------------------------------------------------------------------------------------------------- whole sections


def _with_heart(heart: Callable[[Build, Beat], list[Shape]]) -> Callable[[Build, Beat], list[Shape]]:
    """A section of the heart, placed in the chest as the patient's heart lies."""

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
    "LVOT": _with_heart(outflow),
    "ventricles": _with_heart(ventricles_only),
    "SAX": _with_heart(short_axis),
    "3VV": _three_vessels,
    "3VT": _arches,
    "abdomen": _belly,
    "head": _head,
    "limb": _limb,
}


def section(view: str, build: Build, phase: float) -> list[Shape]:
    """The outlines of a view at a moment of the heart's cycle, in the body frame, in the order of painting.

    Parameters
    ----------
    view : str
        A key of VIEWS.
    phase : float
        Share of the cycle since end-diastole.

    Raises
    ------
    KeyError
        There is no such view.
    """
    shapes = VIEWS[view](build, beat_at(phase))
    ends = np.cumsum([len(shape.points) for shape in shapes])
    warped = np.split(warp(np.concatenate([shape.points for shape in shapes]), build.waves), ends[:-1])
    return [shape._replace(points=points) for shape, points in zip(shapes, warped, strict=True)]
