"""How a score depends on each test patient: the score with that patient left out, and with patients drawn several times.

Here: AUC (several frames per patient, Obuchowski 1997, doi 10.2307/2533958) and means over frames such as the Jaccard
index; by leaving out, any metric. What follows for the difference between two arms: `two_sources`. The interval of one
evaluation by itself: `intervals`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.statistics.intervals import patient_wins

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LeftOut:
    """The score of one training with each test patient left out.

    Attributes
    ----------
    patients : (p,) array
        Their ids, sorted. Trainings are compared only where these agree.
    values : (p,) float64
        The score without that patient's frames; NaN where it is undefined without them (the only patient of a class).
    cases : float
        How many independent patients the score stands on; see `effective_patients`.
    """

    patients: NDArray[np.generic]
    values: Floats
    cases: float


def effective_patients(frames: ArrayLike) -> float:
    """How many patients of equal weight a mean over frames amounts to.

    Parameters
    ----------
    frames : (p,) int
        Frames of each patient.

    Returns
    -------
    float
        (sum m^2)^2 / sum m^4: of equal patients their number, and near 1 where one patient has most of the frames.
        Less 1 it is Satterthwaite's degrees of freedom (1946, doi 10.2307/3002019) of a variance to which patient i
        contributes in proportion to m_i^2. 0 of no frame.
    """
    squares = np.asarray(frames, dtype=float) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.sum() else 0.0


def auc_left_out(truth: ArrayLike, scores: ArrayLike, patients: ArrayLike) -> LeftOut:
    """An AUC with each patient left out.

    Parameters
    ----------
    truth : (n,) or (n, k) of 0 and 1
        With columns the score is the mean of the one-against-rest AUCs.
    scores : float, of the same shape
    patients : (n,) ids of any type

    Returns
    -------
    LeftOut
        `cases` is of the class that the fewest patients tell from the rest: an AUC of 40 ill patients and 3 healthy ones
        stands on a little more than 3, one of 20 who have frames of either class on 20.

    Raises
    ------
    ValueError
        When shapes differ.

    Notes
    -----
    Counted in half pairs, so each value is the correctly rounded quotient, the same as of the remaining frames alone.
    O(n log n): the pairs of a patient's positives with all negatives, of its negatives with all positives, and those
    within the patient, which the two have in common.
    """
    y, s, owners = np.asarray(truth).astype(bool), np.asarray(scores, dtype=float), np.asarray(patients)
    if y.shape != s.shape or len(y) != len(owners):
        raise ValueError(f"truth {y.shape}, scores {s.shape} and patients {owners.shape} must agree")
    y, s = y.reshape(len(y), -1), s.reshape(len(s), -1)
    ids, of_frame = np.unique(owners, return_inverse=True)
    n_classes, p = y.shape[1], len(ids)
    values = np.array([_aucs_without(y[:, k], s[:, k], of_frame, p) for k in range(n_classes)])
    cases = min((_cases(of_frame[y[:, k]], of_frame[~y[:, k]], p) for k in range(n_classes)), default=0.0)
    return LeftOut(ids, np.mean(values, axis=0), cases)


def mean_left_out(per_frame: ArrayLike, patients: ArrayLike) -> LeftOut:
    """A mean over frames with each patient left out.

    Parameters
    ----------
    per_frame : (n,) float
        NaN where a frame has nothing to score (left out, as in the mean itself).
    patients : (n,) ids of any type

    Returns
    -------
    LeftOut
        A patient without any scored frame is among `patients`; leaving it out changes nothing.

    Raises
    ------
    ValueError
        When shapes differ.
    """
    values, owners = np.asarray(per_frame, dtype=float), np.asarray(patients)
    if values.shape != owners.shape:
        raise ValueError(f"values {values.shape} and patients {owners.shape} must agree")
    ids, of_frame = np.unique(owners, return_inverse=True)
    scored = ~np.isnan(values)
    sums = np.bincount(of_frame[scored], values[scored], minlength=len(ids))
    counts = np.bincount(of_frame[scored], minlength=len(ids)).astype(float)
    with np.errstate(invalid="ignore"):
        without = (sums.sum() - sums) / (counts.sum() - counts)
    return LeftOut(ids, without, effective_patients(counts))


def any_left_out(value_without: Callable[[NDArray[np.bool_]], float], patients: ArrayLike) -> LeftOut:
    """Any score with each patient left out, computed again for each: slow, and the definition of the fast ones.

    Parameters
    ----------
    value_without : callable
        (n,) bool, which frames stay -> the score; a ValueError means it is undefined.
    patients : (n,) ids of any type
    """
    owners = np.asarray(patients)
    ids, of_frame = np.unique(owners, return_inverse=True)
    values = np.full(len(ids), np.nan)
    for i in range(len(ids)):
        try:
            values[i] = value_without(of_frame != i) if (of_frame != i).any() else np.nan
        except ValueError:
            continue
    return LeftOut(ids, values, effective_patients(np.bincount(of_frame, minlength=len(ids))))


def auc_drawn(truth: ArrayLike, scores: ArrayLike, patients: ArrayLike, weights: Floats) -> Floats:
    """An AUC of draws of patients.

    Parameters
    ----------
    truth : (n,) of 0 and 1
    scores : (n,) float
    patients : (n,) ids of any type
    weights : (draws, p) float64
        How often each patient is in each draw, in the order of the sorted ids.

    Returns
    -------
    (draws,) float64
        Not finite where a draw lacks a class.
    """
    _, of_frame = np.unique(np.asarray(patients), return_inverse=True)
    counted = patient_wins(np.asarray(truth).astype(bool), np.asarray(scores, float), of_frame, weights.shape[1])
    return counted.aucs(weights)


def mean_drawn(per_frame: ArrayLike, patients: ArrayLike, weights: Floats) -> Floats:
    """A mean over frames of draws of patients, (draws,); arguments as of `auc_drawn` and `mean_left_out`."""
    values = np.asarray(per_frame, dtype=float)
    _, of_frame = np.unique(np.asarray(patients), return_inverse=True)
    scored, p = ~np.isnan(values), weights.shape[1]
    sums = np.bincount(of_frame[scored], values[scored], minlength=p)
    counts = np.bincount(of_frame[scored], minlength=p)
    with np.errstate(invalid="ignore"):
        return (weights @ sums) / (weights @ counts)


def _cases(of_positive: NDArray[np.int64], of_negative: NDArray[np.int64], p: int) -> float:
    """Patients that an AUC stands on: the degrees of freedom of its variance, and 1.

    The variance has a part of the positives' patients and one of the negatives' (Obuchowski 1997), as 1 / n_1 and 1 / n_0
    of equally hard ones; Satterthwaite's degrees of freedom of their sum. Never more than there are patients.
    """
    frames = [np.bincount(side, minlength=p) for side in (of_positive, of_negative)]
    counts = np.array([effective_patients(of_side) for of_side in frames])
    if counts.min() < 2:
        return float(counts.min())
    freedom = (1 / counts).sum() ** 2 / (1 / (counts**2 * (counts - 1))).sum()
    return float(min(freedom + 1, effective_patients(frames[0] + frames[1])))


def _aucs_without(y: NDArray[np.bool_], s: Floats, of_frame: NDArray[np.int64], p: int) -> Floats:
    positive, negative = np.sort(s[y]), np.sort(s[~y])
    of_positive, of_negative = of_frame[y], of_frame[~y]
    n_positive, n_negative = np.bincount(of_positive, minlength=p), np.bincount(of_negative, minlength=p)
    won_by = _twice_below(negative, s[y])  # half pairs that each positive wins
    won_from = 2 * len(positive) - _twice_below(positive, s[~y])  # half pairs that each negative loses
    gone = _sums(of_positive, won_by, p) + _sums(of_negative, won_from, p) - _within(y, s, of_frame, p)
    left = (len(positive) - n_positive) * (len(negative) - n_negative)  # pairs that stay
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > 0, (won_by.sum() - gone) / (2.0 * left), np.nan)


def _twice_below(ordered: Floats, values: Floats) -> NDArray[np.int64]:
    """Twice the number of ordered values below each value, equal ones counted half."""
    return np.searchsorted(ordered, values) + np.searchsorted(ordered, values, "right")


def _sums(of_frame: NDArray[np.int64], counts: NDArray[np.int64], p: int) -> NDArray[np.int64]:
    total = np.zeros(p, dtype=np.int64)
    np.add.at(total, of_frame, counts)
    return total


def _within(y: NDArray[np.bool_], s: Floats, of_frame: NDArray[np.int64], p: int) -> NDArray[np.int64]:
    """Half pairs won within each patient, (p,)."""
    won = np.zeros(p, dtype=np.int64)
    by_patient = np.argsort(of_frame, kind="stable")
    ends = np.cumsum(np.bincount(of_frame, minlength=p))
    for i, frames in enumerate(np.split(by_patient, ends[:-1])):
        of_patient = y[frames]
        if of_patient.any() and not of_patient.all():
            won[i] = _twice_below(np.sort(s[frames][~of_patient]), s[frames][of_patient]).sum()
    return won
