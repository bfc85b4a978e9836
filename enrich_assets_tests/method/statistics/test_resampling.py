"""Resampled means of replicate trainings: whole seeds, as wide as the seeds differ."""

from __future__ import annotations

from itertools import product
from math import nan, sqrt

import numpy as np

from enrich_assets.method.statistics.resampling import resampled_means


def test_each_draw_is_the_mean_over_the_seeds_drawn() -> None:
    """Two of three budgets whole, one training missing: every draw is one of the ten ways to draw three seeds of three."""
    table = np.array([[0.90, 0.94], [0.92, 0.96], [0.95, nan]])
    drawn = resampled_means(table, 1.0, np.random.default_rng(0), 400)
    possible = []
    for seeds in product(range(3), repeat=3):
        of_second = [table[s, 1] for s in seeds if s < 2]
        possible.append((np.mean(table[list(seeds), 0]), np.mean(of_second or [0.95])))
    distance = np.abs(drawn[:, None] - np.array(possible)[None]).max(axis=2).min(axis=1)
    assert distance.max() < 1e-12
    assert len(np.unique(drawn.round(9), axis=0)) == 10


def test_stretched_means_spread_like_means_of_so_many_trainings() -> None:
    """Unstretched they would spread by sqrt((n - 1) / n) too little."""
    values = np.random.default_rng(1).normal(0.9, 0.02, (5, 1))
    drawn = resampled_means(values, sqrt(5 / 4), np.random.default_rng(2), 20_000)
    assert np.isclose(drawn.std(), values.std(ddof=1) / sqrt(5), rtol=0.03)
    assert np.isclose(drawn.mean(), values.mean(), atol=5e-4)
