"""Clusters of frames, the same on every machine: k-means and nearest centres on whole numbers.

Lengths are rounded by integer square roots, sums are int64, products are exact, and chance is a hash: no result here hangs
on the order of a sum, a thread count or a library's version.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT, SCALE
from enrich_assets.method.ranking.covering import products_of

Progress = Callable[[int, int, dict[str, float]], None]
MAX_ROUNDS = 50  # of k-means
MAX_FRAMES = 700_000  # the squared length of a sum of so many vectors of length 4096 still fits an int64
_ROWS = 1024


def draw(total: int, *purpose: object) -> int:
    """A whole number in 0..total-1, by sha256 of the purpose: the same everywhere.

    Raises
    ------
    ValueError
        For a total below 1.
    """
    if total < 1:
        raise ValueError(f"nothing can be drawn of {total}")
    digest = hashlib.sha256(":".join(map(str, purpose)).encode()).digest()
    return int.from_bytes(digest, "big") % total  # 256 bits against at most 63: no bias that anyone could see


def nearest_centre(x: NDArray[np.float32], centres: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each frame the centre of the greatest product, the first on ties, and that product.

    Parameters
    ----------
    x : (n, d) float32
        Whole numbers: fixed-point vectors.
    centres : (k, d) integer
        The same.

    Returns
    -------
    nearest, product : (n,) int64
    """
    right = centres.astype(np.float32).T
    nearest, product = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
    for at in range(0, len(x), _ROWS):
        products = x[at : at + _ROWS] @ right
        best = products.argmax(axis=1)
        nearest[at : at + _ROWS] = best
        product[at : at + _ROWS] = products[np.arange(len(best)), best]
    return nearest, product


def direction(total: NDArray[np.int64]) -> NDArray[np.int64]:
    """A sum of vectors scaled to length 4000, each component rounded half up: (d,) int64. Zero for a sum of no direction."""
    length = math.isqrt(int((total * total).sum()))
    if length == 0:
        return np.zeros_like(total)
    return (2 * SCALE * total + length) // (2 * length)


def sums_by_cluster(q: NDArray[np.int16], cluster: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(k, d) int64: the sum of the vectors of each cluster."""
    order = np.argsort(cluster, kind="stable")
    sums = np.zeros((k, q.shape[1]), np.int64)
    present, first = np.unique(cluster[order], return_index=True)
    if len(present):
        sums[present] = np.add.reduceat(q[order].astype(np.int64), first, axis=0)
    return sums


def k_means(q: NDArray[np.int16], k: int, seed: int, *, progress: Progress | None = None) -> NDArray[np.int64]:
    """Spherical k-means on whole numbers.

    Parameters
    ----------
    q : (n, d) int16
        Fixed-point unit vectors.
    k : int
        Clusters, in 1..n.
    seed : int
    progress : callable, optional
        Called with (done, of, {}).

    Returns
    -------
    (n,) int64
        Cluster of each frame, in 0..k-1; a cluster may be empty.

    Raises
    ------
    ValueError
        For another k, or more frames than sums are exact for.

    Notes
    -----
    Start: k-means++ (Arthur and Vassilvitskii 2007), each next centre drawn with a chance in proportion to 4000^2 minus
    its greatest product with a centre, which is half the squared distance; where that is nothing for all, the first frames
    that are no centre. Then rounds: each frame goes to the centre of the greatest product (the first on ties), each centre
    becomes the direction of the sum of its frames (Dhillon and Modha 2001); a centre without frames stays. Until no
    frame moves, or for 50 rounds.
    """
    n = len(q)
    if not 1 <= k <= n:
        raise ValueError(f"k-means needs between 1 and {n} clusters, not {k}")
    if n > MAX_FRAMES:
        raise ValueError(f"k-means is exact up to {MAX_FRAMES:,} frames, not {n:,}")
    x = q.astype(np.float32)
    centres = q[_start(q, k, seed)].astype(np.int64)
    cluster = nearest_centre(x, centres)[0]
    for done in range(MAX_ROUNDS):
        sums = sums_by_cluster(q, cluster, k)
        for c in np.flatnonzero((sums != 0).any(axis=1)):
            centres[c] = direction(sums[c])
        moved = nearest_centre(x, centres)[0]
        if progress:
            progress(done + 1, MAX_ROUNDS, {})
        if (moved == cluster).all():
            break
        cluster = moved
    return cluster


def _start(q: NDArray[np.int16], k: int, seed: int) -> list[int]:
    """k different frames to start from."""
    products, free = products_of(q), np.ones(len(q), bool)
    room = np.full(len(q), SCALE**2 + EXACT)  # more than any
    picks: list[int] = []
    for at in range(k):
        heights = np.cumsum(room)
        if not picks:
            pick = draw(len(q), "k-means", seed, k, at)
        elif heights[-1]:
            pick = int(np.searchsorted(heights, draw(int(heights[-1]), "k-means", seed, k, at), side="right"))
        else:
            pick = int(free.argmax())
        picks.append(pick)
        free[pick] = False
        similar = products.greatest(np.array([pick])).astype(np.int64)
        np.minimum(room, np.maximum(SCALE**2 - similar, 0), out=room)
        room[pick] = 0
    return picks
