"""The rule `badge`: k-means++ on the gradients that a guessed label would make in the last layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.ranking.acquisition.base import FEATURES, LabelAwareRule, NetworkView
from enrich_assets.method.ranking.clusters import draw

_FINE = 1 << 53  # a draw in 0..1 has so many steps


class Badge(LabelAwareRule):
    """BADGE (Ash, Zhang, Krishnamurthy, Langford, Agarwal. Deep batch active learning by diverse, uncertain gradient lower bounds.
    ICLR 2020).

    The gradient of the cross-entropy in the last layer, were the likeliest class the label, is (p - e_y) x h for scores p
    and features h. The first pick has the longest, as in the authors' code; each next one is drawn with a chance in
    proportion to its squared distance from the nearest pick. Products of such gradients are (a . b)(h . g), so they are
    never written out.
    """

    name = "badge"
    needs_of_network = FEATURES

    def choose(
        self, view: NetworkView, chosen: NDArray[np.int64], free: NDArray[np.int64], n: int, *, seed: int
    ) -> NDArray[np.int64]:
        scores = view.scores(free)
        error = scores.probabilities.copy()
        error[np.arange(len(error)), error.argmax(axis=1)] -= 1
        picks = spread(error, scores.features, n, seed, len(chosen))
        return free[picks]


def spread(
    error: NDArray[np.float64], features: NDArray[np.float64], n: int, seed: int, purpose: int
) -> NDArray[np.int64]:
    """k-means++ over the vectors error[i] x features[i].

    Parameters
    ----------
    error : (f, k) float64
    features : (f, d) float64
    n : int
        How many to pick, at most f.
    seed, purpose : int
        Of the draws.

    Returns
    -------
    (n,) int64
        Positions, each once; where all are as one of those picked, the lowest that is left.
    """
    lengths = squared_lengths(error, features)
    near = np.full(len(error), np.inf)
    picks: list[int] = []
    for at in range(n):
        if not picks:
            pick = int(lengths.argmax())
        else:
            heights = np.cumsum(near)
            if heights[-1] > 0:
                height = draw(_FINE, "badge", seed, purpose, at) / _FINE * heights[-1]
                pick = min(int(np.searchsorted(heights, height, side="right")), int(np.flatnonzero(near)[-1]))
            else:
                pick = int(np.setdiff1d(np.arange(len(error)), picks)[0])
        picks.append(pick)
        np.minimum(near, squared_distances(error, features, lengths, pick), out=near)
        near[picks] = 0
    return np.array(picks, np.int64)


def squared_lengths(error: NDArray[np.float64], features: NDArray[np.float64]) -> NDArray[np.float64]:
    """(f,) squared lengths of the vectors error[i] x features[i]."""
    return np.einsum("ij,ij->i", error, error) * np.einsum("ij,ij->i", features, features)


def squared_distances(
    error: NDArray[np.float64], features: NDArray[np.float64], lengths: NDArray[np.float64], at: int
) -> NDArray[np.float64]:
    """(f,) squared distances of all these vectors to one of them."""
    product = (error @ error[at]) * (features @ features[at])
    return np.maximum(lengths - 2 * product + lengths[at], 0)
