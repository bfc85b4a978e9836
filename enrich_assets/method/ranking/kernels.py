"""Kernels of `covering`: how much a chosen frame serves another, as whole numbers that are the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT, SCALE

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
