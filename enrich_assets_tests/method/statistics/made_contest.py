"""A contest of arms on an archive, made by hand: who is better, by how much, is plain."""

from __future__ import annotations

import numpy as np
import pandas as pd

from enrich_assets.method.statistics.by_patient import LeftOut
from enrich_assets.method.statistics.league import Contest

PATIENTS = np.array(["p1", "p2", "p3", "p4", "p5", "p6"])
SCORES = {  # arm -> budget -> by seed
    "best": {10: [0.70, 0.72, 0.74], 20: [0.80, 0.82, 0.84]},
    "default": {10: [0.60, 0.62, 0.61], 20: [0.70, 0.72, 0.71]},
    "random": {10: [0.50, 0.55, 0.60], 20: [0.60, 0.65, 0.70]},
    "seer": {10: [0.90, 0.90, 0.90], 20: [0.90, 0.90, 0.90]},
    "all": {99: [0.95, 0.95, 0.95]},
}


def contest(archive: str = "a", shift: float = 0.0, *, with_patients: bool = True) -> Contest:
    rows, tested = [], {}
    for arm, of_arm in SCORES.items():
        for budget, values in of_arm.items():
            for seed, value in enumerate(values):
                scored = value + (shift if arm == "best" else 0)
                rows.append({"arm": arm, "budget": budget, "seed": seed, "value": scored})
                # each patient left out moves the score a little, in a way of its own for each arm
                moves = np.sin(np.arange(6) * (1 + len(arm))) / 500
                tested[arm, budget, seed] = LeftOut(PATIENTS, scored + moves - moves.mean(), 6.0)
    return Contest(archive, "view", pd.DataFrame(rows), tested if with_patients else {})
