"""Beyond memory or patience: redundancy estimated from sampled pairs, and what a pass or a ranking would cost.

Estimates say that they are. Exact counts stand in `similarity`. No clock of its own: whoever calibrates hands one in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from enrich_assets.method.embeddings.fixed_point import checked, to_fixed_point
from enrich_assets.method.pairs import plain as plain_pairs
from enrich_assets.method.pairs.panel import BIN_EDGES, BIN_WIDTH, N_BINS, RELATIONS
from enrich_assets.method.pairs.similarity import SMALL as SMALL_PAIRS
from enrich_assets.method.ranking.greedy import SMALL as SMALL_RANKING
from enrich_assets.method.ranking.greedy import rank

ALL = "all"  # the relation of all pairs


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
    panel's.
    Columns: relation ('all' and the panel's RELATIONS), lower, upper (cosine), pairs (estimated), share (of the
    relation's pairs), is_estimate (True), ci_low, ci_high (of the share; Wilson 1927), sampled and sampled_relation
    (pairs drawn in the bin, in the relation), total_pairs (of the panel).
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


@dataclass(frozen=True)
class Rates:
    """What this machine does, measured by `calibrate`: products of 128-dimensional vectors per second.

    NaN where nothing of that size was to be foretold, so nothing was measured.
    """

    plain_pairs: float  # all pairs of a small pool, by numpy
    plain_ranking: float  # ranking a small pool
    compiled: float  # either, of a large one


@dataclass(frozen=True)
class Cost:
    """A forecast, good within a factor of two on an otherwise idle machine."""

    seconds: float
    bytes: int  # of memory while it runs
    pairs: int  # products of two vectors
    is_estimate: bool = True


def calibrate(clock: Callable[[], float], *, frames: int | None = None) -> Rates:
    """Measure this machine for some hundred milliseconds (seconds, once, where the large pass was never compiled).

    clock: seconds, such as time.perf_counter.   frames: of the largest pool to be foretold; None: any.
    """
    q = to_fixed_point(np.random.default_rng(0).standard_normal((6000, 128)))
    clips = np.arange(len(q), dtype=np.int32) // 30

    def rate(products: float, work: Callable[[], object]) -> float:
        work()  # libraries loaded, code compiled, threads awake
        took = []
        for _ in range(3):
            began = clock()
            work()
            took.append(clock() - began)
        return products / max(sorted(took)[1], 1e-9)

    m = 1024
    plain = rate(math.comb(m, 2), lambda: plain_pairs.panel(q[:m], clips[:m], clips[:m], 0, 10, 15_680_000, 10_000))
    ranking = rate(200 * m, lambda: rank(q[:m], [], 200))
    compiled = math.nan
    if frames is None or frames > SMALL_RANKING:
        from enrich_assets.method.pairs import compiled as pair_sweep

        compiled = rate(math.comb(len(q), 2), lambda: pair_sweep.panel(q, clips, clips // 3, 0, 0, 15_680_000, 100_000))
    return Rates(plain, ranking, compiled)


def foretell_pairs(n_new: int, n_all: int, rates: Rates, *, dimensions: int = 128, neighbours: int = 10) -> Cost:
    """The panel of n_new frames against all n_all, themselves among them; a vector's dimensions, a frame's neighbours."""
    pairs = n_new * (n_all - n_new) + math.comb(n_new, 2)
    small = n_all <= SMALL_PAIRS
    seconds = pairs / (rates.plain_pairs if small else rates.compiled) * _per_product(dimensions)
    # Vectors as given, as rows and as panels; two lists of neighbours, gathered and returned; codes.
    room = n_all * (6 * dimensions + 40 * neighbours + 40) + (0 if small else 50_000_000)
    return Cost(seconds, room, pairs)


def foretell_ranking(n: int, budget: int, n_start: int, rates: Rates, *, dimensions: int = 128) -> Cost:
    """The max rule: `budget` of n frames in order, n_start of them given.

    A large pool is compared with the start set, and then about 0.45 of it with each pick, clip-like or structureless
    (measured from a fifth to all of 45,000 frames; half of it is what a whole order needs at least).
    """
    picks = max(budget - n_start, 0)
    if n <= SMALL_RANKING:
        products = n * budget
        return Cost(products / rates.plain_ranking * _per_product(dimensions), n * (6 * dimensions + 32), products)
    products = n * n_start + round(0.45 * n * picks)
    room = n * (4 * dimensions + 32) + budget * (2 * dimensions + 16) + 20_000_000
    return Cost(products / rates.compiled * _per_product(dimensions), room, products)


def _per_product(dimensions: int) -> float:
    """Time of a product and what is done with it, against 128 dimensions: a third does not depend on them."""
    return 0.35 + 0.65 * dimensions / 128
