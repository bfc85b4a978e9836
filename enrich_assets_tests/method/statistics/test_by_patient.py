"""A score with each patient left out: the fast ways against the definition, and what patients weigh."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.kinds import kind_of
from enrich_assets.method.statistics.by_patient import (
    any_left_out,
    auc_drawn,
    auc_left_out,
    effective_patients,
    mean_drawn,
    mean_left_out,
)
from enrich_assets.method.statistics.metrics import auc

FRAMES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=30)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(FRAMES)
def test_an_auc_without_a_patient_is_the_auc_of_the_other_frames(frames):
    patients, truth, scores = (np.array(column) for column in zip(*frames, strict=True))
    fast = auc_left_out(truth, scores, patients)
    slow = any_left_out(lambda stays: auc(truth[stays], scores[stays]), patients)
    np.testing.assert_array_equal(fast.values, slow.values)  # equal, not close; NaN where a class is gone
    np.testing.assert_array_equal(fast.patients, slow.patients)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(FRAMES)
def test_a_mean_without_a_patient_is_the_mean_of_the_other_frames(frames):
    patients, missing, values = (np.array(column, dtype=float) for column in zip(*frames, strict=True))
    per_frame = np.where(missing == 1, np.nan, values)  # frames without any structure

    def mean(stays):
        left = per_frame[stays & ~np.isnan(per_frame)]
        return left.mean() if len(left) else np.nan

    fast, slow = mean_left_out(per_frame, patients), any_left_out(mean, patients)
    np.testing.assert_allclose(fast.values, slow.values, rtol=1e-12)  # whole numbers, in another order of addition


def test_a_draw_of_patients_is_their_frames_as_often_as_drawn():
    rng = np.random.default_rng(0)
    patients, truth, scores = rng.integers(6, size=60), rng.integers(2, size=60), rng.normal(size=60)
    weights = rng.multinomial(6, np.full(6, 1 / 6), size=20).astype(float)
    for draw, value, mean in zip(
        weights, auc_drawn(truth, scores, patients, weights), mean_drawn(scores, patients, weights), strict=True
    ):
        copies = np.repeat(np.arange(60), draw[patients].astype(int))
        assert value == pytest.approx(auc(truth[copies], scores[copies]), abs=1e-12)
        assert mean == pytest.approx(scores[copies].mean(), abs=1e-12)


@pytest.mark.parametrize("classes", [["healthy", "ill"], ["a", "b", "c"]])
def test_a_classification_leaves_patients_out_of_its_published_predictions(classes):
    rng = np.random.default_rng(1)
    scored = classes[1:] if len(classes) == 2 else classes
    truth = rng.integers(len(classes), size=50)
    predictions = pd.concat(
        [
            pd.DataFrame(
                {
                    "frame_id": [f"f{i}" for i in range(50)],
                    "class": name,
                    "truth": (truth == classes.index(name)).astype(int),
                    "score": rng.random(50).round(1),
                }
            )
            for name in scored
        ],
        ignore_index=True,
    )
    patients = np.array([f"p{i % 7}" for i in range(50)] * len(scored))
    kind = kind_of("classification")
    slow = super(type(kind), kind).left_out(predictions, patients)
    np.testing.assert_allclose(kind.left_out(predictions, patients).values, slow.values, rtol=1e-14)


def test_a_segmentation_leaves_patients_out_of_its_published_predictions():
    rng = np.random.default_rng(2)
    rows = [(f"f{i}", structure) for structure in ("LV", "RV") for i in range(30)]
    unions = rng.integers(0, 40, size=60)
    unions[:30][::9] = unions[30:][::9] = 0  # frames without any structure
    predictions = pd.DataFrame(rows, columns=["frame_id", "class"]).assign(
        union_pixels=unions, intersection_pixels=(unions * rng.random(60)).astype(int)
    )
    patients = np.array([f"p{i % 5}" for i in range(30)] * 2)
    kind = kind_of("segmentation")
    slow = super(type(kind), kind).left_out(predictions, patients)
    np.testing.assert_allclose(kind.left_out(predictions, patients).values, slow.values, rtol=1e-12)


def test_an_auc_stands_on_the_class_with_few_patients():
    ill_40_healthy_3 = auc_left_out(np.repeat([1, 0], [40, 3]), np.arange(43.0), np.arange(43))
    assert 3 < ill_40_healthy_3.cases < 4
    both_classes = auc_left_out(np.tile([1, 0], 20), np.arange(40.0), np.repeat(np.arange(20), 2))
    assert both_classes.cases == pytest.approx(20)
    ten_and_ten = auc_left_out(np.repeat([1, 0], 10), np.arange(20.0), np.arange(20))
    assert ten_and_ten.cases == pytest.approx(19)  # 18 degrees of freedom, as of a t-test of 10 against 10
    one_healthy = auc_left_out(np.repeat([1, 0], [5, 1]), np.arange(6.0), np.arange(6))
    assert one_healthy.cases == 1
    assert np.isnan(one_healthy.values[5])  # no AUC without the one healthy patient


def test_a_patient_with_most_of_the_frames_is_nearly_the_only_one():
    assert effective_patients([7, 7, 7, 7]) == pytest.approx(4)
    assert effective_patients([500, 20, 20, 20]) == pytest.approx(1, abs=0.01)
    assert effective_patients([]) == 0
