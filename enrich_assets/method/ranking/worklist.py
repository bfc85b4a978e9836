"""Which unlabelled frames to label next: k-center-greedy with all labels so far as chosen, under quotas, class-aware on demand.

Without quotas and classes it is the greedy k-centre of `greedy`. With them each pick is compared with every frame by a plain
product, which serves some thousand picks. The ranking of a whole pool stands in `greedy` and `rules`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.ranking.greedy import rank_by_max_similarity

BLOCK = 4096
_TAKEN = np.iinfo(np.int64).max


def greatest_similarity(
    frames: NDArray[np.int16], chosen: NDArray[np.int16]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each frame the nearest of the chosen ones, and how similar it is.

    Parameters
    ----------
    frames : (n, d) int16
    chosen : (m, d) int16
        Fixed-point unit vectors (`fixed_point.to_fixed_point`).

    Returns
    -------
    nearest : (n,) int64
        Indices into `chosen`, the lower one on ties; -1 where nothing is chosen.
    greatest : (n,) int64
        Exact products (divide by 4000^2 for the cosine); the least an int64 holds where nothing is chosen.
    """
    nearest = np.full(len(frames), -1, np.int64)
    greatest = np.full(len(frames), np.iinfo(np.int64).min, np.int64)
    b = chosen.astype(np.float32)
    for at in range(0, len(frames), BLOCK):
        a = frames[at : at + BLOCK].astype(np.float32)
        for offset in range(0, len(b), BLOCK):
            # Exact: every partial sum is an integer below 2^24 (`fixed_point`).
            products = (a @ b[offset : offset + BLOCK].T).astype(np.int64)
            best = products.argmax(axis=1)
            value = products[np.arange(len(a)), best]
            better = value > greatest[at : at + BLOCK]
            greatest[at : at + BLOCK][better] = value[better]
            nearest[at : at + BLOCK][better] = best[better] + offset
    return nearest, greatest


def rank_with_quotas(
    embeddings: NDArray[np.int16],
    *,
    labelled: NDArray[np.int64],
    n: int,
    quotas: Sequence[tuple[NDArray[np.int64], int | None]] = (),
    classes: NDArray[np.object_] | None = None,
) -> NDArray[np.int64]:
    """The next frames to label, in order.

    Parameters
    ----------
    embeddings : (f, d) int16
        Fixed-point unit vectors of labelled and unlabelled frames.
    labelled : (m,) int64
        Indices of those with a label.
    n : int
        At most so many frames.
    quotas : sequence of ((f,) int64, int or None)
        Codes of the frames (of their patients, clips, sites), and how many frames of one code at most; None: no limit.
    classes : (f,) object, optional
        The class of the labelled frames, None elsewhere. With it each pick serves the class that has the fewest labels and
        picks so far, a frame counting for the class of its nearest labelled frame.

    Returns
    -------
    (at most n,) int64
        Each pick is the admissible frame whose greatest similarity to all labelled and picked ones is least, the lower
        index on ties. With nothing labelled the first pick is the frame of least similarity to the mean of all.
    """
    if not len(embeddings):
        return np.empty(0, np.int64)
    limits = [_Quota(codes, most) for codes, most in quotas if most is not None]
    if not limits and classes is None:
        return _without_limits(embeddings, labelled, n)
    free = np.ones(len(embeddings), bool)
    free[labelled] = False
    by_class: _Classes | None = None
    if len(labelled):
        nearest, greatest = greatest_similarity(embeddings, embeddings[labelled])
        if classes is not None:
            by_class = _Classes(classes[labelled], nearest)
    else:
        greatest = _similarity_to_the_mean(embeddings)
    vectors = embeddings.astype(np.float32)
    order: list[int] = []
    while len(order) < n:
        admissible = free if by_class is None else by_class.most_wanted(free)
        if not admissible.any():
            break
        pick = int(np.where(admissible, greatest, _TAKEN).argmin())
        nothing_chosen = not len(labelled) and not order
        order.append(pick)
        free[pick] = False
        if by_class is not None:
            by_class.count(pick)
        for quota in limits:
            quota.use(pick, free)
        similarity = (vectors @ vectors[pick]).astype(np.int64)
        greatest = similarity if nothing_chosen else np.maximum(greatest, similarity)
    return np.asarray(order, np.int64)


def _without_limits(embeddings: NDArray[np.int16], labelled: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    if n < 1:
        return np.empty(0, np.int64)
    start = labelled if len(labelled) else np.array([_similarity_to_the_mean(embeddings).argmin()])
    picked = rank_by_max_similarity(embeddings, start, min(len(labelled) + n, len(embeddings)))
    return picked[len(labelled) :]


def _similarity_to_the_mean(embeddings: NDArray[np.int16]) -> NDArray[np.int64]:
    centre = np.round(embeddings.mean(axis=0, dtype=np.float64)).astype(np.int64)
    blocks = (embeddings[at : at + BLOCK].astype(np.int64) for at in range(0, len(embeddings), BLOCK))
    return np.concatenate([block @ centre for block in blocks])


class _Quota:
    """At most so many frames of one code."""

    def __init__(self, codes: NDArray[np.int64], most: int) -> None:
        self.codes, self.most = codes, most
        self.used: dict[int, int] = {}

    def use(self, frame: int, free: NDArray[np.bool_]) -> None:
        """Count a pick; once its quota is used up, no frame of its code is free."""
        code = int(self.codes[frame])
        self.used[code] = self.used.get(code, 0) + 1
        if self.used[code] >= self.most:
            free &= self.codes != code


class _Classes:
    """Labels and picks by class, a frame counting for the class of its nearest labelled frame."""

    def __init__(self, known: NDArray[np.object_], nearest: NDArray[np.int64]) -> None:
        self.guessed = known[nearest]
        self.counts = {c: int((known == c).sum()) for c in sorted(set(known), key=str)}

    def most_wanted(self, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The free frames of the class with the fewest labels and picks that has any; ties by the class's name."""
        for wanted in sorted(self.counts, key=lambda c: (self.counts[c], str(c))):
            of_class = free & (self.guessed == wanted)
            if of_class.any():
                return of_class
        return np.zeros_like(free)

    def count(self, frame: int) -> None:
        self.counts[self.guessed[frame]] += 1
