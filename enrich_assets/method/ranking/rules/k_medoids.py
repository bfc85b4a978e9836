"""The rule `k-medoids`: the chosen frames are the medoids of as many clusters as the budget has labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.ranking.clusters import nearest_centre, sums_by_cluster
from enrich_assets.method.ranking.covering import Covering, cover
from enrich_assets.method.ranking.kernels import similarity_itself
from enrich_assets.method.ranking.quota import Admission, Quota
from enrich_assets.method.ranking.rules.base import Candidates, VectorRule

Progress = Callable[[int, int, dict[str, float]], None]
MAX_ROUNDS = 20


class KMedoids(VectorRule):
    """k-medoids by cosine distance, budget after budget.

    For each budget in turn, frames chosen for earlier ones (and the start set) stay. (1) New medoids are added one at a
    time, each the frame that lessens the sum of distances to the nearest medoid most: the BUILD step of PAM (Kaufman and
    Rousseeuw 1990). (2) Each frame goes to its nearest medoid, the first on ties; each new medoid is replaced by the frame
    of its cluster with the least sum of distances within it, where that is less; until none changes, or for 20 rounds
    (Park and Jun. Expert Systems with Applications 2009;36:3336, with the old medoids held). The new medoids follow in the
    order of BUILD. So a budget's subset is the set of medoids given the smaller budgets', not the best set by itself.

    Under a quota a medoid is only replaced by a frame of its own patient.
    """

    name = "k-medoids"

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
        order = chosen
        for size in steps:
            held, added = len(order), order.tolist()
            admission = Admission(len(q), order, candidates.quota)
            cover(Covering(q, similarity_itself(), order, progress=progress), added, size, admission, progress)
            order = improved(q, np.array(added, np.int64), held, candidates.quota)
        return order


def improved(
    q: NDArray[np.int16], medoids: NDArray[np.int64], held: int, quota: Quota | None = None
) -> NDArray[np.int64]:
    """The medoids, those from place `held` on moved to the middle of their clusters.

    Parameters
    ----------
    q : (n, d) int16
        Fixed-point vectors.
    medoids : (k,) int64
        Frames.
    held : int
        The first so many stay.
    quota : Quota, optional
        With it a medoid is replaced by frames of its own patient only.

    Returns
    -------
    (k,) int64
    """
    x, medoids = q.astype(np.float32), medoids.copy()
    for _ in range(MAX_ROUNDS if len(medoids) > held else 0):
        cluster = nearest_centre(x, q[medoids])[0]
        cluster[medoids] = np.arange(len(medoids))  # of equal frames each medoid stays with its own cluster
        sums = sums_by_cluster(q, cluster, len(medoids))
        within = np.einsum("ij,ij->i", q.astype(np.int64), sums[cluster])  # sum of the products with its own cluster
        may = np.ones(len(q), bool) if quota is None else quota.patients == quota.patients[medoids[cluster]]
        before = medoids.copy()
        candidates = np.flatnonzero(may & (cluster >= held))
        # The greatest sum of each cluster, the lowest index on ties: sorted so that it comes first.
        ranked = candidates[np.lexsort((candidates, -within[candidates], cluster[candidates]))]
        of_cluster, first = np.unique(cluster[ranked], return_index=True)
        best = ranked[first]
        better = within[best] > within[medoids[of_cluster]]
        medoids[of_cluster[better]] = best[better]
        if (medoids == before).all():
            break
    return medoids
