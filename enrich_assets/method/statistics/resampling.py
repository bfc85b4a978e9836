"""Resampling of replicate trainings: how often, at which level, and the one rule that `sufficient` and `learning_curve` share.

Trainings of one seed stand on nested subsets, so their values move together from budget to budget: whole seeds are
drawn, never single trainings. Resampling of patients belongs in `intervals`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bootstrap:
    """How an interval is resampled.

    Parameters
    ----------
    draws : int
        Resamples.
    level : float
        Of the interval, in (0, 1).
    seed : int
        Of the draws; the same seed gives the same interval, bit for bit.
    """

    draws: int = 1000
    level: float = 0.95
    seed: int = 0


def resampled_means(
    table: NDArray[np.float64], stretch: float | NDArray[np.float64], rng: np.random.Generator, draws: int
) -> NDArray[np.float64]:
    """Mean value by budget over seeds drawn with replacement.

    Parameters
    ----------
    table : (seeds, budgets) float64
        Values; NaN where a training is missing.
    stretch : float or (budgets,) float64
        sqrt(n / (n - 1)) for n trainings: resampled means spread by (n - 1) / n too little, so their distance from the
        measured mean is stretched (Hesterberg 2015, doi 10.1080/00031305.2015.1089789).
    rng : numpy.random.Generator
    draws : int

    Returns
    -------
    (draws, budgets) float64
        The measured mean where a draw holds no training of that budget.

    Examples
    --------
    Three seeds and two budgets, the third seed not yet trained at the second one:

    >>> table = np.array([[0.90, 0.94], [0.92, 0.96], [0.94, np.nan]])

    A draw of seeds (0, 0, 2) has the means 0.9133 and 0.94; a draw of (2, 2, 2) has 0.94 and, having no training at
    the second budget, that budget's measured mean 0.95.
    """
    seeds = len(table)
    times_drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)  # (draws, seeds)
    trainings = times_drawn @ ~np.isnan(table)  # (draws, budgets)
    with np.errstate(invalid="ignore"):
        drawn = times_drawn @ np.nan_to_num(table) / trainings
    measured = np.nanmean(table, axis=0)
    return measured + np.where(trainings > 0, drawn - measured, 0.0) * stretch
