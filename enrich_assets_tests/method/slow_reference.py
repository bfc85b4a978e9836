"""Slow int64 definitions that the fast algorithms are compared with, for equality, and data that is hard on them."""

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.pairs.panel import BIN_EDGES

KINDS = ("gauss", "clips", "ties", "duplicates", "one picture")


def pool(kind: str, n: int, d: int, seed: int) -> NDArray[np.int16]:
    """(n, d) fixed-point vectors: structureless, in clips, on few distinct values, each twice, or all the same."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    if kind == "clips":
        x = 3 * rng.standard_normal(d) + rng.standard_normal((n // 7 + 1, d))[np.arange(n) // 7] + 0.1 * x
    if kind == "ties":
        x = np.round(x) + 1e-6
    if kind == "duplicates":
        x[n // 2 :] = x[: n - n // 2]
    if kind == "one picture":
        x = np.broadcast_to(x[:1], x.shape)
    return to_fixed_point(x)


def products(q: NDArray[np.int16]) -> NDArray[np.int64]:
    return q.astype(np.int64) @ q.astype(np.int64).T


def histogram(q: NDArray[np.int16], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    cosines = np.clip(products(q)[np.triu_indices(len(q), 1)] / 4000**2, -1, 1)
    return np.histogram(cosines, bins=edges)[0]


def by_relation(q: NDArray[np.int16], clips: NDArray, patients: NDArray, n_earlier: int) -> NDArray[np.int64]:
    found = np.zeros((3, len(BIN_EDGES) - 1), np.int64)
    s = np.clip(products(q) / 4000**2, -1, 1)
    for j in range(n_earlier, len(q)):
        for i in range(j):
            relation = 0 if clips[i] == clips[j] else 1 if patients[i] == patients[j] else 2
            found[relation] += np.histogram(s[i, j], bins=BIN_EDGES)[0]
    return found


def by_sides(
    q: NDArray[np.int16], clips: NDArray, patients: NDArray, sides: NDArray, n_earlier: int
) -> NDArray[np.int64]:
    """By how many of the two frames are test frames, relation, and bin."""
    found = np.zeros((3, 3, len(BIN_EDGES) - 1), np.int64)
    s = np.clip(products(q) / 4000**2, -1, 1)
    for j in range(n_earlier, len(q)):
        for i in range(j):
            relation = 0 if clips[i] == clips[j] else 1 if patients[i] == patients[j] else 2
            found[[sides[i], sides[j]].count(1), relation] += np.histogram(s[i, j], bins=BIN_EDGES)[0]
    return found


def neighbours(
    q: NDArray[np.int16], k: int, n_earlier: int, clips: NDArray | None = None
) -> list[list[tuple[int, int]]]:
    """Of each frame the k best (neighbour, product) among the panel's pairs; with `clips`, outside its own."""
    s = products(q)
    found = []
    for i in range(len(q)):
        others = [
            j for j in range(len(q))
            if j != i and max(i, j) >= n_earlier and (clips is None or clips[i] != clips[j])
        ]  # fmt: skip
        found.append([(j, int(s[i, j])) for j in sorted(others, key=lambda j: (-s[i, j], j))[:k]])
    return found


def near_duplicates(q: NDArray[np.int16], near: int, n_earlier: int) -> list[tuple[int, int, int]]:
    s = products(q)
    pairs = [(i, j, int(s[i, j])) for j in range(n_earlier, len(q)) for i in range(j) if s[i, j] >= near]
    return sorted(pairs, key=lambda p: (-p[2], p[0], p[1]))


def k_centre(similarity: NDArray, start: NDArray, budget: int) -> tuple[list[int], list[int]]:
    """Greedy k-centre as it is defined: the order, and each pick's greatest similarity to those before it."""
    order, values = [int(i) for i in start], []
    while len(order) < budget:
        left = [i for i in range(len(similarity)) if i not in set(order)]
        value = {i: max((similarity[i, c] for c in order), default=0) for i in left}
        pick = min(left, key=lambda i: (value[i], i))
        order.append(pick)
        values.append(value[pick])
    return order, values
