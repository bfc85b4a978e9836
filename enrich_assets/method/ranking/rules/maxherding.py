"""The rule `maxherding`: each next frame adds most to how near the nearest chosen frame is, by a Gaussian kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.ranking.covering import Covering, cover
from enrich_assets.method.ranking.kernels import gaussian
from enrich_assets.method.ranking.quota import Admission
from enrich_assets.method.ranking.rules.base import Candidates, VectorRule

Progress = Callable[[int, int, dict[str, float]], None]
SIGMA = 1.0  # the authors' default for vectors of unit length


class MaxHerding(VectorRule):
    """Generalized coverage (Bae, Noh, Sutherland. Generalized coverage for more robust low-budget active learning. ECCV 2024).

    Greedy maximisation of sum_i max_c exp(-|x_i - x_c|^2 / sigma^2) over unit vectors, sigma 1 as in the authors' code. What
    differs: the kernel is taken at steps of 3.2e-5 of the cosine, in whole numbers; all frames are candidates, where
    theirs may be 35,000 drawn ones; the matrix of kernels is never held.
    """

    name = "maxherding"

    def plan(
        self,
        q: NDArray[np.int16],
        chosen: NDArray[np.int64],
        steps: Sequence[int],
        candidates: Candidates,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> NDArray[np.int64]:
        order = chosen.tolist()
        admission = Admission(len(q), chosen, candidates.quota)
        cover(Covering(q, gaussian(SIGMA), chosen, progress=progress), order, steps[-1], admission, progress)
        return np.array(order, np.int64)
