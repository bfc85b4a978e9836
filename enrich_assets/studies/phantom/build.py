"""A patient's build: what is particular to this body, drawn at random and kept for all of the patient's clips."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from enrich_assets.studies.phantom.outlines import Points


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
    waves: Points = field(default_factory=lambda: np.zeros((0, 5)))  # (k, 5): smooth deformations, see `warp`


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


def warp(points: Points, waves: Points) -> Points:
    """Displace points (n, 2) by waves (k, 5), alike for all that lies at a place: neighbouring outlines never cross."""
    if not len(waves):
        return points
    return points + np.sin(points @ waves[:, 2:4].T + waves[:, 4]) @ waves[:, :2]
