"""How often a subset is passed over, in which batches, at which rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from enrich_assets.method.hyperparameters import ClassifierSettings
from enrich_assets.method.networks.schedule import Schedule, batches_of


@given(st.integers(1, 300), st.integers(2, 64))
@examples(derandomize=True, deadline=None, max_examples=200)
def test_batches_cover_every_frame_once_and_none_stands_alone(n, batch_size):
    portions = batches_of(n, batch_size)
    assert [i for a, b in portions for i in range(a, b)] == list(range(n))
    if n > 1:
        assert min(b - a for a, b in portions) >= 2
    assert max(b - a for a, b in portions) <= batch_size + 1


def test_the_rate_of_the_paper_by_epoch():
    paper = Schedule(175, 32, 5e-4, ((100, 1e-4), (150, 5e-5)))
    rates = [paper.rate(epoch, 3000) for epoch in (0, 99, 100, 149, 150, 174)]
    assert rates == [5e-4, 5e-4, 1e-4, 1e-4, 5e-5, 5e-5]


def test_a_small_subset_is_passed_over_more_often_and_its_rate_drops_at_the_same_share():
    schedule = Schedule(10, 10, 1e-3, ((5, 1e-4),), min_steps=60)
    assert schedule.epochs_for(1000) == 10
    assert schedule.epochs_for(30) == 20  # 3 steps an epoch
    assert [schedule.rate(epoch, 30) for epoch in (9, 10)] == [1e-3, 1e-4]
    assert schedule.epochs_for(5) == 60


def test_a_number_of_steps_is_the_same_for_every_subset_and_its_rate_falls_at_the_same_step():
    schedule = Schedule(175, 10, 1e-3, ((0.6, 1e-4), (0.9, 1e-5)), steps=100)
    for n in (5, 30, 64, 1000, 5000):
        a_pass = len(batches_of(n, 10))
        assert schedule.steps_for(n) == 100
        assert (schedule.epochs_for(n) - 1) * a_pass < 100 <= schedule.epochs_for(n) * a_pass
        rates = [schedule.rate(step // a_pass, n, step % a_pass) for step in range(100)]
        assert rates == [1e-3] * 60 + [1e-4] * 30 + [1e-5] * 10


def test_an_epoch_stands_for_its_share_where_steps_are_given():
    assert Schedule.of(ClassifierSettings(steps=70)).milestone_shares() == ((100 / 175, 1e-4), (150 / 175, 5e-5))


def test_a_share_of_the_training_is_a_milestone_of_epochs_too():
    schedule = Schedule(8, 10, 1e-3, ((0.75, 1e-4),))
    assert [schedule.rate(epoch, 100) for epoch in (5, 6)] == [1e-3, 1e-4]


def test_a_long_training_of_a_small_subset_is_told_in_about_a_hundred_rounds():
    schedule = Schedule(1, 32, 1e-3, steps=3000)
    for n in (19, 100, 3000, 100_000):
        rounds = -(-schedule.epochs_for(n) // schedule.epochs_a_round(n))
        assert rounds <= 150
    assert Schedule(3000, 32, 1e-3).epochs_a_round(19) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"epochs": 10, "lr_milestones": ((0.5, 1e-3), (5, 1e-4))},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"lr_milestones": ((5, 1e-3), (5, 1e-4))},
        {"min_steps": -1},
    ],
)
def test_an_impossible_schedule_is_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Schedule(**{"epochs": 1, "batch_size": 1, "learning_rate": 1.0, **wrong})


def test_a_networks_settings_describe_its_schedule():
    assert Schedule.of(ClassifierSettings(min_steps=7)) == Schedule(175, 32, 5e-4, ((100, 1e-4), (150, 5e-5)), 7)
