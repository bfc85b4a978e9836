"""Does an embedding tell frames apart? Cosines between patients, and of what the nearest frame is, against chance.

`measure_separation` looks at vectors, `judge_separation` at what was measured. Of any embedding; what only a VAE has (units,
reconstruction) is in `health`. All products are exact integers, so the measures are the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import checked, to_cosine

MAX_FRAMES = 4096  # compared with one another, evenly spaced
SPREAD_FRAMES = 512  # of these the cosines to all others are looked at
COLLAPSED = 0.99  # a collapsed VAE on the lung clips: every cosine above it
CROWDED = 0.9  # above it the thresholds of redundancy (0.5, 0.7, 0.9) tell little
WORSE_THAN_CHANCE = 1e-3  # level of the one-sided binomial test; frames of a clip are not independent, so a strict one
_ROWS = 512

CLIP, PATIENT, PATIENT_OUTSIDE = "same clip", "same patient", "same patient, another clip"
LABEL_OUTSIDE = "same label, another clip"


@dataclass(frozen=True)
class Retrieval:
    """How often a frame's most similar other frame is of its own group.

    Attributes
    ----------
    rank1 : float or None
        Share of the frames asked; None where none could be.
    chance : float or None
        The same of a neighbour drawn at random: the mean, over the frames asked, of the share of the right ones.
    n : int
        Frames asked: those that have another frame of their group among the candidates.
    """

    rank1: float | None
    chance: float | None
    n: int


@dataclass(frozen=True)
class Separation:
    """What was measured on vectors.

    Attributes
    ----------
    n_frames : int
        Frames compared.
    cosines : (float, float, float) or None
        5th, 50th and 95th percentile of the cosines between frames of different patients; None for one patient.
    retrieval : mapping of str to Retrieval
        By `CLIP`, `PATIENT`, `PATIENT_OUTSIDE`, and `LABEL_OUTSIDE` where labels were given.
    """

    n_frames: int
    cosines: tuple[float, float, float] | None
    retrieval: Mapping[str, Retrieval] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What the measures come to.

    Attributes
    ----------
    collapse : tuple of str
        Why nothing may be made of these vectors; empty where they may be used.
    warnings : tuple of str
        What a reader should know.
    """

    collapse: tuple[str, ...]
    warnings: tuple[str, ...]


def spaced(n: int, most: int) -> NDArray[np.int64]:
    """At most so many of n positions, evenly spaced, ascending."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(np.int64)


def measure_separation(
    embeddings: NDArray[np.int16],
    clips: NDArray[Any],
    patients: NDArray[Any],
    *,
    n_earlier: int = 0,
    labels: NDArray[Any] | None = None,
) -> Separation:
    """Measure how vectors tell clips, patients and labels apart.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors.
    clips, patients : (n,) ids of any type
        Of each frame.
    n_earlier : int
        So many frames at the start are only compared with, not asked. Of more than 4096 frames, so many evenly spaced
        ones are taken, half of them at least of those asked.
    labels : (n,) of any type, optional
        Of each frame; None or NaN where it has none.

    Returns
    -------
    Separation

    Raises
    ------
    ValueError
        For vectors that are not in fixed point, or ids that do not fit them.
    """
    q = checked(embeddings)
    clips, patients = np.asarray(clips), np.asarray(patients)
    for name, ids in (("clips", clips), ("patients", patients), ("labels", labels)):
        if ids is not None and len(ids) != len(q):
            raise ValueError(f"{len(q)} vectors but {len(ids)} {name}")
    earlier = spaced(n_earlier, max(MAX_FRAMES // 2, MAX_FRAMES - (len(q) - n_earlier)))
    asked = n_earlier + spaced(len(q) - n_earlier, MAX_FRAMES - len(earlier))
    rows = np.concatenate([earlier, asked])
    x = q[rows].astype(np.float32)
    clip, patient = _codes(clips[rows]), _codes(patients[rows])
    label = None if labels is None else _codes(np.asarray(labels, dtype=object)[rows])
    first = len(earlier)
    groups = {CLIP: (clip, None), PATIENT: (patient, None), PATIENT_OUTSIDE: (patient, clip)}
    if label is not None:
        groups[LABEL_OUTSIDE] = (label, clip)
    retrieval = {name: _retrieval(x, first, group, outside) for name, (group, outside) in groups.items()}
    return Separation(len(rows), _cosines(x, first, patient), retrieval)


def _codes(ids: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers for ids; -1 where there is none."""
    import pandas as pd

    return pd.factorize(ids)[0].astype(np.int64)


def _retrieval(
    x: NDArray[np.float32], first: int, group: NDArray[np.int64], outside: NDArray[np.int64] | None
) -> Retrieval:
    """Over the frames from `first` on. Candidates: all other frames that have a group, not of the own `outside`."""
    hits, asked, chance = 0, 0, 0.0
    known = group >= 0
    for at in range(first, len(x), _ROWS):
        rows = np.arange(at, min(at + _ROWS, len(x)))
        candidates = np.repeat(known[None], len(rows), axis=0)
        candidates[np.arange(len(rows)), rows] = False
        if outside is not None:
            candidates &= outside[rows][:, None] != outside[None]
        right = candidates & (group[rows][:, None] == group[None])
        can = right.any(axis=1) & known[rows]
        if not can.any():
            continue
        products = np.where(candidates, x[rows] @ x.T, -np.inf)  # exact; the first of equals is taken
        nearest = products.argmax(axis=1)
        hits += int((right[np.arange(len(rows)), nearest] & can).sum())
        asked += int(can.sum())
        chance += float((right.sum(axis=1)[can] / candidates.sum(axis=1)[can]).sum())
    return Retrieval(hits / asked, chance / asked, asked) if asked else Retrieval(None, None, 0)


def _cosines(x: NDArray[np.float32], first: int, patient: NDArray[np.int64]) -> tuple[float, float, float] | None:
    rows = first + spaced(len(x) - first, SPREAD_FRAMES)
    products = (x[rows] @ x.T)[patient[rows][:, None] != patient[None]]
    if not len(products):
        return None
    low, middle, high = to_cosine(np.quantile(products.astype(np.float64), (0.05, 0.5, 0.95)))
    return float(low), float(middle), float(high)


def judge_separation(measures: Separation, *, min_retrieval_ratio: float = 3.0) -> Verdict:
    """Hold the measures against what shows a collapse, and what a reader should know.

    Parameters
    ----------
    measures : Separation
    min_retrieval_ratio : float
        Below so many times chance, retrieval of the same clip warns (of few clips: below half the way from chance to 1).

    Returns
    -------
    Verdict

    Notes
    -----
    Two things block. Nearly all cosines between patients above 0.99: everything lies in one place. The nearest frame less
    often of the same patient than by chance (one-sided binomial test, level 0.001): vectors and frames do not belong
    together. That the same *clip* is not found says nothing by itself: in a stack of different slices the nearest slice is
    of another clip of the same patient.
    """
    collapse, warnings = [], []
    if measures.cosines is not None:
        low = measures.cosines[0]
        if low >= COLLAPSED:
            collapse.append(
                f"95 % of the cosines between frames of different patients are {low:.4f} or more: everything lies in one place"
            )
        elif low >= CROWDED:
            warnings.append(
                f"95 % of the cosines between frames of different patients are {low:.3f} or more: thresholds of similarity say little"
            )
    patient, clip = measures.retrieval[PATIENT], measures.retrieval[CLIP]
    if patient.rank1 is not None and patient.chance is not None and patient.rank1 <= patient.chance < 1:
        sentence = f"the nearest frame is of the same patient in {patient.rank1:.1%} of cases, by chance in {patient.chance:.1%}"
        worse = _at_most(round(patient.rank1 * patient.n), patient.n, patient.chance) < WORSE_THAN_CHANCE
        (collapse if worse else warnings).append(
            sentence + (": worse than chance" if worse else ": no better than chance")
        )
    if clip.rank1 is not None and clip.chance is not None and clip.rank1 < _asked_for(clip.chance, min_retrieval_ratio):
        warnings.append(
            f"the nearest frame is of the same clip in {clip.rank1:.1%} of cases only (chance {clip.chance:.1%}): its frames "
            "are different pictures, or the embedding does not see that they are alike"
        )
    return Verdict(tuple(collapse), tuple(warnings))


def _asked_for(chance: float, ratio: float) -> float:
    """So many times chance. Where chance is high (few clips), that is beyond 1: then half the way from chance to 1."""
    return min(ratio * chance, (1 + chance) / 2) if chance < 1 else 0.0


def _at_most(hits: int, n: int, chance: float) -> float:
    """Probability of so few hits or fewer among n, each with this chance."""
    if chance <= 0:
        return 1.0
    logs = [
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(chance)
        + (n - k) * math.log1p(-chance)
        for k in range(hits + 1)
    ]
    return math.fsum(math.exp(log) for log in logs)
