"""What would the next labels add? A saturating curve through the budgets so far, and whether it pays to go
on.

Here: the fit, its uncertainty over seeds, and the sentence for the labelling lead. It foretells; it does
not test (that is `comparison.py`), and whoever shows it says that it is an estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

EXPONENTS = np.geomspace(0.05, 3.0, 80)  # learning curves mostly have 0.1 to 1; beyond 3 they are a step


@dataclass(frozen=True)
class Advice:
    """The expected gain of `next_n` labels beyond `labelled`; NaN and None where the curve allows no
    statement.
    """

    labelled: int
    next_n: int
    value_now: float  # of the fitted curve, not the last measurement
    value_next: float
    gain: float
    gain_low: float
    gain_high: float
    ceiling: float  # the fitted value of infinitely many labels
    stop: bool | None  # expected gain below the margin
    certain: bool  # the whole interval lies on that side of the margin
    n_budgets: int
    n_seeds: int
    text: str


def advise(
    budgets: ArrayLike,
    values: ArrayLike,
    next_n: int,
    *,
    seeds: ArrayLike | None = None,
    margin: float = 0.01,
    labelled: int | None = None,
    metric: str = "AUC",
    level: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
) -> Advice:
    """Fit `a - b n^-c` to the mean value by budget and say what `next_n` further labels are expected to add.

    budgets, values, seeds: (m,) one entry per training (without seeds, trainings at a budget are numbered
    as they come); labelled: labels bought so far, the greatest budget by default. a is at most 1, b at
    least 0 (labels do not hurt), c in [0.05, 3]; least squares, c by grid, a and b in closed form (inverse
    power law of learning curves, Cortes et al. 1993). The interval resamples whole seeds, widened for their
    small number as in `significance.bootstrap_difference`; of a single seed it resamples what the fit
    leaves over. It holds the noise of training, not the chance that the law is wrong beyond the data. Fewer
    than 3 budgets: no fit, and the text says so. Nothing to resample: no interval. Means that do not rise and yet
    differ by the margin or more contradict the law: no forecast either.
    """
    n, v = np.asarray(budgets, dtype=float), np.asarray(values, dtype=float)
    if n.shape != v.shape or n.ndim != 1:
        raise ValueError(f"budgets {n.shape} and values {v.shape} must be two vectors of one length")
    if next_n < 1:
        raise ValueError(f"the next labels must be at least one, not {next_n}")
    good = np.isfinite(v) & (n > 0)
    points = np.unique(n[good])
    table = _by_seed(n[good], v[good], None if seeds is None else np.asarray(seeds)[good], points)
    now = int(labelled if labelled is not None else (points.max() if len(points) else 0))
    if len(points) < 3:
        text = f"No forecast: a curve needs at least 3 budgets; trained so far: {len(points)}."
        return Advice(now, next_n, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, None, False,
                      len(points), len(table), text)  # fmt: skip
    means = np.nanmean(table, axis=0)
    a, b, c = _fit(points, means[None, :])
    if b[0] == 0 and np.ptp(means) >= margin:
        text = _no_rise(points, means, metric)
        return Advice(now, next_n, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, None, False,
                      len(points), len(table), text)  # fmt: skip
    here, there = (float((a - b * size**-c)[0]) for size in (float(now), float(now + next_n)))
    gain = there - here
    gains = _resampled_gains(points, table, means, (a - b * points**-c), now, next_n, n_boot, seed)
    low, high = (math.nan, math.nan)
    if gains is not None:
        reach = stats.norm.ppf((1 + level) / 2)
        if len(table) > 1:  # percentiles further out for few seeds (Hesterberg 2015)
            reach = stats.t.ppf((1 + level) / 2, len(table) - 1)
        low, high = (float(q) for q in np.quantile(gains, [stats.norm.sf(reach), stats.norm.cdf(reach)]))
        low, high = min(low, gain), max(high, gain)
    stop = gain < margin
    certain = (high < margin if stop else low >= margin) if gains is not None else False
    beyond = now + next_n > 2 * points.max()
    text = _sentence(now, next_n, gain, low, high, margin, stop, certain, metric, beyond, float(a[0]))
    return Advice(now, next_n, here, there, gain, low, high, float(a[0]), stop, certain,
                  len(points), len(table), text)  # fmt: skip


def _by_seed(
    n: NDArray[np.float64],
    v: NDArray[np.float64],
    seeds: NDArray[np.generic] | None,
    points: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(seeds, budgets) of values, NaN where a training is missing."""
    column = np.searchsorted(points, n)
    if seeds is None:
        row = np.array([int((column[:i] == column[i]).sum()) for i in range(len(n))], dtype=np.int64)
    else:
        row = np.unique(seeds, return_inverse=True)[1]
    table = np.full((int(row.max()) + 1 if len(row) else 0, len(points)), math.nan)
    table[row, column] = v
    return table


def _fit(
    points: NDArray[np.float64], means: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Least squares of a - b n^-c for each row of means (rows, budgets): a, b, c, each (rows,)."""
    fall = points[None, :] ** -EXPONENTS[:, None]  # (exponents, budgets)
    centred = fall - fall.mean(axis=1, keepdims=True)
    level = means.mean(axis=1, keepdims=True)
    b = np.maximum(0.0, -(means - level) @ centred.T / (centred**2).sum(axis=1))  # (rows, exponents)
    a = level + b * fall.mean(axis=1)
    # Above 1 no metric goes: there a = 1, and b is the least squares slope through it.
    capped = np.maximum(0.0, (1 - means) @ fall.T / (fall**2).sum(axis=1))
    b, a = np.where(a > 1, capped, b), np.minimum(a, 1.0)
    misfit = ((a[:, :, None] - b[:, :, None] * fall[None] - means[:, None, :]) ** 2).sum(axis=2)
    best = misfit.argmin(axis=1)
    rows = np.arange(len(means))
    return a[rows, best], b[rows, best], EXPONENTS[best]


def _resampled_gains(
    points: NDArray[np.float64], table: NDArray[np.float64], means: NDArray[np.float64],
    fitted: NDArray[np.float64], now: int, next_n: int, n_boot: int, seed: int,
) -> NDArray[np.float64] | None:  # fmt: skip
    """Gains of refits to resampled curves, (n_boot,); None where nothing varies that could be resampled."""
    residuals = (means - fitted) * math.sqrt(len(points) / max(1, len(points) - 3))
    misfits = len(points) > 3 and np.abs(residuals).max() > 1e-12
    n_seeds = len(table)
    if n_seeds < 2 and not misfits:
        return None
    rng = np.random.default_rng(seed)
    drawn = np.repeat(means[None, :], n_boot, axis=0)
    if n_seeds > 1:
        weights = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_boot)
        present = weights @ ~np.isnan(table)
        with np.errstate(invalid="ignore"):
            resampled = weights @ np.nan_to_num(table) / present
        # Resampled means spread by (n - 1) / n too little.
        spread = np.where(present > 0, resampled - means, 0.0) * math.sqrt(n_seeds / (n_seeds - 1))
        drawn = drawn + spread
    elif misfits:
        drawn = fitted + rng.choice(residuals, size=(n_boot, len(points)))
    _, b, c = _fit(points, drawn)
    return b * (float(now) ** -c - float(now + next_n) ** -c)


def _no_rise(points: NDArray[np.float64], means: NDArray[np.float64], metric: str) -> str:
    seen = ", ".join(f"{mean:.4f} at {int(n):,}" for n, mean in zip(points, means, strict=True))
    return (
        f"No forecast: the mean {metric} does not rise with the labels ({seen}), so there is no learning curve to carry on. "
        "The runs differ more than the labels tell: more seeds, or a greater budget, would show what labels add."
    )


def _sentence(
    now: int, next_n: int, gain: float, low: float, high: float, margin: float, stop: bool, certain: bool,
    metric: str, beyond: bool, ceiling: float,
) -> str:  # fmt: skip
    known = math.isfinite(low)
    interval = f" (95 % interval {low:.4f} to {high:.4f})" if known else " (no interval: too few runs)"
    said = f"Estimate: the next {next_n:,} labels after {now:,} add {gain:.4f} {metric}{interval}; margin {margin:g}."
    if stop and certain:
        verdict = "Stop: even the optimistic end lies below the margin."
    elif stop:
        verdict = "Probably stop: the expected gain lies below the margin, more is not ruled out."
    elif certain:
        verdict = "Go on: even the pessimistic end reaches the margin."
    else:
        verdict = "Go on, without certainty: the expected gain reaches the margin, less is not ruled out."
    far = " This lies beyond twice the largest budget trained: take it with caution." if beyond else ""
    return f"{said} {verdict}{far} Fitted ceiling: {ceiling:.4f}."
