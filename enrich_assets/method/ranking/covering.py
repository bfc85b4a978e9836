"""Greedy coverage, exact: each next frame adds most to sum_i max_{c chosen} k(i, c), for a kernel k that grows with similarity.

One engine under several rules: ProbCover (k is 1 within a ball), MaxHerding (k is Gaussian), the BUILD step of k-medoids (k is
the similarity itself). What each frame would add is kept exactly and brought up to date after every pick, for only those
frames that the pick serves better than any before it; so all picks together cost few passes over all pairs, and the n x n
matrix never exists.

Here: kernels and the engine. Its compiled inner loop stands in `gains`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT, SCALE
from enrich_assets.method.ranking.order import NOT_COMPARED
from enrich_assets.method.ranking.quota import Admission

if TYPE_CHECKING:
    from enrich_assets.method.ranking.gains import Tiled

Progress = Callable[[int, int, dict[str, float]], None]
SMALL = 1500  # frames up to which plain numpy is quicker than loading the compiled loop
ROWS = 480  # frames brought up to date at a time
SHIFT = 9  # a table's step is 512 products, a cosine of 3.2e-5, below what fixed point can tell
ONE = 1 << 22  # the Gaussian kernel of a frame with itself


@dataclass(frozen=True)
class Kernel:
    """How much a chosen frame serves another, as a whole number that never decreases with their product.

    Attributes
    ----------
    table : (t,) int64
        The kernel by (product + EXACT) >> SHIFT; empty where it is the product itself, or a ball.
    radius : int
        Of a ball: 1 from this product on, 0 below. 2 EXACT where the kernel is none.
    nothing : int
        What a frame is served by no frame at all; no kernel value is less.
    """

    table: NDArray[np.int64]
    radius: int
    nothing: int

    def of(self, products: NDArray[np.generic]) -> NDArray[np.int64]:
        """The kernel of products, of any shape."""
        p = products.astype(np.int64)
        if len(self.table):
            return self.table[(p + EXACT) >> SHIFT]
        return (p >= self.radius).astype(np.int64) if self.radius < 2 * EXACT else p


def ball(radius: int) -> Kernel:
    """1 for products of at least `radius`, else 0: the kernel of ProbCover."""
    return Kernel(np.empty(0, np.int64), radius, 0)


def similarity_itself() -> Kernel:
    """The product: the kernel of k-medoids by cosine distance."""
    return Kernel(np.empty(0, np.int64), 2 * EXACT, -EXACT)


def gaussian(sigma: float) -> Kernel:
    """exp(-|x - y|^2 / sigma^2) of unit vectors, in units of 1 / ONE: the kernel of MaxHerding.

    Parameters
    ----------
    sigma : float
        Positive, in units of the vectors' length.

    Returns
    -------
    Kernel
        |x - y|^2 = 2 - 2 cos for unit vectors. Products are taken at steps of 512 (the lower end of each), and what
        exceeds 4000^2 counts as 4000^2.

    Raises
    ------
    ValueError
        For another sigma.

    Notes
    -----
    The table comes from whole numbers alone, downwards from exp(0) by a factor that `decimal` rounds correctly, so it is
    the same on every machine; `numpy.exp` is not.
    """
    if not (np.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be a positive number, not {sigma}")
    return Kernel(_gaussian_table(float(sigma)), 2 * EXACT, 0)


@cache
def _gaussian_table(sigma: float) -> NDArray[np.int64]:
    bits = 96
    with localcontext() as context:
        context.prec = 60
        step = Decimal(-2 * (1 << SHIFT)) / Decimal(SCALE**2) / (Decimal(sigma) * Decimal(sigma))
        factor = int((step.exp() * (1 << bits)).to_integral_value())
    table = np.full((2 * EXACT) >> SHIFT, ONE, np.int64)
    value = 1 << bits
    half = 1 << (bits - ONE.bit_length())
    for at in range((SCALE**2 + EXACT) >> SHIFT, -1, -1):
        table[at] = (value + half) >> (bits - ONE.bit_length() + 1)
        value = (value * factor) >> bits
    table.setflags(write=False)
    return table


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
