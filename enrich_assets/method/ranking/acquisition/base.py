"""What a rule that sees labels is: the base of them, and what such a rule may look at."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.ranking.rules.base import NamedRule

MARGINS, FEATURES = "margins", "features"  # what a kind of task may offer of its network


@dataclass(frozen=True)
class Scores:
    """What a network makes of frames."""

    probabilities: NDArray[np.float64]  # (n, n_classes), rows sum to 1
    features: NDArray[np.float64]  # (n, d) what its last layer sees


class NetworkView(Protocol):
    """The network trained on the frames chosen so far, looking at the pool. No label passes through it."""

    def margins(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) the greatest score minus the second greatest, 0 to 1; of a mask the mean over its pixels."""

    def scores(self, frames: NDArray[np.int64]) -> Scores:
        """Probabilities and features."""


class LabelAwareRule(NamedRule):
    """A rule that chooses the next batch by a network trained on the labels bought so far.

    Deterministic for a seed on one machine; ties go to the lower index. Floats, so two machines may differ.
    """

    compares_frames = False
    sees_labels = True
    needs_of_network: ClassVar[str | None] = MARGINS

    @abstractmethod
    def choose(
        self,
        view: NetworkView,
        chosen: NDArray[np.int64],
        free: NDArray[np.int64],
        n: int,
        *,
        seed: int,
    ) -> NDArray[np.int64]:
        """The next frames, in order.

        Parameters
        ----------
        view : NetworkView
            Of the network trained on `chosen`.
        chosen : (m,) int64
            Frames whose labels are bought.
        free : (f,) int64
            Frames to choose among, ascending.
        n : int
            How many, at most f.
        seed : int

        Returns
        -------
        (n,) int64
            Of `free`, each once.
        """
