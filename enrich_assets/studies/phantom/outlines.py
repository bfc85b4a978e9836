"""Outlines: the shapes a section is made of, and the curves, ellipses and ribbons they are drawn with.

A shape is an outline with an echogenicity; how it becomes an echo is the scanner's affair (`ultrasound`). No anatomy.
"""

from __future__ import annotations

import math
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


def curve(controls: Line, closed: bool = True, steps: int = 6) -> Points:
    """A smooth line through control points.

    Parameters
    ----------
    controls : (k, 2) float
    closed : bool
        Whether the last point is joined to the first.
    steps : int
        Points from one control point to the next.

    Returns
    -------
    (k * steps, 2) float64

    References
    ----------
    Catmull and Rom, "A class of local interpolating splines", 1974.
    """
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
    """(n, 2): centre (x, y), half axes rx and ry, turned by `turn` radians."""
    c, s = math.cos(turn), math.sin(turn)
    return _circle(n) @ np.array([[rx * c, rx * s], [-ry * s, ry * c]]) + (x, y)


def ribbon(line: Line, width: float, end: float | None = None) -> Points:
    """A line with a width as an outline: (k, 2) -> (2k, 2). end: the width at its end, where it tapers."""
    p = np.asarray(line, float)
    along = np.empty_like(p)
    along[1:-1] = p[2:] - p[:-2]
    along[0], along[-1] = p[1] - p[0], p[-1] - p[-2]
    across = along[:, ::-1] * (-1, 1) / (np.hypot(along[:, 0], along[:, 1])[:, None] + 1e-9)
    half = width / 2 if end is None else np.linspace(width / 2, end / 2, len(p))[:, None]
    return np.concatenate([p + half * across, (p - half * across)[::-1]])


def arc(angle: float, half: float, radius: float, flatness: float, n: int = 9) -> Points:
    """(n, 2): a part of the chest's wall, from `angle` - `half` to `angle` + `half` radians clockwise from the front."""
    t = np.linspace(angle - half, angle + half, n)
    return np.column_stack([radius * np.sin(t), -radius * flatness * np.cos(t)])
