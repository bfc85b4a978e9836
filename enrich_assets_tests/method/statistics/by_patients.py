"""Scores by patient for made-up trainings, so that arms can be compared over patients as well. No test is in here."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

from enrich_assets.method.statistics.by_patient import LeftOut
from enrich_assets.method.statistics.comparison import Tested


def by_patients(evaluations: pd.DataFrame, patients: int = 200, spread: float = 0.001) -> Tested:
    """Each training's score with one of so many equal patients left out, about its value.

    The patients' own scores spread by so much in each arm and budget: the standard error that patients add to the
    difference of two arms is sqrt(2 / patients) * spread.
    """
    names = np.array([f"p{i:03d}" for i in range(patients)])
    tested = {}
    for row in evaluations.itertuples():
        rng = np.random.default_rng(zlib.crc32(f"{row.arm}/{row.budget}".encode()))  # patients, not seeds
        own = rng.normal(0, spread, patients)
        own -= own.mean()
        tested[str(row.arm), int(row.budget), int(row.seed)] = LeftOut(
            names, row.value - own / (patients - 1), float(patients)
        )
    return tested
