"""What the next labels should add: planted curves are found, and no forecast where the curve allows none."""

from math import isnan

import numpy as np
import pytest

from enrich_assets.method.statistics.learning_curve import Verdict, advise

BUDGETS = np.repeat([100, 200, 400, 800, 1600], 5)
SEEDS = np.tile(np.arange(5), 5)


def planted(noise, seed=0, a=0.97, b=1.2, c=0.6):
    return a - b * BUDGETS**-c + np.random.default_rng(seed).normal(0, noise, len(BUDGETS))


def gain(n, more, b=1.2, c=0.6):
    return b * (n**-c - (n + more) ** -c)


def test_a_planted_curve_is_found_again():
    advice = advise(BUDGETS, planted(0), 800, seeds=SEEDS, margin=0.01)
    assert advice.gain == pytest.approx(gain(1600, 800), rel=0.02)
    assert advice.ceiling == pytest.approx(0.97, abs=1e-3)
    assert advice.labelled == 1600
    assert advice.stop


def test_the_interval_holds_the_true_gain_as_often_as_it_should():
    held = 0
    for seed in range(100):
        advice = advise(BUDGETS, planted(0.004, seed), 800, seeds=SEEDS)
        held += advice.gain_low <= gain(1600, 800) <= advice.gain_high
    assert held >= 88


def test_a_steep_curve_says_go_on_and_a_flat_one_says_stop():
    steep = advise(BUDGETS, planted(0.001), 100, seeds=SEEDS, labelled=100, margin=0.01)
    assert not steep.stop
    assert steep.certain
    assert "Go on: even the pessimistic end" in steep.text
    flat = advise(BUDGETS, planted(0.001, b=0.0), 800, seeds=SEEDS, margin=0.01)
    assert flat.stop
    assert flat.certain
    assert "Stop: even the optimistic end" in flat.text


def test_a_curve_that_falls_by_more_than_the_margin_is_not_carried_on():
    fallen = advise([100, 250, 600], [0.8561, 0.8106, 0.8380], 200, margin=0.01)
    assert fallen.stop is None
    assert not fallen.certain
    assert np.isnan(fallen.gain)
    assert "does not rise" in fallen.text
    assert "0.8106 at 250" in fallen.text


def test_every_forecast_says_that_it_is_an_estimate():
    assert advise(BUDGETS, planted(0.001), 800, seeds=SEEDS).text.startswith("Estimate: the next 800 labels")


def test_two_budgets_make_no_curve():
    advice = advise([100, 200], [0.9, 0.95], 100)
    assert advice.stop is None
    assert isnan(advice.gain)
    assert "at least 3 budgets; trained so far: 2" in advice.text
    assert advise([], [], 10).labelled == 0


def test_three_budgets_of_one_seed_give_a_gain_without_an_interval():
    advice = advise([100, 200, 400], [0.8, 0.88, 0.92], 100)
    assert advice.gain > 0
    assert isnan(advice.gain_low)
    assert not advice.certain
    assert "no interval: too few runs" in advice.text


def test_more_labels_never_hurt_and_no_metric_passes_one():
    falling = advise(BUDGETS, 0.9 - BUDGETS / 1e6, 800, seeds=SEEDS)  # by less than the margin
    assert falling.gain == 0
    rising = advise([100, 200, 400, 800], [0.7, 0.8, 0.9, 1.0], 10**6)
    assert rising.value_next <= 1


def test_a_far_reach_is_said_to_be_far():
    assert "caution" in advise(BUDGETS, planted(0.001), 10_000, seeds=SEEDS).text
    assert "caution" not in advise(BUDGETS, planted(0.001), 800, seeds=SEEDS).text


def test_missing_runs_are_passed_over():
    values = planted(0.001)
    values[3] = np.nan
    assert advise(BUDGETS, values, 800, seeds=SEEDS).gain == pytest.approx(gain(1600, 800), abs=0.002)


def test_no_next_labels_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        advise(BUDGETS, planted(0), 0)


def test_a_flat_curve_is_no_reason_to_stop_where_nothing_was_shown_as_good_as_everything():
    """Seen: "not shown to be as good as everything" above "Stop: even the optimistic end lies below the margin"."""
    flat = planted(0.0005, b=0.0)
    assert "Stop: even the optimistic end" in advise(BUDGETS, flat, 800, seeds=SEEDS).text
    advice = advise(BUDGETS, flat, 800, seeds=SEEDS, verdict=Verdict())
    assert advice.stop is None
    assert not advice.certain
    assert "Stop" not in advice.text
    assert "no reason to stop" in advice.text


def test_an_experiment_that_cannot_tell_gives_an_estimate_and_no_advice():
    for values in (planted(0.0005, b=0.0), planted(0.001)):
        advice = advise(BUDGETS, values, 100, seeds=SEEDS, labelled=100, verdict=Verdict("6 test patients cannot tell"))
        assert advice.stop is None
        assert advice.text.startswith("Estimate:")
        assert "cannot be said: 6 test patients cannot tell" in advice.text
        assert not any(word in advice.text for word in ("Stop", "Go on", "Probably"))


def test_what_was_shown_to_suffice_decides_not_the_forecast():
    steep = planted(0.001)
    enough = advise(BUDGETS, steep, 100, seeds=SEEDS, labelled=400, verdict=Verdict(sufficient=400))
    assert enough.stop
    assert "Stop: 400 labels were shown to be as good as everything." in enough.text
    short = advise(BUDGETS, steep, 100, seeds=SEEDS, labelled=300, verdict=Verdict(sufficient=400))
    assert short.stop is False
    assert "Go on to 400 labels" in short.text


def test_a_rising_curve_still_says_go_on():
    assert (
        "Go on: even the pessimistic end"
        in advise(BUDGETS, planted(0.001), 100, seeds=SEEDS, labelled=100, margin=0.01, verdict=Verdict()).text
    )
