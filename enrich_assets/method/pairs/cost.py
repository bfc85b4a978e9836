"""What a pass over all pairs, or a ranking, will cost on this machine: seconds, memory, products.

Here: the forecast and the measurement that it stands on. It has no clock of its own: whoever calibrates hands one in. What
the pairs would show, from a sample of them, stands in `sampled`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.pairs import plain
from enrich_assets.method.pairs.panel import PanelRequest
from enrich_assets.method.pairs.similarity import SMALL as SMALL_PAIRS
from enrich_assets.method.ranking.greedy import SMALL as SMALL_RANKING
from enrich_assets.method.ranking.greedy import rank

_NEAR = 15_680_000  # the product of a cosine of 0.98


@dataclass(frozen=True)
class Rates:
    """What this machine does, measured by `calibrate`: products of 128-dimensional vectors per second.

    NaN where no forecast of that size was asked for, so nothing was measured.
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

    Parameters
    ----------
    clock : callable
        Seconds, such as time.perf_counter.
    frames : int, optional
        Of the largest pool to be forecast; without it any.
    """
    q = to_fixed_point(np.random.default_rng(0).standard_normal((6000, 128)))
    clips = np.arange(len(q), dtype=np.int32) // 30

    def rate(products: float, work: Callable[[], object]) -> float:
        work()  # libraries loaded, code compiled, threads awake
        seconds = []
        for _ in range(3):
            began = clock()
            work()
            seconds.append(clock() - began)
        return products / max(sorted(seconds)[1], 1e-9)

    m = 1024
    small = PanelRequest(0, 10, _NEAR, 10_000)
    plain_pairs = rate(math.comb(m, 2), lambda: plain.panel(q[:m], clips[:m], clips[:m], small))
    plain_ranking = rate(200 * m, lambda: rank(q[:m], [], 200))
    compiled_pairs = math.nan
    if frames is None or frames > SMALL_RANKING:
        from enrich_assets.method.pairs import compiled

        large = PanelRequest(0, 0, _NEAR, 100_000)
        compiled_pairs = rate(math.comb(len(q), 2), lambda: compiled.panel(q, clips, clips // 3, large))
    return Rates(plain_pairs, plain_ranking, compiled_pairs)


def forecast_pairs(n_new: int, n_all: int, rates: Rates, *, dimensions: int = 128, neighbours: int = 10) -> Cost:
    """What the panel of a batch costs.

    Parameters
    ----------
    n_new, n_all : int
        Frames of the batch, and all frames, those of the batch among them.
    rates : Rates
        Of this machine.
    dimensions : int
        Of a vector.
    neighbours : int
        Listed of each frame.
    """
    pairs = n_new * (n_all - n_new) + math.comb(n_new, 2)
    small = n_all <= SMALL_PAIRS
    seconds = pairs / (rates.plain_pairs if small else rates.compiled) * _per_product(dimensions)
    # Vectors as given, as rows and as panels; two lists of neighbours, listed and returned; codes.
    room = n_all * (6 * dimensions + 40 * neighbours + 40) + (0 if small else 50_000_000)
    return Cost(seconds, room, pairs)


def forecast_ranking(n: int, budget: int, n_start: int, rates: Rates, *, dimensions: int = 128) -> Cost:
    """What a ranking by greatest similarity costs.

    Parameters
    ----------
    n, budget, n_start : int
        Frames of the pool, frames put in order, and those of them that are given.
    rates : Rates
        Of this machine.
    dimensions : int
        Of a vector.

    Notes
    -----
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
