"""Differences over patients and seeds: by hand, against the published form, and by simulation with known components."""

from dataclasses import replace
from math import isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from enrich_assets.method.statistics.two_sources import TwoSources, two_way_bootstrap, unseen_share, variance_components
from enrich_assets_tests.benchmarks.two_sources import WORLDS, coverage

ONE_CLASS, BOTH_CLASSES, NEAR_ONE, *_ = WORLDS
JACCARD = next(world for world in WORLDS if world.name == "Jaccard")


def means_left_out(scores):
    """Scores of (seeds, patients), a frame each -> means, and means without each patient."""
    p = scores.shape[1]
    return scores.mean(axis=1), (scores.sum(axis=1, keepdims=True) - scores) / (p - 1)


def test_variance_components_of_means_are_the_two_way_analysis_of_variance():
    rng = np.random.default_rng(0)
    s, p = 4, 25
    a = rng.normal(size=(1, p)) + rng.normal(0, 0.5, (s, 1)) + rng.normal(0, 0.3, (s, p))
    b = 0.5 * a[:1] + rng.normal(0, 0.5, (s, 1)) + rng.normal(0, 0.3, (s, p))
    found = variance_components(
        *(means_left_out(a)[0], means_left_out(b)[0]), means_left_out(a)[1], means_left_out(b)[1], p
    )
    # seeds: the variance of each arm's means; patients: covariances over patients, of different seeds only
    cov = np.cov(np.vstack([a, b])) / p
    off = ~np.eye(s, dtype=bool)
    expected = cov[:s, :s][off].mean() + cov[s:, s:][off].mean() - 2 * cov[:s, s:].mean()
    assert found.of_patients == pytest.approx(expected, rel=1e-9)
    assert found.of_seeds == pytest.approx((a.mean(axis=1).var(ddof=1) / s, b.mean(axis=1).var(ddof=1) / s))
    assert found.error == pytest.approx(sqrt(sum(found.of_seeds) + expected))


def test_obuchowski_and_rockettes_variance_where_seeds_are_as_many_and_independent():
    """2 / r * (MS + r * (Cov2 - Cov3)) with MS of the arms' seeds pooled (Hillis 2007, equation for the difference of two tests)."""
    rng = np.random.default_rng(1)
    r, p = 5, 40
    a, b = (rng.normal(size=(r, p)) + rng.normal(size=(1, p)) for _ in range(2))
    (x, x_out), (y, y_out) = means_left_out(a), means_left_out(b)
    found = variance_components(x, y, x_out, y_out, p)
    cov = (p - 1) / p * np.cov(np.vstack([x_out, y_out]), ddof=0) * p  # jackknife covariances
    off = ~np.eye(r, dtype=bool)
    cov2 = (cov[:r, :r][off].mean() + cov[r:, r:][off].mean()) / 2
    cov3 = cov[:r, r:].mean()
    pooled = (x.var(ddof=1) + y.var(ddof=1)) / 2
    assert found.error**2 == pytest.approx(2 / r * (pooled + r * (cov2 - cov3)), rel=1e-9)


def test_degrees_of_freedom_are_those_of_the_source_that_rules():
    only_patients = TwoSources(0.0, (1e-12, 1e-12), (5, 5), 1.0, 20)
    only_seeds = TwoSources(0.0, (1.0, 1.0), (5, 5), 1e-12, 20)
    assert only_patients.freedom == pytest.approx(19, rel=1e-6)
    assert only_seeds.freedom == pytest.approx(8, rel=1e-6)  # Welch of 5 against 5
    assert only_patients.half_width() == pytest.approx(stats.t.ppf(0.975, 19), rel=1e-6)


def test_more_patients_narrow_what_patients_widen():
    both = TwoSources(0.0, (0.0001, 0.0001), (5, 5), 0.04, 12)
    assert both.half_width(more_patients=4) < 0.5 * both.half_width()  # and the degrees of freedom grow
    assert both.half_width(more_seeds=4) > 0.95 * both.half_width()
    assert both.share_of_seeds == pytest.approx(0.0002 / 0.0402)


def test_a_class_of_one_patient_leaves_nothing_to_say():
    values, out = np.full(5, 0.9999), np.full((5, 6), 0.9999)
    out[:, 5] = np.nan
    found = variance_components(values, values, out, out, 1.0)
    assert isnan(found.of_patients)
    assert isnan(found.p_equivalent(0.01))
    assert all(isnan(bound) for bound in found.interval())


@pytest.mark.parametrize("patients", [6, 20, 60])
def test_scores_that_are_all_perfect_are_no_certainty(patients):
    """Nobody was misjudged; of a kind of patient that nobody saw, 3 / n may be (rule of three)."""
    values, out = np.ones(5), np.ones((5, patients))
    found = variance_components(values, values, out, out, patients)
    assert found.p_equivalent(0.01) > 0.05
    assert found.half_width() > unseen_share(patients)
    assert unseen_share(60) == pytest.approx(3 / 60, rel=0.03)


def test_one_patient_who_carries_the_whole_difference_widens_it():
    scores = np.full((5, 20), 0.9)
    other = scores.copy()
    other[:, 0] = 0.5
    found = variance_components(
        *(means_left_out(s)[0] for s in (scores, other)), means_left_out(scores)[1], means_left_out(other)[1], 20
    )
    assert found.error > 1.5 * np.std([0.4] + [0.0] * 19, ddof=1) / sqrt(20)


def test_a_single_training_is_no_arm():
    out = np.zeros((1, 10))
    assert isnan(variance_components([0.9], [0.8], out, out, 10).error)


@pytest.mark.parametrize("world", [ONE_CLASS, BOTH_CLASSES, NEAR_ONE, JACCARD], ids=lambda world: world.name)
@pytest.mark.parametrize("patients", [8, 20])
def test_the_interval_holds_the_truth_as_often_as_it_says(world, patients):
    """200 experiments at a fixed seed; STATISTICS.md has 2,000 each, and 60 patients."""
    found = coverage(world, patients, 200)["components"]
    assert found.held >= 0.95 - 2.3 * sqrt(0.95 * 0.05 / 200)
    assert found.false_claims <= 0.05 + 2.3 * sqrt(0.95 * 0.05 / 200)
    if patients >= 20:
        assert found.held <= 0.98 + 0.015


def test_seeds_alone_miss_the_truth_where_patients_matter():
    world = replace(JACCARD, arm_patient=0.08)
    found = coverage(world, 20, 200)
    assert found["seeds alone"].held < 0.75
    assert found["components"].held > 0.9


def test_the_bootstrap_holds_the_truth_too_and_is_the_wider_one_for_auc():
    found = coverage(BOTH_CLASSES, 20, 80, draws=200)
    assert found["bootstrap"].held >= 0.9
    assert found["bootstrap"].width > found["components"].width
    found = coverage(JACCARD, 20, 80, draws=200)
    assert found["bootstrap"].held >= 0.88
    assert found["bootstrap"].width == pytest.approx(found["components"].width, rel=0.25)


def test_the_bootstrap_is_silent_where_most_draws_lack_a_class():
    drawn = np.full((5, 100), np.nan)
    drawn[:, :40] = 0.9
    found = two_way_bootstrap(np.full(5, 0.9), np.full(5, 0.9), drawn, drawn, patients=6, cases=1)
    assert all(isnan(bound) for bound in found)
