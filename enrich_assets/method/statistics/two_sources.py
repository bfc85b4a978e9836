"""The difference between two arms, judged over patients and seeds together.

Scores vary because another seed trains another network, and because other patients would have been in the test split. A
claim must survive both. The frame is that of multi-reader multi-case studies: arms are the tests, seeds the readers
(other readers for each arm), test patients the cases (the same for all).

Here: two ways to the same interval. `variance_components` (Obuchowski and Rockette, the default: exact, no draws, a
few matrix sums) and `two_way_bootstrap` (Owen). Not here: seeds alone (`significance`), one evaluation alone
(`intervals`), tables of arms and budgets (`comparison`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from enrich_assets.method.statistics.by_patient import effective_patients
from enrich_assets.method.statistics.significance import two_one_sided

Floats = NDArray[np.float64]
UNSEEN = 0.05  # chance at which a kind of patient that nobody has seen is given up
FEWEST_CARRIERS = 4.5  # patients, of equal weight, that carry a difference; chosen by the simulations of STATISTICS.md
ROUNDING = 1e-12  # what it leaves of scores that are all alike


@dataclass(frozen=True)
class TwoSources:
    """A difference of two means over seeds, and how sure it is over patients and seeds.

    Attributes
    ----------
    difference : float
    of_seeds : (2,) tuple of float
        Variance of the difference that more seeds of the one arm, and of the other, would reduce.
    seeds : (2,) tuple of int
        Trainings of either arm.
    of_patients : float
        Variance that more test patients would reduce; NaN where it cannot be estimated.
    cases : float
        Independent patients that `of_patients` stands on (see `by_patient.LeftOut`).
    """

    difference: float
    of_seeds: tuple[float, float]
    seeds: tuple[int, int]
    of_patients: float
    cases: float

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        return math.sqrt(sum(self.of_seeds) + self.of_patients)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom over both sources, at least 1.

        Hillis (2007, doi 10.1002/sim.2532) has the seeds' part and takes the patients' as known, which is too bold for
        few patients; here it has `cases` - 1 of its own.
        """
        parts = [(self.of_patients, max(1.0, self.cases - 1))]
        parts += [(v, max(1, n - 1)) for v, n in zip(self.of_seeds, self.seeds, strict=True)]
        below = sum(v**2 / df for v, df in parts)
        return max(1.0, self.error**4 / below) if below > 0 else math.nan

    @property
    def share_of_seeds(self) -> float:
        """Share of the variance that is due to seeds."""
        return sum(self.of_seeds) / self.error**2 if self.error > 0 else math.nan

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval of the difference; NaN where it cannot be had."""
        reach = self.half_width(level)
        return self.difference - reach, self.difference + reach

    def half_width(self, level: float = 0.95, *, more_patients: float = 1.0, more_seeds: float = 1.0) -> float:
        """Half the interval, as it is or as it is expected with so many times the patients or seeds.

        Parameters
        ----------
        level : float
        more_patients, more_seeds : float
            Factors, 1 for what there is.
        """
        expected = TwoSources(
            self.difference,
            (self.of_seeds[0] / more_seeds, self.of_seeds[1] / more_seeds),
            (round(self.seeds[0] * more_seeds), round(self.seeds[1] * more_seeds)),
            self.of_patients / more_patients,
            self.cases * more_patients,
        )
        return float(stats.t.ppf((1 + level) / 2, expected.freedom)) * expected.error

    def p_different(self) -> float:
        """Two-sided p of no difference."""
        return float(2 * stats.t.sf(abs(self.difference) / self.error, self.freedom)) if self.error > 0 else math.nan

    def p_equivalent(self, margin: float) -> float:
        """The greater p of two one-sided tests: small when the difference certainly lies within the margin.

        Parameters
        ----------
        margin : float
            Positive, in units of the metric.
        """
        if not self.error > 0:
            return math.nan
        p = two_one_sided(np.array(self.difference), np.array(self.error), np.array(self.freedom), margin)
        return float(p)


UNKNOWN = TwoSources(math.nan, (math.nan, math.nan), (0, 0), math.nan, math.nan)


def variance_components(
    a: ArrayLike, b: ArrayLike, a_left_out: ArrayLike, b_left_out: ArrayLike, cases: float
) -> TwoSources:
    """mean(a) - mean(b) and its variance over seeds and patients, after Obuchowski and Rockette.

    Parameters
    ----------
    a, b : (s,), (t,) float
        Scores of the trainings of either arm; their seeds are not paired.
    a_left_out, b_left_out : (s, p), (t, p) float
        The same with each test patient left out: the same patients, in one order.
    cases : float
        See `TwoSources`.

    Returns
    -------
    TwoSources
        `UNKNOWN` where either arm has fewer than 2 trainings. `of_patients` is NaN where fewer than 2 patients are
        left, or a score is undefined without one of them: of one case nobody knows the spread.

    Raises
    ------
    ValueError
        When shapes do not fit.

    Notes
    -----
    The jackknife covariance over patients of two trainings' scores is averaged over pairs of *different* seeds: within
    an arm (Cov2) and between the arms (Cov3). The variance of the difference is then

        s_a^2 / s + s_b^2 / t + max(0, Cov2_a + Cov2_b - 2 Cov3)

    (Obuchowski and Rockette 1995, doi 10.1080/03610919508813243; Hillis et al. 2005, doi 10.1002/sim.2024; there with
    one Cov2 and as many seeds in either arm). The spread over seeds holds the interaction of seeds and patients
    already, so nothing is counted twice; leaving out whole patients respects their several frames.

    The last term has a floor where few patients (fewer than `FEWEST_CARRIERS` of equal weight) carry the difference; there
    a normal law promises too much. Of a kind of patient that none of n shows, up to 1 - 0.05^(1/n) of all patients may be (the "rule
    of three", Hanley and Lippman-Hand 1983, doi 10.1001/jama.1983.03330370053031). So the spread is at least that share
    times the greatest difference that a patient of average weight would show for it, and times 1, the whole scale, where
    none shows any: all scores are alike, say because all are perfect.
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    x_out, y_out = np.asarray(a_left_out, dtype=float), np.asarray(b_left_out, dtype=float)
    s, t = len(x), len(y)
    if x_out.shape[:1] != (s,) or y_out.shape[:1] != (t,) or x_out.shape[1:] != y_out.shape[1:]:
        raise ValueError(f"scores {x.shape}, {y.shape} and left out {x_out.shape}, {y_out.shape} do not fit together")
    if s < 2 or t < 2:
        return UNKNOWN
    of_seeds = (_variance(x) / s, _variance(y) / t)
    return TwoSources(float(x.mean() - y.mean()), of_seeds, (s, t), _of_patients(x_out, y_out, cases), cases)


def _of_patients(x_out: Floats, y_out: Floats, cases: float) -> float:
    p = x_out.shape[1]
    if p < 2 or np.isnan(x_out).any() or np.isnan(y_out).any():
        return math.nan
    factor = (p - 1) / p
    x_dev, y_dev = (out - out.mean(axis=1, keepdims=True) for out in (x_out, y_out))
    between_arms = float((x_dev.mean(axis=0) * y_dev.mean(axis=0)).sum())
    variance = factor * (_between_seeds(x_dev) + _between_seeds(y_dev) - 2 * between_arms)
    by_patient = np.abs(x_dev.mean(axis=0) - y_dev.mean(axis=0))
    greatest = float(by_patient.max()) * cases
    if greatest < ROUNDING:  # no patient shows any difference: nobody knows how great one is
        greatest = 1.0
    elif effective_patients(by_patient) >= FEWEST_CARRIERS:
        return max(0.0, variance)
    return max(variance, (unseen_share(cases) * greatest / float(stats.norm.ppf(1 - UNSEEN))) ** 2)


def unseen_share(cases: float) -> float:
    """Up to which share of all patients may be of a kind that none of so many showed, with 95 % confidence."""
    return 1 - UNSEEN ** (1 / cases) if cases > 0 else 1.0


def _between_seeds(deviations: Floats) -> float:
    """Mean over pairs of different rows of their product sums."""
    s = len(deviations)
    return float(((deviations.sum(axis=0) ** 2).sum() - (deviations**2).sum()) / (s * (s - 1)))


def _variance(values: Floats) -> float:
    return 0.0 if np.ptp(values) == 0 else float(values.var(ddof=1))


def two_way_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    a_drawn: ArrayLike,
    b_drawn: ArrayLike,
    *,
    patients: int,
    cases: float,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of mean(a) - mean(b) by drawing patients and seeds with replacement: patients paired, seeds of each arm apart.

    Parameters
    ----------
    a, b : (s,), (t,) float
        Scores of the trainings of either arm.
    a_drawn, b_drawn : (s, draws), (t, draws) float
        The scores of the same draws of patients (`by_patient.auc_drawn`, `mean_drawn`); draws that lack a class are not
        finite and are left out.
    patients : int
        In a draw.
    cases, level
        As of `TwoSources`.
    seed : int
        Of the draws of seeds.

    Returns
    -------
    low, high : float
        NaN where either arm has fewer than 2 trainings, there are fewer than 2 patients, or more than half of the draws
        lack a class.

    Notes
    -----
    Owen's pigeonhole bootstrap (2007, doi 10.1214/07-AOAS122; Owen and Eckles 2012, doi 10.1214/12-AOAS547), which
    counts the interaction of seeds and patients more than once and so errs to the wide side. Either source's draws are
    stretched by sqrt(n / (n - 1)), and the percentiles lie where Student's t with the degrees of freedom of both sources
    has them, not the normal law (Hesterberg 2015, doi 10.1080/00031305.2015.1089789).
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    x_drawn, y_drawn = np.asarray(a_drawn, dtype=float), np.asarray(b_drawn, dtype=float)
    s, t, draws = len(x), len(y), x_drawn.shape[1]
    usable = np.isfinite(x_drawn).all(axis=0) & np.isfinite(y_drawn).all(axis=0)
    if min(s, t, patients) < 2 or usable.sum() < draws / 2:
        return math.nan, math.nan
    x_drawn, y_drawn = x_drawn[:, usable], y_drawn[:, usable]
    rng = np.random.default_rng(seed)
    difference = x.mean() - y.mean()
    over_patients = (x_drawn.mean(axis=0) - y_drawn.mean(axis=0) - difference) * math.sqrt(patients / (patients - 1))
    over_seeds = [_seeds_drawn(drawn, rng) for drawn in (x_drawn, y_drawn)]
    drawn = difference + over_patients + over_seeds[0] - over_seeds[1]
    of_seeds = (float(over_seeds[0].var()), float(over_seeds[1].var()))
    freedom = TwoSources(float(difference), of_seeds, (s, t), float(over_patients.var()), cases).freedom
    if math.isnan(freedom):
        return float(difference), float(difference)
    reach = stats.t.ppf((1 + level) / 2, freedom)
    low, high = np.quantile(drawn, [stats.norm.sf(reach), stats.norm.cdf(reach)])
    return float(low), float(high)


def _seeds_drawn(drawn: Floats, rng: np.random.Generator) -> Floats:
    """What another draw of seeds adds to each draw of patients, (draws,), stretched."""
    s, draws = drawn.shape
    times = rng.multinomial(s, np.full(s, 1 / s), size=draws).T
    return ((times * drawn).mean(axis=0) - drawn.mean(axis=0)) * math.sqrt(s / (s - 1))
