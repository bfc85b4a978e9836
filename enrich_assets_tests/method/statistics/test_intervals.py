"""Intervals of one evaluation's value: against slow references, and at the right coverage for clusters."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from enrich_assets.method.statistics.intervals import _newcombe, auc, auc_interval, delong_interval, jaccard_interval


def pairs_won(truth, scores):
    """AUC, pair by pair."""
    won = [
        (s > t) + 0.5 * (s == t)
        for s, y in zip(scores, truth, strict=True) if y == 1
        for t, z in zip(scores, truth, strict=True) if z == 0
    ]  # fmt: skip
    return sum(won) / len(won)


def clustered(patients, frames, seed):
    """Scores with a strong patient effect: frames of one patient share most of their luck."""
    rng = np.random.default_rng(seed)
    of_frame = np.repeat(np.arange(patients), frames)
    truth = of_frame % 2
    scores = truth + rng.normal(size=patients)[of_frame] + 0.5 * rng.normal(size=len(of_frame))
    return truth, scores, of_frame


def test_auc_by_hand():
    assert auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert auc([0, 1], [0.5, 0.5]) == 0.5
    assert isnan(auc([1, 1], [0.1, 0.2]))


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=20))
def test_auc_is_the_share_of_pairs_won(frames):
    truth, scores = [int(y) for y, _ in frames], [s for _, s in frames]
    if 0 < sum(truth) < len(truth):
        assert auc(truth, scores) == pytest.approx(pairs_won(truth, scores), abs=1e-15)
    else:
        assert isnan(auc(truth, scores))


def test_delong_by_hand():
    # positives .35, .8; negatives .1, .4; shares .5, 1 of the positives, 1, .5 of the negatives: variance 1/8
    interval = delong_interval([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], level=0.5)
    assert interval.value - interval.low == pytest.approx(norm.ppf(0.75) * np.sqrt(1 / 16 + 1 / 16))
    assert delong_interval([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).high == 1
    assert isnan(delong_interval([0, 1, 1], [1, 2, 3]).low)


def test_each_draw_is_the_auc_of_the_frames_of_the_drawn_patients():
    rng = np.random.default_rng(0)
    patients = np.array(list("aabbbcddde"))
    truth, scores = np.array([0, 1, 0, 0, 1, 1, 0, 1, 0, 1]), rng.integers(0, 6, 10)
    drawn = np.random.default_rng(7).integers(5, size=(200, 5))
    slow = []
    for draw in drawn:
        frames = np.concatenate([np.flatnonzero(patients == "abcde"[p]) for p in draw])
        if 0 < truth[frames].sum() < len(frames):
            slow.append(pairs_won(truth[frames], scores[frames]))
    interval = auc_interval(truth, scores, patients, n_boot=200, seed=7)
    assert interval.value == pairs_won(truth, scores)
    np.testing.assert_allclose((interval.low, interval.high), np.quantile(slow, [0.025, 0.975]))


def test_the_interval_over_patients_covers_and_the_one_over_frames_does_not():
    true = norm.cdf(1 / np.sqrt(2 * 1.25))
    by_patient = by_frame = 0
    for seed in range(100):
        truth, scores, patients = clustered(40, 20, seed)
        interval = auc_interval(truth, scores, patients, n_boot=300, seed=seed)
        by_patient += interval.low <= true <= interval.high
        independent = delong_interval(truth, scores)
        by_frame += independent.low <= true <= independent.high
    assert by_patient >= 88
    assert by_frame <= 60


def test_with_one_frame_a_patient_both_intervals_agree():
    truth, scores, _ = clustered(600, 1, 1)
    over_patients, over_frames = auc_interval(truth, scores, np.arange(600)), delong_interval(truth, scores)
    assert over_patients.low == pytest.approx(over_frames.low, abs=0.01)
    assert over_patients.high == pytest.approx(over_frames.high, abs=0.01)


def test_a_perfect_auc_of_few_patients_is_not_certain():
    few = auc_interval([0] * 4 + [1] * 4, range(8), list("aabbccdd"))
    many = auc_interval([0] * 40 + [1] * 40, range(80), range(80))
    assert few.value == many.value == few.high == many.high == 1
    assert few.low < 0.4
    assert 0.85 < many.low < 1
    wrong = auc_interval([1] * 40 + [0] * 40, range(80), range(80))
    assert (wrong.low, wrong.high) == (0, pytest.approx(1 - many.low))


def test_newcombes_bound_solves_its_equation():
    low, high = _newcombe(1.0, 12, 0.95)
    spread = low * (1 - low) * (1 + 11 * ((1 - low) / (2 - low) + low / (1 + low))) / 144
    assert 1 - low == pytest.approx(1.959964 * np.sqrt(spread), rel=1e-5)
    assert high == 1


def test_several_classes_average_their_aucs_over_the_same_patients():
    rng = np.random.default_rng(2)
    label, patients = rng.integers(3, size=90), np.repeat(np.arange(30), 3)
    truth, scores = np.eye(3)[label], np.eye(3)[label] + rng.normal(size=(90, 3))
    interval = auc_interval(truth, scores, patients)
    assert interval.value == pytest.approx(np.mean([pairs_won(truth[:, k], scores[:, k]) for k in range(3)]))
    assert interval.low < interval.value < interval.high
    twice = auc_interval(np.stack([truth[:, 0]] * 2, 1), np.stack([scores[:, 0]] * 2, 1), patients)
    assert twice == auc_interval(truth[:, 0], scores[:, 0], patients)


def test_one_patient_or_one_class_gives_no_interval():
    assert isnan(auc_interval([0, 1, 1], [1, 2, 3], ["a", "a", "a"]).low)
    assert isnan(auc_interval([1, 1, 1], [1, 2, 3], ["a", "b", "c"]).value)
    assert isnan(auc_interval([], [], []).value)


def test_shapes_and_values_are_checked_at_the_door():
    with pytest.raises(ValueError, match="agree"):
        auc_interval([0, 1], [0.1, 0.2], ["a"])
    with pytest.raises(ValueError, match="0 and 1"):
        auc_interval([0, 2], [0.1, 0.2], ["a", "b"])
    with pytest.raises(ValueError, match="finite"):
        auc([0, 1], [0.1, nan])


def test_the_jaccard_interval_draws_patients_too():
    values, patients = np.array([0.5, 0.7, 0.9, nan, 0.2]), np.array(list("aabbc"))
    drawn = np.random.default_rng(3).integers(3, size=(500, 3))
    per_patient = [np.array([0.5, 0.7]), np.array([0.9]), np.array([0.2])]
    slow = [np.concatenate([per_patient[p] for p in draw]).mean() for draw in drawn]
    interval = jaccard_interval(values, patients, n_boot=500, seed=3)
    assert interval.value == pytest.approx((0.5 + 0.7 + 0.9 + 0.2) / 4)
    np.testing.assert_allclose((interval.low, interval.high), np.quantile(slow, [0.025, 0.975]))
    assert isnan(jaccard_interval([0.5, 0.6], ["a", "a"]).low)
    assert isnan(jaccard_interval([nan], ["a"]).value)
