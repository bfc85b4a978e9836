"""Quotas: at most so many frames of one patient, layer after layer, so that an order of the whole pool can keep to them.

Here: who may be picked next, and greedy orders under that. Rules without a quota do not come here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.ranking.order import NOT_COMPARED

Progress = Callable[[int, int, dict[str, float]], None]
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Quota:
    """At most `most` frames of one patient for each layer.

    Attributes
    ----------
    patients : (n,) int64
        Codes.
    most : int
        Frames of one patient that may be chosen before every patient has given as many, or has no more.
    """

    patients: NDArray[np.int64]
    most: int

    def __post_init__(self) -> None:
        if self.patients.ndim != 1 or self.most < 1:
            raise ValueError(f"a quota is at least 1 frame of each of (n,) patients, not {self.most}")


class Admission:
    """Which frames may be picked next.

    Without a quota: every frame not chosen yet. With one, frames of a patient that has given `most` of them wait until no
    other frame is left; then each patient may give `most` more (the next layer), and so on. Frames chosen beforehand count.

    Attributes
    ----------
    free : (n,) bool
        Changed in place by `take`.
    """

    def __init__(self, n: int, chosen: NDArray[np.int64], quota: Quota | None = None) -> None:
        if quota is not None and len(quota.patients) != n:
            raise ValueError(f"the quota names {len(quota.patients)} patients of frames, the pool has {n} frames")
        self.taken = np.zeros(n, bool)
        self.taken[chosen] = True
        self.quota, self.layer = quota, 1
        self.used: NDArray[np.int64] = np.zeros(0, np.int64)
        self.free = ~self.taken
        if quota is not None:
            self.used = np.bincount(quota.patients[chosen], minlength=int(quota.patients.max(initial=-1)) + 1)
            self._open()

    def take(self, pick: int) -> bool:
        """Count a pick. True where waiting frames have become free: the next layer has begun."""
        self.taken[pick] = True
        self.free[pick] = False
        if self.quota is None:
            return False
        patient = self.quota.patients[pick]
        self.used[patient] += 1
        if self.used[patient] >= self.quota.most * self.layer:
            self.free &= self.quota.patients != patient
        if self.free.any():
            return False
        self._open()  # nobody has given too many, or has any left
        return True

    def _open(self) -> None:
        """The first layer in which a frame may be picked, if any frame is left."""
        assert self.quota is not None
        while True:
            self.free = ~self.taken & (self.used[self.quota.patients] < self.quota.most * self.layer)
            if self.free.any() or self.taken.all():
                return
            self.layer += 1


def rank_under_quota(
    products: Callable[[int], NDArray[np.int64]],
    n: int,
    chosen: NDArray[np.int64],
    budget: int,
    quota: Quota,
    *,
    by_sum: bool = False,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each next frame is the admissible one whose similarity to the chosen is least; the lower index on ties.

    Parameters
    ----------
    products : callable
        Of a frame: its (n,) similarity to all.
    n : int
        Frames in the pool.
    chosen : (m,) int64
        Frames chosen beforehand; of none, the first pick is the lowest admissible index.
    budget : int
    quota : Quota
    by_sum : bool
        The sum of the similarities (their mean, that is) decides instead of the greatest.
    progress : callable, optional
        Called with (done, of, {}).

    Returns
    -------
    order, similarity : (budget,) int64
        Of each pick the greatest similarity to those before it; NOT_COMPARED for those of `chosen`.
    """
    admission = Admission(n, chosen, quota)
    order = np.concatenate([chosen, np.empty(budget - len(chosen), np.int64)])
    similarity = np.full(budget, NOT_COMPARED, np.int64)
    greatest, total = np.full(n, NOT_COMPARED, np.int64), np.zeros(n, np.int64)

    def see(frame: int) -> None:
        row = products(frame)
        np.maximum(greatest, row, out=greatest)
        if by_sum:
            total[:] += row

    for frame in chosen:
        see(int(frame))
    for at in range(len(chosen), budget):
        pick = int(np.where(admission.free, total if by_sum else greatest, _NEVER).argmin())
        order[at], similarity[at] = pick, greatest[pick]
        admission.take(pick)
        see(pick)
        if progress and at % 256 == 0:
            progress(at, budget, {})
    return order, similarity
