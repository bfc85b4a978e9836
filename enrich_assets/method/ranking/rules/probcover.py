"""The rule `probcover`: balls of one radius around the chosen frames; each next frame covers the most frames not covered yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.ranking.clusters import k_means
from enrich_assets.method.ranking.covering import Covering, cover
from enrich_assets.method.ranking.kernels import ball
from enrich_assets.method.ranking.quota import Admission
from enrich_assets.method.ranking.rules.base import Candidates, VectorRule

Progress = Callable[[int, int, dict[str, float]], None]
PURITY = 0.95  # share of balls that must hold frames of one pseudo-label only
_ROWS = 512


class ProbCover(VectorRule):
    """Probability coverage (Yehuda, Dekel, Hacohen, Weinshall. Active learning through a covering lens. NeurIPS 2022).

    What differs from the authors' code: the radius is the greatest one of the required purity, exactly, rather than the
    best of a grid tried by hand; pseudo-labels come from our whole-number k-means; a ball holds the frames at its border;
    and once everything is covered, frames follow by k-center-greedy, where theirs go on in the order of index.
    """

    name = "probcover"

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
        radius = pure_radius(q, k_means(q, min(candidates.n_classes, len(q)), seed))
        order = chosen.tolist()
        admission = Admission(len(q), chosen, candidates.quota)
        cover(Covering(q, ball(radius), chosen, progress=progress), order, steps[-1], admission, progress)
        return np.array(order, np.int64)


def pure_radius(q: NDArray[np.int16], cluster: NDArray[np.int64], purity: float = PURITY) -> int:
    """The least product that a ball may reach to, so that enough balls are pure.

    Parameters
    ----------
    q : (n, d) int16
        Fixed-point vectors.
    cluster : (n,) int64
        Pseudo-label of each frame.
    purity : float
        In 0..1: the share of frames whose ball holds frames of their own pseudo-label only.

    Returns
    -------
    int
        A ball holds the frames whose product with its centre is at least this. Where all frames have one pseudo-label,
        a product that every pair reaches.

    Notes
    -----
    The ball of a frame is pure when the radius lies above its greatest product with a frame of another pseudo-label.
    So the radius (the greatest distance, the least product) is one more than the ceil(purity n)-th least of these.
    """
    x = q.astype(np.float32)
    foreign = np.full(len(x), -EXACT, np.int64)
    for at in range(0, len(x), _ROWS):
        part = slice(at, at + _ROWS)
        products = x[part] @ x.T
        products[cluster[part][:, None] == cluster] = -EXACT
        foreign[part] = products.max(axis=1)
    enough = max(1, int(np.ceil(round(purity * len(x), 9))))
    return int(np.partition(foreign, enough - 1)[enough - 1]) + 1
