"""Scores against hand-worked cases and slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.statistics.metrics import auc, frame_jaccard, jaccard, jaccard_counts, macro_auc


def chance_that_a_positive_outscores_a_negative(truth, scores):
    pairs = [(p > q) + 0.5 * (p == q) for p in scores[truth == 1] for q in scores[truth == 0]]
    return sum(pairs) / len(pairs)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=40))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_auc_is_the_chance_that_a_positive_outscores_a_negative_ties_counting_half(rows):
    truth, scores = np.array(rows).T
    if len(set(truth)) < 2:
        with pytest.raises(ValueError, match="both classes"):
            auc(truth, scores)
    else:
        assert auc(truth, scores) == chance_that_a_positive_outscores_a_negative(truth, scores)


@pytest.mark.parametrize(
    ("truth", "scores", "value"),
    [
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),  # scikit-learn's own example
        ([0, 1], [0.2, 0.9], 1.0),
        ([0, 1], [0.9, 0.2], 0.0),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5),
        ([0, 0, 1], [0.3, 0.7, 0.3], 0.25),
    ],
)
def test_auc_by_hand(truth, scores, value):
    assert auc(truth, scores) == value


def test_auc_does_not_change_under_a_monotone_map_of_the_scores():
    generator = np.random.default_rng(0)
    truth, scores = generator.integers(0, 2, 200), generator.normal(size=200).astype(np.float32)
    assert auc(truth, scores) == auc(truth, np.exp(scores.astype(np.float64)))


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([0, 1], [0.1, float("nan")], "not finite"),
        ([0, 2], [0.1, 0.2], "0 and 1 only"),
        ([0, 1, 1], [0.1, 0.2], "alike"),
    ],
)
def test_auc_refuses_what_it_cannot_score(truth, scores, message):
    with pytest.raises(ValueError, match=message):
        auc(truth, scores)


def test_macro_auc_of_two_classes_is_the_auc_and_of_three_the_mean():
    truth = np.array([0, 1, 2, 2, 1, 0])
    scores = np.random.default_rng(1).dirichlet([1, 1, 1], 6)
    assert macro_auc(truth, scores) == pytest.approx(np.mean([auc(truth == k, scores[:, k]) for k in range(3)]))
    assert macro_auc(truth == 2, scores[:, :2]) == auc(truth == 2, scores[:, 1])
    with pytest.raises(ValueError, match="class 2"):
        macro_auc([0, 1, 1], np.full((3, 3), 1 / 3))


def test_jaccard_counts_leave_the_background_out():
    truth = np.array([[[0, 1, 1], [2, 2, 0]]])
    prediction = np.array([[[1, 1, 0], [2, 2, 2]]])
    intersections, unions = jaccard_counts(truth, prediction, 4)
    np.testing.assert_array_equal(intersections, [[1, 2, 0]])
    np.testing.assert_array_equal(unions, [[3, 3, 0]])


@given(st.integers(0, 10_000))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_jaccard_counts_equal_set_operations(seed):
    generator = np.random.default_rng(seed)
    truth, prediction = generator.integers(0, 4, (2, 3, 5, 7), dtype=np.uint8)
    intersections, unions = jaccard_counts(truth, prediction, 4)
    for frame in range(3):
        for k in (1, 2, 3):
            assert intersections[frame, k - 1] == ((truth[frame] == k) & (prediction[frame] == k)).sum()
            assert unions[frame, k - 1] == ((truth[frame] == k) | (prediction[frame] == k)).sum()


@pytest.mark.parametrize(
    ("intersections", "unions", "value"),
    [
        ([[1, 2]], [[2, 4]], 0.5),
        ([[3, 0]], [[3, 0]], 1.0),  # absent from both: left out of the frame's mean
        ([[3, 0]], [[3, 5]], 0.5),  # missed or invented: counts 0
        ([[2, 2], [0, 0]], [[4, 4], [0, 0]], 0.5),  # a frame with no structure at all: left out
        ([[1, 0], [1, 1]], [[1, 0], [2, 4]], (1 + (0.5 + 0.25) / 2) / 2),  # structures first, then frames
    ],
)
def test_jaccard_by_hand(intersections, unions, value):
    assert jaccard(intersections, unions) == value


def test_a_frame_without_structures_has_no_jaccard_and_an_archive_of_them_none_at_all():
    assert np.isnan(frame_jaccard([[0, 0]], [[0, 0]])).all()
    with pytest.raises(ValueError, match="undefined"):
        jaccard([[0, 0]], [[0, 0]])


def test_impossible_counts_and_unknown_classes_are_refused():
    with pytest.raises(ValueError, match="larger than its union"):
        jaccard([[3]], [[2]])
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        jaccard_counts(np.full((1, 2, 2), 2), np.zeros((1, 2, 2), int), 2)
