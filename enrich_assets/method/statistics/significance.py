"""Tests and intervals for two small samples of replicate values, exact where exactness is to be had.

Here: functions of two arrays. What they say about arms and budgets is put together in `comparison`. Nothing here knows of
arms, budgets, tables or patients (`two_sources`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


def mann_whitney_exact(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Exact two-sided Mann-Whitney test.

    Parameters
    ----------
    a, b : (n,), (m,) float

    Returns
    -------
    u, p : float
        u = pairs where a is greater, ties counted half. Either side empty: (nan, nan).

    Raises
    ------
    ValueError
        For NaN or infinity.

    Notes
    -----
    Without ties: scipy's exact distribution. With ties that one is wrong (it assumes distinct values), so the
    permutation distribution of the mid-ranks is counted instead, exactly, by dynamic programming over rank sums;
    two-sided p is twice the smaller tail, at most 1, as in scipy.
    """
    x, y = _sample(a), _sample(b)
    n, m = len(x), len(y)
    if n == 0 or m == 0:
        return math.nan, math.nan
    pooled = np.concatenate([x, y])
    if len(np.unique(pooled)) == n + m:
        result = stats.mannwhitneyu(x, y, alternative="two-sided", method="exact")
        return float(result.statistic), float(result.pvalue)
    doubled = np.rint(2 * stats.rankdata(pooled)).astype(np.int64)  # mid-ranks are halves
    observed = int(doubled[:n].sum())
    share = _share_of_rank_sums(doubled, n)
    tail = min(share[: observed + 1].sum(), share[observed:].sum())
    return (observed - n * (n + 1)) / 2, min(1.0, 2 * float(tail))


def smallest_p(n: int, m: int) -> float:
    """The least p the exact two-sided test can give for n against m runs: 2 / (n + m choose n), at most 1."""
    return min(1.0, 2 / math.comb(n + m, n)) if n > 0 and m > 0 else math.nan


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down correction (Holm 1979), (k,) in the same order. NaN (no test was possible) is not counted."""
    given = np.asarray(p, dtype=float)
    corrected = np.full(given.shape, math.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected


def rank_biserial(a: ArrayLike, b: ArrayLike) -> float:
    """Effect size in [-1, 1]: share of pairs with a greater minus share of pairs with b greater."""
    x, y = _sample(a), _sample(b)
    if len(x) == 0 or len(y) == 0:
        return math.nan
    return float(np.sign(x[:, None] - y[None, :]).mean())


def equivalence(a: ArrayLike, b: ArrayLike, margin: float) -> float:
    """p of two one-sided Welch t-tests: small when mean(a) - mean(b) certainly lies within (-margin, +margin).

    Parameters
    ----------
    a, b : (n,), (m,) float
    margin : float
        Positive, in the units of a and b.

    Returns
    -------
    float
        The greater p of the two (Schuirmann 1987). Fewer than 2 runs on either side: NaN, no statement is possible. No
        spread on either side: the limit of the test, 0 if the difference lies inside the margin and 1 if not; it then
        rests on the replicates being truly independent, which `compare` says in its note.

    Raises
    ------
    ValueError
        When the margin is not positive, or a value not finite.
    """
    if not margin > 0:
        raise ValueError(f"the equivalence margin must be positive, not {margin}")
    x, y = _sample(a), _sample(b)
    if len(x) < 2 or len(y) < 2:
        return math.nan
    error, freedom = welch(x, y)
    return float(two_one_sided(np.array(x.mean() - y.mean()), np.array(error), np.array(freedom), margin))


def _sample(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=float).ravel()
    if not np.isfinite(sample).all():
        raise ValueError("a run without a finite value cannot be compared; leave it out and say so")
    return sample


def _share_of_rank_sums(ranks: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Share of the subsets of `n` items at each sum of their (integer) ranks: (sum(ranks) + 1,)."""
    ways = np.zeros((n + 1, int(ranks.sum()) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    return ways[n] / ways[n].sum()


def welch(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Standard error of the mean difference and its degrees of freedom (Welch-Satterthwaite)."""
    # A constant sample's variance may come out as 1e-33 when its mean is not exact; that is not spread.
    of_x, of_y = ((0.0 if np.ptp(s) == 0 else s.var(ddof=1)) / len(s) for s in (x, y))
    if of_x + of_y == 0:
        return 0.0, float(len(x) + len(y) - 2)
    freedom = (of_x + of_y) ** 2 / (of_x**2 / (len(x) - 1) + of_y**2 / (len(y) - 1))
    return math.sqrt(of_x + of_y), float(freedom)


def two_one_sided(
    difference: NDArray[np.float64], error: NDArray[np.float64], freedom: NDArray[np.float64], margin: float
) -> NDArray[np.float64]:
    """The greater p of the two one-sided t-tests; shapes broadcast."""
    room = margin - np.abs(difference)  # distance to the nearer edge: that side has the greater p
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.t.sf(room / error, freedom)
    return np.where(error > 0, p, np.where(room > 0, 0.0, 1.0))
