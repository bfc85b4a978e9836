"""Redundancy estimated from pairs drawn at random, where all pairs are beyond patience. An estimate says that it is one.

Exact counts stand in `similarity`, what they would cost in `cost`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from enrich_assets.method.embeddings.fixed_point import checked
from enrich_assets.method.pairs.panel import BIN_EDGES, BIN_WIDTH, N_BINS, RELATIONS

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
    """The panel's histograms from pairs drawn at random, with confidence intervals.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors.
    clips, patients : (n,) int
        Codes.
    n_samples : int
        Pairs drawn with replacement from the panel's.
    seed : int
        Of the draw; the same seed draws the same pairs.
    n_earlier : int
        How many frames came before this batch.
    level : float
        Of the intervals.

    Returns
    -------
    DataFrame
        A row per relation and bin. Columns: relation ('all' and the panel's RELATIONS), lower, upper (cosine), pairs
        (estimated), share (of the relation's pairs), is_estimate (True), ci_low, ci_high (of the share), sampled and
        sampled_relation (pairs drawn in the bin, in the relation), total_pairs (of the panel).
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
    for name, of_bins in [(ALL, counts.sum(axis=0)), *zip(RELATIONS, counts, strict=True)]:
        of_relation = int(of_bins.sum())
        low, high = wilson(of_bins, of_relation, level)
        parts.append(
            pd.DataFrame(
                {
                    "relation": name,
                    "lower": BIN_EDGES[:-1],
                    "upper": BIN_EDGES[1:],
                    "pairs": of_bins / max(n, 1) * total,
                    "share": of_bins / of_relation if of_relation else np.full(N_BINS, np.nan),
                    "is_estimate": True,
                    "ci_low": low,
                    "ci_high": high,
                    "sampled": of_bins,
                    "sampled_relation": of_relation,
                    "total_pairs": total,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def wilson(hits: ArrayLike, n: int, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval of a share.

    Parameters
    ----------
    hits : (b,) int
        Of `n` draws.
    level : float
        Of confidence.

    Returns
    -------
    low, high : (b,) float64
        0 and 1 when nothing was drawn.

    References
    ----------
    Wilson EB. Probable inference, the law of succession, and statistical inference. JASA 1927;22:209.
    """
    k = np.asarray(hits, dtype=np.float64)
    if not n:
        return np.zeros_like(k), np.ones_like(k)
    z = float(stats.norm.ppf((1 + level) / 2))
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
