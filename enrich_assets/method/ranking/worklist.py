"""Which unlabelled frames to label next: the max rule with all labels so far as chosen, under quotas, class-aware on demand.

The plain ranking of a whole pool stands in `ranking`; a worklist is short, so plain products serve here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096


def greatest_similarity(
    frames: NDArray[np.int16], chosen: NDArray[np.int16]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each frame the nearest of the chosen ones (lower index on ties) and the exact fixed-point similarity.

    frames: (n, d) int16; chosen: (m, d) int16. Returns (n,) indices into `chosen` and (n,) int64 products (divide by
    4000^2 for the cosine); with nothing chosen: indices -1, similarity the least an int64 holds.
    """
    nearest = np.full(len(frames), -1, np.int64)
    greatest = np.full(len(frames), np.iinfo(np.int64).min, np.int64)
    b = chosen.astype(np.float32)
    for at in range(0, len(frames), BLOCK):
        a = frames[at : at + BLOCK].astype(np.float32)
        for offset in range(0, len(b), BLOCK):
            # Exact: every partial sum is an integer below 2^24 (DESIGN section 6).
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
    patients: NDArray[np.int64],
    clips: NDArray[np.int64],
    per_patient: int | None = None,
    per_clip: int | None = None,
    classes: NDArray[np.object_] | None = None,
) -> NDArray[np.int64]:
    """The next frames to label, at most `n` of them, in order.

    embeddings: (f, d) int16 fixed point of labelled and unlabelled frames.   labelled: indices of those with a label.
    patients, clips: (f,) codes.   per_patient, per_clip: at most so many of this list; None: no limit.
    classes: (f,) class of the labelled frames, None elsewhere: then each pick serves the class that has the fewest labels
    and picks so far, a frame counting for the class of its nearest labelled frame.

    Each pick is the admissible frame whose greatest similarity to all labelled and picked ones is least, lower index on
    ties. With nothing labelled the first pick is the frame of least similarity to the mean of all: the oddest one.
    """
    if not len(embeddings):
        return np.empty(0, np.int64)
    free = np.ones(len(embeddings), bool)
    free[labelled] = False
    vectors = embeddings.astype(np.float32)
    guessed: NDArray[np.object_] | None = None
    counts: dict[object, int] = {}
    if len(labelled):
        nearest, greatest = greatest_similarity(embeddings, embeddings[labelled])
        if classes is not None:
            known = classes[labelled]
            guessed = known[nearest]
            counts = {c: int((known == c).sum()) for c in sorted(set(known), key=str)}
    else:
        centre = np.round(embeddings.mean(axis=0, dtype=np.float64)).astype(np.int64)
        greatest = embeddings.astype(np.int64) @ centre
    first_is_oddest = not len(labelled)
    used_patient: dict[int, int] = {}
    used_clip: dict[int, int] = {}
    order: list[int] = []
    for _ in range(n):
        admissible = free
        if guessed is not None:
            for wanted in sorted(counts, key=lambda c: (counts[c], str(c))):
                admissible = free & (guessed == wanted)
                if admissible.any():
                    break
        if not admissible.any():
            break
        pick = int(np.where(admissible, greatest, np.iinfo(np.int64).max).argmin())
        order.append(pick)
        free[pick] = False
        if guessed is not None:
            counts[guessed[pick]] += 1
        for used, codes, most in ((used_patient, patients, per_patient), (used_clip, clips, per_clip)):
            code = int(codes[pick])
            used[code] = used.get(code, 0) + 1
            if most is not None and used[code] >= most:
                free &= codes != code
        similarity = (vectors @ vectors[pick]).astype(np.int64)
        greatest = similarity if first_is_oddest else np.maximum(greatest, similarity)
        first_is_oddest = False
    return np.asarray(order, np.int64)
