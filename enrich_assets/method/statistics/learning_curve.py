"""What would the next labels add? A saturating curve through the budgets so far, and whether it pays to go on.

Here: the fit, its uncertainty over seeds, and the sentence for the labelling lead. It forecasts; it does not test (that
is `comparison`), and whoever shows it says that it is an estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from enrich_assets.method.statistics.resampling import Bootstrap, resampled_means

EXPONENTS = np.geomspace(0.05, 3.0, 80)  # learning curves mostly have 0.1 to 1; beyond 3 they are a step
FEWEST_BUDGETS = 3  # the curve has as many parameters


@dataclass(frozen=True)
class Verdict:
    """What the comparison with the full set allows to say; a forecast by itself allows neither stop nor go on.

    Attributes
    ----------
    withheld : str
        Why the experiment can support no claim; '' where it can.
    sufficient : int or None
        The budget shown to be as good as everything; None where none was.
    """

    withheld: str = ""
    sufficient: int | None = None


@dataclass(frozen=True)
class Advice:
    """The expected gain of `next_n` labels beyond `labelled`; NaN and None where the curve allows no statement.

    Attributes
    ----------
    labelled, next_n : int
        Labels bought so far, and those asked about.
    value_now, value_next : float
        Of the fitted curve, not the last measurement.
    gain, gain_low, gain_high : float
        What the next labels add, in units of the metric, and its interval.
    ceiling : float
        The fitted value of infinitely many labels.
    stop : bool or None
        Whether the expected gain lies below the margin.
    certain : bool
        Whether the whole interval lies on that side of the margin.
    n_budgets, n_seeds : int
        What the fit stands on.
    text : str
        All of it in words.
    """

    labelled: int
    next_n: int
    value_now: float
    value_next: float
    gain: float
    gain_low: float
    gain_high: float
    ceiling: float
    stop: bool | None
    certain: bool
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
    verdict: Verdict | None = None,
) -> Advice:
    """Fit `a - b n^-c` to the mean value by budget and say what `next_n` further labels are expected to add.

    Parameters
    ----------
    budgets, values : (m,) float
        One entry per training.
    next_n : int
        Further labels asked about.
    seeds : (m,) ids, optional
        Without them, trainings at a budget are numbered as they come.
    margin : float
        A gain below it is not worth the labels.
    labelled : int, optional
        Labels bought so far; the greatest budget by default.
    metric : str
        Its name, for the text.
    verdict : Verdict, optional
        Of the comparison with the full set. Where it withholds every claim, or no budget was shown to be as good as
        everything, the text does not advise to stop, however flat the curve: a flat curve may lie too low.

    Returns
    -------
    Advice
        Fewer than 3 budgets: no fit, and the text says so. Nothing to resample: no interval. Means that do not rise
        and yet differ by the margin or more contradict the law: no forecast either.

    Raises
    ------
    ValueError
        When lengths differ, or no further label is asked about.

    Notes
    -----
    The inverse power law of learning curves (Cortes et al. 1993): a is at most 1, b at least 0 (labels do not hurt), c
    in [0.05, 3]; least squares, c by grid, a and b in closed form. The interval resamples whole seeds, widened for their
    small number (Hesterberg 2015, doi 10.1080/00031305.2015.1089789); of a single seed it resamples what the fit leaves over. It
    holds the noise of training, not the chance that the law is wrong beyond the data.
    """
    n, v = np.asarray(budgets, dtype=float), np.asarray(values, dtype=float)
    if n.shape != v.shape or n.ndim != 1:
        raise ValueError(f"budgets {n.shape} and values {v.shape} must be two vectors of one length")
    if next_n < 1:
        raise ValueError(f"the next labels must be at least one, not {next_n}")
    usable = np.isfinite(v) & (n > 0)
    points = np.unique(n[usable])
    table = _by_seed(n[usable], v[usable], None if seeds is None else np.asarray(seeds)[usable], points)
    now = int(labelled if labelled is not None else (points.max() if len(points) else 0))
    silent = Advice(now, next_n, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, None, False,
                    len(points), len(table), "")  # fmt: skip
    if len(points) < FEWEST_BUDGETS:
        few = f"No forecast: a curve needs at least {FEWEST_BUDGETS} budgets; trained so far: {len(points)}."
        return replace(silent, text=few)
    means = np.nanmean(table, axis=0)
    curve = Curve.fit(points, means[None, :])
    if curve.b[0] == 0 and np.ptp(means) >= margin:
        return replace(silent, text=_no_rise(points, means, metric))
    value_now, value_next = (float(curve.at(float(size))[0]) for size in (now, now + next_n))
    gain = value_next - value_now
    low, high = _gain_interval(points, table, curve, (now, next_n), gain, Bootstrap())
    stop = gain < margin
    certain = bool(high < margin if stop else low >= margin)  # never where there is no interval: NaN compares false
    forecast = replace(
        silent, value_now=value_now, value_next=value_next, gain=gain, gain_low=low, gain_high=high,
        ceiling=float(curve.a[0]), stop=stop, certain=certain,
    )  # fmt: skip
    if verdict is not None:
        forecast = _allowed(forecast, verdict)
    return replace(forecast, text=_sentence(forecast, margin, metric, verdict, beyond=now + next_n > 2 * points.max()))


# ---------------------------------------------------------------------------------------------------------- the fit


@dataclass(frozen=True)
class Curve:
    """Fitted curves `a - b n^-c`, one per row of means: a, b and c are (rows,) float64."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    c: NDArray[np.float64]

    @classmethod
    def fit(cls, points: NDArray[np.float64], means: NDArray[np.float64]) -> Curve:
        """Least squares for each row of means.

        Parameters
        ----------
        points : (budgets,) float64
        means : (rows, budgets) float64
        """
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
        return cls(a[rows, best], b[rows, best], EXPONENTS[best])

    def at(self, size: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at a number of labels (of one row: at several), (rows,) or of the shape of `size`."""
        return self.a - self.b * size**-self.c

    def gains(self, now: int, next_n: int) -> NDArray[np.float64]:
        """What `next_n` labels after `now` add, (rows,)."""
        return self.b * (float(now) ** -self.c - float(now + next_n) ** -self.c)


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


# ----------------------------------------------------------------------------------------------------- the interval


def _gain_interval(
    points: NDArray[np.float64],
    table: NDArray[np.float64],
    curve: Curve,
    step: tuple[int, int],
    gain: float,
    bootstrap: Bootstrap,
) -> tuple[float, float]:
    """Interval of the gain of a step (labels now, further labels), which it always holds; NaN where nothing varies."""
    means = _resampled_curves(points, table, curve, bootstrap)
    if means is None:
        return math.nan, math.nan
    gains = Curve.fit(points, means).gains(*step)
    reach = stats.norm.ppf((1 + bootstrap.level) / 2)
    if len(table) > 1:  # percentiles further out for few seeds (Hesterberg 2015)
        reach = stats.t.ppf((1 + bootstrap.level) / 2, len(table) - 1)
    low, high = (float(q) for q in np.quantile(gains, [stats.norm.sf(reach), stats.norm.cdf(reach)]))
    return min(low, gain), max(high, gain)


def _resampled_curves(
    points: NDArray[np.float64], table: NDArray[np.float64], curve: Curve, bootstrap: Bootstrap
) -> NDArray[np.float64] | None:
    """Means by budget as they could have come out, (draws, budgets); None where nothing varies.

    Of several seeds whole seeds are drawn; of one, the residuals of the fit, widened for its three parameters.
    """
    rng = np.random.default_rng(bootstrap.seed)
    seeds = len(table)
    if seeds > 1:
        return resampled_means(table, math.sqrt(seeds / (seeds - 1)), rng, bootstrap.draws)
    fitted, means = curve.at(points), np.nanmean(table, axis=0)
    residuals = (means - fitted) * math.sqrt(len(points) / max(1, len(points) - 3))
    if len(points) <= FEWEST_BUDGETS or np.abs(residuals).max() <= 1e-12:
        return None
    return fitted + rng.choice(residuals, size=(bootstrap.draws, len(points)))


# ------------------------------------------------------------------------------------------------------- in words


def _no_rise(points: NDArray[np.float64], means: NDArray[np.float64], metric: str) -> str:
    measured = ", ".join(f"{mean:.4f} at {int(n):,}" for n, mean in zip(points, means, strict=True))
    return (
        f"No forecast: the mean {metric} does not rise with the labels ({measured}), so there is no learning curve to carry on. "
        "The runs differ more than the labels tell: more seeds, or a greater budget, would show what labels add."
    )


def _allowed(forecast: Advice, verdict: Verdict) -> Advice:
    """The forecast with stop or go on only as far as the comparison bears it out."""
    if verdict.withheld or (verdict.sufficient is None and forecast.stop):
        return replace(forecast, stop=None, certain=False)
    if verdict.sufficient is not None:
        return replace(forecast, stop=forecast.labelled >= verdict.sufficient, certain=True)
    return forecast


def _sentence(advice: Advice, margin: float, metric: str, verdict: Verdict | None, beyond: bool) -> str:
    interval = " (no interval: too few runs)"
    if math.isfinite(advice.gain_low):
        interval = f" (95 % interval over seeds {advice.gain_low:.4f} to {advice.gain_high:.4f})"
    estimate = (
        f"Estimate: the next {advice.next_n:,} labels after {advice.labelled:,} add {advice.gain:.4f} "
        f"{metric}{interval}; margin {margin:g}."
    )
    far = " This lies beyond twice the largest budget trained: take it with caution." if beyond else ""
    return f"{estimate} {_advised(advice, verdict)}{far} Fitted ceiling: {advice.ceiling:.4f}."


def _advised(advice: Advice, verdict: Verdict | None) -> str:
    if verdict is not None and verdict.withheld:
        return f"Whether to stop or to go on cannot be said: {verdict.withheld}."
    if verdict is not None and verdict.sufficient is not None:
        shown = f"{verdict.sufficient:,} labels were shown to be as good as everything."
        return f"Stop: {shown}" if advice.stop else f"Go on to {shown}"
    if verdict is not None and advice.stop is None:
        return (
            "The curve is flat, but no tested budget was shown to be as good as everything: that is no reason to stop; "
            "greater budgets, or other frames, may add what is missing."
        )
    verdicts = {
        (True, True): "Stop: even the optimistic end lies below the margin.",
        (True, False): "Probably stop: the expected gain lies below the margin, more is not ruled out.",
        (False, True): "Go on: even the pessimistic end reaches the margin.",
        (False, False): "Go on, without certainty: the expected gain reaches the margin, less is not ruled out.",
    }
    return verdicts[bool(advice.stop), advice.certain]
