"""The rule `margin`: the frames that the network is least decided about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.ranking.acquisition.base import LabelAwareRule, NetworkView


class Margin(LabelAwareRule):
    """Margin sampling (Scheffer, Decomain, Wrobel. Active hidden Markov models for information extraction. IDA 2001).

    Frames in the order of the difference between the two greatest class scores, least first; of masks its mean over the
    pixels.
    """

    name = "margin"

    def choose(
        self, view: NetworkView, chosen: NDArray[np.int64], free: NDArray[np.int64], n: int, *, seed: int
    ) -> NDArray[np.int64]:
        return free[np.argsort(view.margins(free), kind="stable")[:n]]
