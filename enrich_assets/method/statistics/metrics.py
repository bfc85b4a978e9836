"""Scores of a prediction against the truth: area under the ROC curve, and Jaccard per structure.

Point values only. Intervals belong in `intervals`, tests in `significance`. numpy, no torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata


def auc(truth: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive outscores a negative, ties counting one half.

    Parameters
    ----------
    truth : (n,) 0/1 or bool
    scores : (n,) float

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        When a class is absent, when lengths differ, when a score is not finite.

    Notes
    -----
    Exact Mann-Whitney statistic over mid-ranks (twice a mid-rank is an integer, so nothing is rounded
    before the one division at the end); equals `sklearn.metrics.roc_auc_score`.
    """
    positive = np.asarray(truth)
    score = np.asarray(scores, dtype=np.float64)
    if positive.ndim != 1 or positive.shape != score.shape:
        raise ValueError(f"truth {positive.shape} and scores {score.shape} must be one-dimensional and alike")
    if not np.isin(positive, (0, 1)).all():
        raise ValueError("truth must hold 0 and 1 only")
    if not np.isfinite(score).all():
        raise ValueError("a score is not finite")
    positive = positive.astype(bool)
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        raise ValueError(f"AUC needs both classes; there are {n_positive} positive and {n_negative} negative frames")
    doubled_rank_sum = round(2.0 * float(rankdata(score)[positive].sum()))
    doubled_u = doubled_rank_sum - n_positive * (n_positive + 1)
    return doubled_u / (2 * n_positive * n_negative)


def macro_auc(truth: ArrayLike, scores: ArrayLike) -> float:
    """Mean over the classes of the one-vs-rest AUC.

    Parameters
    ----------
    truth : (n,) int
        Class indices.
    scores : (n, n_classes) float

    Returns
    -------
    float
        Two classes give the plain AUC of class 1 (for softmax scores the two one-vs-rest AUCs are the same number).

    Raises
    ------
    ValueError
        Naming the class, when a class has no frame or holds all of them.
    """
    label = np.asarray(truth)
    score = np.asarray(scores, dtype=np.float64)
    if score.ndim != 2 or label.shape != score.shape[:1]:
        raise ValueError(f"scores {score.shape} must be (n, n_classes) with n = {label.size}")
    n_classes = score.shape[1]
    if label.size and (label.min() < 0 or label.max() >= n_classes):
        raise ValueError(f"truth holds a class outside 0..{n_classes - 1}")
    if n_classes == 2:
        return auc(label == 1, score[:, 1])
    values = []
    for k in range(n_classes):
        try:
            values.append(auc(label == k, score[:, k]))
        except ValueError as problem:
            raise ValueError(f"class {k}: {problem}") from problem
    return float(np.mean(values))


def jaccard_counts(
    truth: ArrayLike, prediction: ArrayLike, n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels in the intersection and in the union of truth and prediction, per frame and structure.

    Parameters
    ----------
    truth, prediction : (n, h, w) int
        Class indices, 0 = background.
    n_classes : int
        Background included.

    Returns
    -------
    intersections, unions : (n, n_classes - 1) int64
        Column k is class k + 1; the background is left out.

    Raises
    ------
    ValueError
        On differing shapes or an unknown class.
    """
    t, p = np.asarray(truth), np.asarray(prediction)
    if t.ndim != 3 or t.shape != p.shape:
        raise ValueError(f"truth {t.shape} and prediction {p.shape} must be (n, h, w) and alike")
    if t.size and (min(t.min(), p.min()) < 0 or max(t.max(), p.max()) >= n_classes):
        raise ValueError(f"a mask holds a class outside 0..{n_classes - 1}")
    n = t.shape[0]
    # One histogram of (frame, truth, prediction) triples gives every count in a single sweep.
    frame = np.arange(n, dtype=np.int64)[:, None, None] * (n_classes * n_classes)
    cells = frame + t.astype(np.int64) * n_classes + p
    confusion = np.bincount(cells.ravel(), minlength=n * n_classes * n_classes)
    confusion = confusion.reshape(n, n_classes, n_classes)
    intersections = np.diagonal(confusion, axis1=1, axis2=2)
    unions = confusion.sum(axis=2) + confusion.sum(axis=1) - intersections
    return intersections[:, 1:].astype(np.int64), unions[:, 1:].astype(np.int64)


def frame_jaccard(intersections: ArrayLike, unions: ArrayLike) -> NDArray[np.float64]:
    """Mean Jaccard over a frame's structures.

    Parameters
    ----------
    intersections, unions : (n, structures) int
        Of `jaccard_counts`.

    Returns
    -------
    (n,) float64
        NaN where no structure is in either mask.

    Raises
    ------
    ValueError
        When shapes differ, or an intersection exceeds its union.
    """
    i = np.asarray(intersections, dtype=np.float64)
    u = np.asarray(unions, dtype=np.float64)
    if i.ndim != 2 or i.shape != u.shape:
        raise ValueError(f"intersections {i.shape} and unions {u.shape} must be (n, structures) and alike")
    if (i < 0).any() or (i > u).any():
        raise ValueError("an intersection is negative or larger than its union")
    present = u > 0
    ratio = np.divide(i, u, out=np.zeros_like(u), where=present)
    counted = present.sum(axis=1)
    return np.divide(ratio.sum(axis=1), counted, out=np.full(len(u), np.nan), where=counted > 0)


def jaccard(intersections: ArrayLike, unions: ArrayLike) -> float:
    """Mean Jaccard: over the structures of a frame, then over the frames.

    Parameters
    ----------
    intersections, unions : (n, structures) int
        Pixel counts from `jaccard_counts` (no background).

    Raises
    ------
    ValueError
        When no frame is left, when shapes differ, or when an intersection exceeds its union.

    Notes
    -----
    - A structure absent from truth and prediction (union 0) is left out of its frame's mean: nothing was
      asked and nothing was claimed.
    - A structure absent from one of them counts 0 (it was missed, or invented).
    - A frame in which every structure is absent from both is left out of the mean over frames.
    """
    per_frame = frame_jaccard(intersections, unions)
    scored = per_frame[~np.isnan(per_frame)]
    if scored.size == 0:
        raise ValueError("no structure is present in any frame, in truth or prediction: Jaccard is undefined")
    return float(scored.mean())
