"""The rule `typiclust`: as many clusters as labels, and of each the most typical frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.ranking.clusters import k_means
from enrich_assets.method.ranking.quota import Admission
from enrich_assets.method.ranking.rules.base import Candidates, VectorRule

Progress = Callable[[int, int, dict[str, float]], None]
MAX_CLUSTERS = 500
MIN_CLUSTER = 5  # clusters of no more frames are left out
NEIGHBOURS = 20
_MATRIX = 1000  # frames up to which a cluster's products are kept: 4 kB a frame of the pool at most
_ROWS = 512


class TypiClust(VectorRule):
    """TypiClust (Hacohen, Dekel, Weinshall. Active learning on a budget: opposite strategies suit high and low budgets. ICML 2022).

    For each budget b in turn, with L chosen so far: k-means into min(b, 500) clusters; those of more than 5 frames, the ones
    with fewest chosen frames first, then the largest, are gone through again and again; of each the most typical frame
    that is left is taken, until b are chosen. Typical is what has the least mean squared distance to its min(20, half the
    cluster) nearest frames of the cluster that are left. So a ranking is nested: each budget adds to the one before it.

    What differs from the authors' code: k-means is spherical and on whole numbers (`clusters.k_means`), where theirs is
    scikit-learn's (mini-batches beyond 50 clusters) on floats; ties are decided, by cluster number and frame index; and
    where no cluster has more than 5 frames, all count.
    """

    name = "typiclust"

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
        admission = Admission(len(q), chosen, candidates.quota)
        for size in steps:
            if size > len(order):
                cluster = k_means(q, min(size, MAX_CLUSTERS), seed, progress=progress)
                order = most_typical(q, cluster, order, size, admission, progress)
        return order


def most_typical(
    q: NDArray[np.int16],
    cluster: NDArray[np.int64],
    chosen: NDArray[np.int64],
    size: int,
    admission: Admission,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Extend an order with the most typical frames of clusters in turn.

    Parameters
    ----------
    q : (n, d) int16
        Fixed-point vectors.
    cluster : (n,) int64
        Of each frame.
    chosen : (m,) int64
        The order so far.
    size : int
        How long it becomes, at most n.
    admission : Admission
        Who may be picked; the picks are counted there.
    progress : callable, optional
        Called with (done, of, {}).

    Returns
    -------
    (size,) int64
    """
    order = chosen.tolist()
    left = np.ones(len(q), bool)
    left[chosen] = False
    members = [_Members(q, np.flatnonzero(left & (cluster == c))) for c in range(int(cluster.max()) + 1)]
    turn = _turns(cluster, chosen)
    at = 0
    while len(order) < size:
        for _ in range(len(turn)):
            frame = members[turn[at % len(turn)]].most_typical(admission.free)
            at += 1
            if frame is not None:
                break
        else:  # only frames of the small clusters are left, or admissible
            rest = [c for c in range(len(members)) if members[c].is_there(admission.free)]
            frame = members[max(rest, key=lambda c: (len(members[c].frames), -c))].most_typical(admission.free)
            assert frame is not None
        members[cluster[frame]].remove(frame)
        admission.take(frame)
        order.append(frame)
        if progress and len(order) % 64 == 0:
            progress(len(order), size, {})
    return np.array(order, np.int64)


def _turns(cluster: NDArray[np.int64], chosen: NDArray[np.int64]) -> list[int]:
    """Clusters in the order in which they are gone through."""
    sizes = np.bincount(cluster)
    held = np.bincount(cluster[chosen], minlength=len(sizes))
    large = [c for c in range(len(sizes)) if sizes[c] > MIN_CLUSTER] or [c for c in range(len(sizes)) if sizes[c]]
    return sorted(large, key=lambda c: (held[c], -sizes[c], c))


class _Members:
    """The frames of a cluster that are left, and their products while they are few."""

    def __init__(self, q: NDArray[np.int16], frames: NDArray[np.int64]) -> None:
        self.q, self.frames = q, frames
        self.products: NDArray[np.float32] | None = None

    def is_there(self, free: NDArray[np.bool_]) -> bool:
        """Whether any frame is left that may be picked."""
        return bool(free[self.frames].any())

    def remove(self, frame: int) -> None:
        keep = self.frames != frame
        self.frames = self.frames[keep]
        if self.products is not None:
            self.products = self.products[np.ix_(keep, keep)]

    def most_typical(self, free: NDArray[np.bool_]) -> int | None:
        """The most typical frame that may be picked; None where there is none."""
        if not self.is_there(free):
            return None
        k = min(NEIGHBOURS, len(self.frames) // 2)
        if k == 0:
            return int(self.frames[0])
        near = np.concatenate([self._nearest(at, k) for at in range(0, len(self.frames), _ROWS)])
        return int(self.frames[np.where(free[self.frames], near, -(EXACT * NEIGHBOURS)).argmax()])

    def _nearest(self, at: int, k: int) -> NDArray[np.int64]:
        """Of some frames the sum of the k greatest products with another: the less the distances, the greater it is."""
        products = self._of(at)
        if len(self.frames) == 1:
            return np.zeros(1, np.int64)
        greatest = np.partition(products, products.shape[1] - k, axis=1)[:, -k:]
        return greatest.astype(np.int64).sum(axis=1)

    def _of(self, at: int) -> NDArray[np.float32]:
        """Products of frames at..at+_ROWS-1 with all; with itself, a product that is less than any."""
        n = len(self.frames)
        if n <= _MATRIX:
            if self.products is None:
                x = self.q[self.frames].astype(np.float32)
                self.products = x @ x.T
                np.fill_diagonal(self.products, -EXACT)
            return self.products[at : at + _ROWS]
        x = self.q[self.frames].astype(np.float32)
        products = x[at : at + _ROWS] @ x.T
        products[np.arange(len(products)), at + np.arange(len(products))] = -EXACT
        return products
