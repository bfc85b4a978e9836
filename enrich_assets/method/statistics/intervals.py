"""How sure is the value of one evaluation, over the patients of its test split?

Here: intervals of an AUC (DeLong over frames; bootstrap over whole patients) and of a mean Jaccard. Frames of one
patient resemble each other, so an interval that counts them as independent is too narrow: the one over patients is the
one to report, DeLong's stands beside it for comparison. Not here: spread over seeds (`comparison`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats


@dataclass(frozen=True)
class Interval:
    """A value and its interval.

    Attributes
    ----------
    value, low, high : float
        Bounds are NaN where no interval can be had.
    level : float
        In (0, 1).
    method : str
        How the bounds were found.
    n_patients : int
        0 where patients play no part.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    n_patients: int


def auc(truth: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: share of (positive, negative) pairs ranked rightly, ties half; NaN of one class only.

    Parameters
    ----------
    truth : (n,) of 0 and 1
    scores : (n,) float

    Notes
    -----
    Sums of halves, so the value is the correctly rounded quotient.
    """
    y, s = _checked(truth, scores)
    counted = patient_wins(y, s, np.zeros(len(y), dtype=np.int64), 1)
    return float(counted.auc()) if counted.positives.sum() and counted.negatives.sum() else math.nan


def delong_interval(truth: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> Interval:
    """DeLong's interval of an AUC, frames taken as independent, within [0, 1].

    Parameters
    ----------
    truth : (n,) of 0 and 1
    scores : (n,) float
    level : float

    Returns
    -------
    Interval
        Fewer than 2 frames of either class: bounds NaN.

    References
    ----------
    DeLong et al. 1988, doi 10.2307/2531595.
    """
    y, s = _checked(truth, scores)
    positive, negative = np.sort(s[y]), np.sort(s[~y])
    value = auc(y, s)
    if min(len(positive), len(negative)) < 2:
        return Interval(value, math.nan, math.nan, level, "DeLong", 0)
    # Structural components: for each positive the share of negatives below it, for each negative that of
    # positives above.
    of_positive = (np.searchsorted(negative, positive) + np.searchsorted(negative, positive, "right")) / 2
    of_negative = (np.searchsorted(positive, negative) + np.searchsorted(positive, negative, "right")) / 2
    variance = (of_positive / len(negative)).var(ddof=1) / len(positive)
    variance += (of_negative / len(positive)).var(ddof=1) / len(negative)
    reach = stats.norm.ppf((1 + level) / 2) * math.sqrt(variance)
    low, high = max(0.0, value - float(reach)), min(1.0, value + float(reach))
    return Interval(value, low, high, level, "DeLong", 0)


def auc_interval(
    truth: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    *,
    level: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
) -> Interval:
    """Interval of an AUC by drawing whole patients with replacement (cluster bootstrap, percentiles).

    Parameters
    ----------
    truth : (n,) of 0 and 1, or (n, k) one column a class
        With columns the value is the mean of the one-against-rest AUCs, and the same patients are drawn for all.
    scores : float, of the same shape
    patients : (n,) ids of any type
    level : float
    n_boot, seed : int
        Draws, and their seed.

    Returns
    -------
    Interval
        Fewer than 2 patients, or a class with none: bounds NaN.

    Raises
    ------
    ValueError
        When shapes differ, truth is not 0 and 1, or a score is not finite.

    Notes
    -----
    How it is fast: W[p, q] holds how many (positive of patient p, negative of patient q) pairs are ranked
    rightly, counted once; a draw with w[p] copies of each patient then has AUC = w' W w / (w' positives *
    w' negatives), exactly. Draws that lack a class are left out.

    A perfect (or perfectly wrong) AUC has the same value in every draw, which is not certainty: then the
    interval is Newcombe's score-like one (2006, doi 10.1002/sim.2324, method 5) with patients, not frames,
    as the numbers of cases.
    """
    y, s, owners = np.asarray(truth), np.asarray(scores, dtype=float), np.asarray(patients)
    if y.ndim == 1:
        y, s = y[:, None], s[:, None]
    if y.shape != s.shape or len(y) != len(owners):
        raise ValueError(f"truth {y.shape}, scores {s.shape} and patients {owners.shape} must agree")
    _, of_frame = np.unique(owners, return_inverse=True)
    n_patients = int(of_frame.max()) + 1 if len(of_frame) else 0
    classes = [patient_wins(*_checked(y[:, k], s[:, k]), of_frame, n_patients) for k in range(y.shape[1])]
    value = math.nan
    if n_patients and all(of_class.positives.sum() and of_class.negatives.sum() for of_class in classes):
        value = float(np.mean([of_class.auc() for of_class in classes]))
    if n_patients < 2 or math.isnan(value):
        return Interval(value, math.nan, math.nan, level, "bootstrap over patients", n_patients)
    weights = _draws(n_patients, n_boot, seed)
    drawn = np.mean([of_class.aucs(weights) for of_class in classes], axis=0)
    drawn = drawn[np.isfinite(drawn)]
    if value in (0.0, 1.0) or len(drawn) < n_boot // 10:
        low, high = _newcombe(value, min(of_class.fewest_patients() for of_class in classes), level)
        return Interval(value, low, high, level, "Newcombe over patients", n_patients)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level, "bootstrap over patients", n_patients)


def jaccard_interval(
    per_frame: ArrayLike, patients: ArrayLike, *, level: float = 0.95, n_boot: int = 1000, seed: int = 0
) -> Interval:
    """Interval of the mean over frames of a per-frame value (Jaccard), by drawing whole patients with replacement.

    Parameters
    ----------
    per_frame : (n,) float
        NaN where a frame has no structure to score (left out).
    patients : (n,) ids of any type
    level : float
    n_boot, seed : int
        Draws, and their seed.

    Returns
    -------
    Interval
        Fewer than 2 patients: bounds NaN.
    """
    values = np.asarray(per_frame, dtype=float)
    if values.shape != np.asarray(patients).shape:
        raise ValueError(f"values {values.shape} and patients {np.asarray(patients).shape} must agree")
    scored = ~np.isnan(values)
    _, of_frame = np.unique(np.asarray(patients)[scored], return_inverse=True)
    if not scored.any():
        return Interval(math.nan, math.nan, math.nan, level, "bootstrap over patients", 0)
    sums, counts = np.bincount(of_frame, values[scored]), np.bincount(of_frame).astype(float)
    value = float(values[scored].mean())
    if len(counts) < 2:
        return Interval(value, math.nan, math.nan, level, "bootstrap over patients", len(counts))
    weights = _draws(len(counts), n_boot, seed)
    low, high = np.quantile((weights @ sums) / (weights @ counts), [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level, "bootstrap over patients", len(counts))


def _checked(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    y, s = np.asarray(truth), np.asarray(scores, dtype=float)
    if y.shape != s.shape or y.ndim != 1:
        raise ValueError(f"truth {y.shape} and scores {s.shape} must be two vectors of one length")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("truth must hold 0 and 1 only")
    if not np.isfinite(s).all():
        raise ValueError("scores must be finite")
    return y.astype(bool), s


@dataclass(frozen=True)
class PatientWins:
    """One class against the rest, counted by patient; p patients.

    wins: (p, p) pairs ranked rightly, by (patient of the positive, patient of the negative), ties half.
    positives, negatives: (p,) frames of each patient.
    """

    wins: NDArray[np.float64]
    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]

    def auc(self) -> float:
        return self.wins.sum() / (self.positives.sum() * self.negatives.sum())

    def aucs(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of draws with so many copies of each patient, (draws, p) -> (draws,); not finite where a class is absent."""
        with np.errstate(invalid="ignore", divide="ignore"):
            rightly = ((weights @ self.wins) * weights).sum(axis=1)
            return rightly / ((weights @ self.positives) * (weights @ self.negatives))

    def fewest_patients(self) -> int:
        """Patients with a frame of the class, or of the rest, whichever is fewer."""
        return min(int((self.positives > 0).sum()), int((self.negatives > 0).sum()))


def patient_wins(
    y: NDArray[np.bool_], s: NDArray[np.float64], of_frame: NDArray[np.int64], n_patients: int
) -> PatientWins:
    """Count the pairs ranked rightly, by patient.

    Parameters
    ----------
    y : (n,) bool
    s : (n,) float64
    of_frame : (n,) int64
        Which patient each frame is of, below `n_patients`.
    n_patients : int
    """
    positive, owner = s[y], of_frame[y]
    wins = np.zeros((n_patients, n_patients))
    by_patient = np.argsort(of_frame[~y], kind="stable")
    negatives = np.bincount(of_frame[~y], minlength=n_patients)
    groups = np.split(s[~y][by_patient], np.cumsum(negatives)[:-1]) if n_patients else []
    for q, scores in enumerate(groups):
        if len(scores):
            ordered = np.sort(scores)
            below = (np.searchsorted(ordered, positive) + np.searchsorted(ordered, positive, "right")) / 2
            wins[:, q] = np.bincount(owner, below, minlength=n_patients)
    return PatientWins(wins, np.bincount(owner, minlength=n_patients).astype(float), negatives.astype(float))


def _draws(n_patients: int, n_boot: int, seed: int) -> NDArray[np.float64]:
    """How often each patient is in each draw: (n_boot, n_patients)."""
    drawn = np.random.default_rng(seed).integers(n_patients, size=(n_boot, n_patients))
    drawn += n_patients * np.arange(n_boot)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_boot * n_patients).reshape(n_boot, n_patients).astype(float)


def _newcombe(value: float, cases: int, level: float) -> tuple[float, float]:
    """Solve |value - A| = z sd(A) for the true A, sd after Hanley and McNeil with `cases` of either class."""
    z = float(stats.norm.ppf((1 + level) / 2))

    def excess(a: float) -> float:
        spread = a * (1 - a) * (1 + (cases - 1) * ((1 - a) / (2 - a) + a / (1 + a))) / cases**2
        return abs(value - a) - z * math.sqrt(spread)

    tiny = 1e-9  # at value itself the equation holds trivially; the wanted root lies further out
    low, high = 0.0, 1.0
    if value > 0.5 and excess(tiny) > 0:
        low = float(optimize.brentq(excess, tiny, value - tiny))
    if value < 0.5 and excess(1 - tiny) > 0:
        high = float(optimize.brentq(excess, value + tiny, 1 - tiny))
    return low, high
