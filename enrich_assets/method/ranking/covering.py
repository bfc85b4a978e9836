"""Greedy coverage, exact: each next frame adds most to sum_i max_{c chosen} k(i, c), for a kernel k that grows with similarity.

One engine under several rules: ProbCover (k is 1 within a ball), MaxHerding (k is Gaussian), the BUILD step of k-medoids (k is
the similarity itself). What each frame would add is kept exactly and brought up to date after every pick, for only those
frames that the pick serves better than any before it; so all picks together cost few passes over all pairs, and the n x n
matrix never exists.

Here: the engine. Kernels stand in `kernels`, its compiled inner loops in `gains`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.ranking.kernels import Kernel
from enrich_assets.method.ranking.order import NOT_COMPARED
from enrich_assets.method.ranking.quota import Admission

if TYPE_CHECKING:
    from enrich_assets.method.ranking.gains import Tiled

Progress = Callable[[int, int, dict[str, float]], None]
SMALL = 1500  # frames up to which plain numpy is quicker than loading the compiled loop
ROWS = 480  # frames brought up to date at a time


class Covering:
    """What each frame would add to the coverage by those chosen so far.

    Parameters
    ----------
    q : (n, d) int16
        Fixed-point vectors.
    kernel : Kernel
    chosen : (m,) int64
        Frames chosen beforehand.

    Attributes
    ----------
    served : (n,) int64
        Each frame's greatest kernel with a chosen frame; kernel.nothing where none is chosen.
    gains : (n,) int64
        sum_i max(0, k(i, x) - served[i]) of each frame x.
    """

    def __init__(
        self,
        q: NDArray[np.int16],
        kernel: Kernel,
        chosen: NDArray[np.int64],
        *,
        progress: Progress | None = None,
    ) -> None:
        self.products, self.kernel, self.progress = products_of(q), kernel, progress
        n = len(q)
        self.served = np.full(n, kernel.nothing, np.int64)
        if len(chosen):
            self.served = kernel.of(self.products.greatest(chosen))
        self.gains = np.zeros(n, np.int64)
        top = int(kernel.of(np.array([EXACT - 1]))[0])
        self._add(np.flatnonzero(self.served < top), None)

    def pick(self, admission: Admission) -> int | None:
        """The admissible frame that adds most, the lower index on ties; None where no frame adds anything."""
        gains = np.where(admission.free, self.gains, -1)
        best = int(gains.argmax())
        return best if gains[best] > 0 else None

    def take(self, frame: int) -> None:
        """Choose a frame."""
        now = self.kernel.of(self.products.greatest(np.array([frame])))
        better = np.flatnonzero(now > self.served)
        before = self.served[better]
        self.served[better] = now[better]
        self._add(better, before)

    def _add(self, frames: NDArray[np.int64], before: NDArray[np.int64] | None) -> None:
        """Bring the gains up to date with what these frames are served by now, and were before (None: not counted yet)."""
        for at in range(0, len(frames), ROWS):
            part = frames[at : at + ROWS]
            old = None if before is None else before[at : at + ROWS]
            self.products.change_gains(self.gains, part, self.served[part], old, self.kernel)
            if self.progress and before is None:
                self.progress(at + len(part), len(frames), {})


def products_of(q: NDArray[np.int16]) -> Tiled | Plain:
    """Products of frames with all, by the quickest way for so many."""
    if len(q) <= SMALL:
        return Plain(q)
    from enrich_assets.method.ranking.gains import Tiled

    return Tiled(q)


class Plain:
    """What `gains.Tiled` does, in numpy: for small pools, and as its definition."""

    def __init__(self, q: NDArray[np.int16]) -> None:
        self.x = q.astype(np.float32)

    def greatest(self, frames: NDArray[np.int64]) -> NDArray[np.int32]:
        """(n,) the greatest product of each frame with any of these; NOT_COMPARED where there are none."""
        return (self.x @ self.x[frames].T).max(axis=1, initial=NOT_COMPARED).astype(np.int32)

    def change_gains(
        self,
        gains: NDArray[np.int64],
        frames: NDArray[np.int64],
        served: NDArray[np.int64],
        before: NDArray[np.int64] | None,
        kernel: Kernel,
    ) -> None:
        """gains[x] += sum_i max(0, k(i, x) - served[i]) - max(0, k(i, x) - before[i]) over these frames i."""
        value = kernel.of(self.x[frames] @ self.x.T)
        change = np.maximum(value - served[:, None], 0)
        if before is not None:
            change -= np.maximum(value - before[:, None], 0)
        gains += change.sum(axis=0)


def cover(
    covering: Covering, order: list[int], size: int, admission: Admission, progress: Progress | None = None
) -> None:
    """Extend `order` greedily up to `size` frames, or until nothing adds anything."""
    while len(order) < size:
        frame = covering.pick(admission)
        if frame is None:
            return
        order.append(frame)
        admission.take(frame)
        covering.take(frame)
        if progress and len(order) % 64 == 0:
            progress(len(order), size, {})
