"""The rule `coreset-features`: greedy k-centre on what the network's last layer sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.ranking.acquisition.base import FEATURES, LabelAwareRule, NetworkView


class CoresetFeatures(LabelAwareRule):
    """CoreSet (Sener, Savarese. Active learning for convolutional neural networks: a core-set approach. ICLR 2018).

    Each next frame is the one furthest, by Euclidean distance between features, from its nearest frame among all chosen
    before it, those with labels included: the greedy algorithm of the paper, without its integer programme.
    """

    name = "coreset-features"
    needs_of_network = FEATURES

    def choose(
        self, view: NetworkView, chosen: NDArray[np.int64], free: NDArray[np.int64], n: int, *, seed: int
    ) -> NDArray[np.int64]:
        of_free, of_chosen = view.scores(free).features, view.scores(chosen).features
        own = np.einsum("ij,ij->i", of_free, of_free)
        far = np.full(len(free), np.inf)

        def see(feature: NDArray[np.float64]) -> None:
            np.minimum(far, own - 2 * (of_free @ feature) + feature @ feature, out=far)

        for feature in of_chosen:
            see(feature)
        picks: list[int] = []
        for _ in range(n):
            pick = int(far.argmax())
            picks.append(pick)
            see(of_free[pick])
            far[picks] = -np.inf
        return free[picks]
