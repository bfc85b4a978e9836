"""Beyond memory or patience: redundancy estimated from sampled pairs, and what a pass or a ranking would cost.

Estimates say that they are. Exact counts stand in `similarity`. No clock of its own: whoever calibrates hands one in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from enrich_assets.method.embedding import checked
from enrich_assets.method.panel import BIN_EDGES, BIN_WIDTH, N_BINS, RELATIONS

ALL = "all"


def estimate_redundancy(
    embeddings: NDArray[np.int16],
    clips: ArrayLike,
    patients: ArrayLike,
    n_samples: int = 1_000_000,
    seed: int = 0,
    *,
    n_earlier: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """The panel's histograms from pairs drawn at random, one row per relation and bin, with confidence intervals.

    embeddings: (n, d) int16.   clips, patients: (n,) codes.   n_samples: pairs drawn with replacement from the
    panel's. Columns: relation ('all' and the panel's RELATIONS), lower, upper (cosine), pairs (estimated, float),
    share (of the relation's pairs), is_estimate (True), ci_low, ci_high (of the share; Wilson 1927), sampled (pairs
    drawn in the bin), sampled_relation, total_pairs (of the panel). The shares over a threshold with their intervals:
    `estimated_share`.
    """
    q = checked(embeddings)
    clip, patient = np.asarray(clips), np.asarray(patients)
    n = len(q)
    m = n - n_earlier
    total = n_earlier * m + m * (m - 1) // 2
    counts = np.zeros((3, N_BINS), np.int64)
    rng = np.random.default_rng(seed)
    left = n_samples if total else 0
    while left > 0:
        size = min(left, 1 << 16)
        j = rng.integers(n_earlier, n, size)
        i = rng.integers(0, n, size)
        # Uniform over pairs of the panel: each unordered pair of new frames can be drawn in two ways, one with an
        # earlier frame in one; drop half of the former, and the pairs of a frame with itself.
        keep = (i != j) & ((i < n_earlier) | (i < j))
        i, j = i[keep], j[keep]
        products = np.einsum("ij,ij->i", q[i].astype(np.int32), q[j].astype(np.int32))
        relation = np.where(clip[i] == clip[j], 0, np.where(patient[i] == patient[j], 1, 2))
        bins = np.clip(products // BIN_WIDTH + N_BINS // 2, 0, N_BINS - 1)
        counts += np.bincount(relation * N_BINS + bins, minlength=3 * N_BINS).reshape(3, N_BINS)
        left -= len(i)
    return _table(counts, total, level)


def _table(counts: NDArray[np.int64], total: int, level: float) -> pd.DataFrame:
    n = int(counts.sum())
    parts = []
    for name, mine in [(ALL, counts.sum(axis=0)), *zip(RELATIONS, counts, strict=True)]:
        of = int(mine.sum())
        low, high = wilson(mine, of, level)
        parts.append(
            pd.DataFrame(
                {
                    "relation": name,
                    "lower": BIN_EDGES[:-1],
                    "upper": BIN_EDGES[1:],
                    "pairs": mine / max(n, 1) * total,
                    "share": mine / of if of else np.full(N_BINS, np.nan),
                    "is_estimate": True,
                    "ci_low": low,
                    "ci_high": high,
                    "sampled": mine,
                    "sampled_relation": of,
                    "total_pairs": total,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def wilson(hits: ArrayLike, n: int, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval of a share, (low, high); [0, 1] when nothing was drawn."""
    k = np.asarray(hits, dtype=np.float64)
    if not n:
        return np.zeros_like(k), np.ones_like(k)
    z = float(stats.norm.ppf((1 + level) / 2))
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def sum_estimates(tables: Sequence[pd.DataFrame], level: float = 0.95) -> pd.DataFrame:
    """Estimates of several panels as one, each weighed by its pairs (stratified sampling; normal interval of the sum).

    tables: of `estimate_redundancy`, one per panel; an exact panel may stand among them as `exact_table`. Same columns.
    """
    z = float(stats.norm.ppf((1 + level) / 2))
    first = tables[0]
    pairs = np.sum([t["pairs"].to_numpy() for t in tables], axis=0)
    variance = np.zeros(len(first))
    for t in tables:
        drawn = t.loc[t["relation"] == ALL, "sampled"].sum()
        if t["is_estimate"].any() and drawn:
            # Jeffreys-like half counts keep the variance of an empty or full bin above zero.
            share = (t["sampled"].to_numpy() + 0.5) / (drawn + 1)
            variance += t["total_pairs"].to_numpy() ** 2 * share * (1 - share) / drawn
    of = pd.Series(pairs).groupby(first["relation"].to_numpy()).transform("sum").to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        share, half = pairs / of, z * np.sqrt(variance) / of
    return first[["relation", "lower", "upper"]].assign(
        pairs=pairs,
        share=share,
        is_estimate=any(bool(t["is_estimate"].any()) for t in tables),
        ci_low=np.clip(share - half, 0, 1),
        ci_high=np.clip(share + half, 0, 1),
        sampled=np.sum([t["sampled"].to_numpy() for t in tables], axis=0),
        sampled_relation=np.sum([t["sampled_relation"].to_numpy() for t in tables], axis=0),
        total_pairs=np.sum([t["total_pairs"].to_numpy() for t in tables], axis=0),
    )


def exact_table(histograms: NDArray[np.int64]) -> pd.DataFrame:
    """A panel's histograms in the columns of `estimate_redundancy`, intervals of no width, `is_estimate` False."""
    total = int(histograms.sum())
    table = _table(histograms, total, 0.95)
    return table.assign(is_estimate=False, ci_low=table["share"], ci_high=table["share"])


@dataclass(frozen=True)
class Rates:
    """What this machine does, measured by `calibrate`."""

    pairs_per_second: float  # of an all-pairs pass at 128 dimensions
    ranking_pairs_per_second: float  # of the ranking's own products


@dataclass(frozen=True)
class Cost:
    """A forecast, good within a factor of two."""

    seconds: float
    bytes: int
    pairs: int
    is_estimate: bool = True


def calibrate(clock: Callable[[], float], *, n: int = 6000, dimensions: int = 128) -> Rates:
    """Measure this machine for a few hundred milliseconds; clock: seconds, such as time.perf_counter."""
    from enrich_assets.method.embedding import to_fixed_point
    from enrich_assets.method.similarity import all_pairs

    q = to_fixed_point(np.random.default_rng(0).standard_normal((n, dimensions)))
    began = clock()
    all_pairs(q, clips=np.arange(n) // 30, patients=np.arange(n) // 90)
    rate = n * (n - 1) / 2 / max(clock() - began, 1e-6)
    return Rates(rate, rate)


def foretell_pairs(n_new: int, n_all: int, rates: Rates, *, dimensions: int = 128, neighbours: int = 10) -> Cost:
    """The panel of n_new frames against all n_all (themselves among them)."""
    n_earlier = n_all - n_new
    pairs = n_new * n_earlier + n_new * (n_new - 1) // 2
    seconds = pairs / rates.pairs_per_second * max(dimensions / 128, 0.5)
    return Cost(seconds, n_all * (4 * dimensions + 16 * neighbours), pairs)


def foretell_ranking(n: int, budget: int, n_start: int, rates: Rates, *, dimensions: int = 128) -> Cost:
    """The max rule: every frame against the start set, then each pick against what came before it."""
    pairs = n * n_start + math.comb(max(budget, 1), 2)
    return Cost(pairs / rates.ranking_pairs_per_second * max(dimensions / 128, 0.5), n * (4 * dimensions + 16), pairs)
