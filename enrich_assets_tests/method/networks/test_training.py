"""Schedules, batches and checkpoints that both trainings share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from enrich_assets.method.networks.training import (
    Checkpoint,
    Schedule,
    adam,
    batches_of,
    derived_seed,
    fingerprint,
    placed,
    repeatable,
)

CPU = torch.device("cpu")


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


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"drops": ((5, 1e-3), (5, 1e-4))}, {"min_steps": -1}],
)
def test_an_impossible_schedule_is_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Schedule(**{"epochs": 1, "batch_size": 1, "learning_rate": 1.0, **wrong})


def test_seeds_of_different_purposes_differ_and_are_stable():
    cells = [(seed, purpose, epoch) for seed in range(5) for purpose in range(3) for epoch in range(20)]
    seeds = {derived_seed(*cell) for cell in cells}
    assert len(seeds) == 300
    assert derived_seed(7, 1, 2) == derived_seed(7, 1, 2)


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with repeatable(CPU):
        torch.manual_seed(99)
        torch.rand(10)
    assert torch.equal(torch.rand(3), expected)


def one_step(model, optimizer):
    model(torch.ones(2, 1, 6, 6)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_checkpoint_holds_all_that_the_next_step_depends_on():
    """The moments of the optimizer included, in channels-last memory order."""
    torch.manual_seed(0)
    model = placed(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 2, 3)), CPU)
    optimizer = adam(model, 1e-2)
    one_step(model, optimizer)
    data = Checkpoint.of(model, optimizer, 1, "x", [{"loss": 0.5}], {"w": np.ones(2, np.float32)}).encode()
    one_step(model, optimizer)

    other = placed(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 2, 3)), CPU)
    again = adam(other, 1e-2)
    checkpoint = Checkpoint.decode(data)
    checkpoint.restore(other, again, "x")
    one_step(other, again)
    assert checkpoint.history == [{"loss": 0.5}]
    assert checkpoint.best["w"].tolist() == [1.0, 1.0]
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_a_checkpoint_of_another_training_or_of_broken_bytes_is_refused():
    model = torch.nn.Linear(2, 2)
    optimizer = adam(model, 1e-3)
    data = Checkpoint.of(model, optimizer, 0, "mine", []).encode()
    with pytest.raises(ValueError, match="other settings"):
        Checkpoint.decode(data).restore(model, optimizer, "yours")
    with pytest.raises(ValueError, match="not a training checkpoint"):
        Checkpoint.decode(data[: len(data) // 2])


def test_the_fingerprint_sees_one_changed_pixel():
    images = np.zeros((3, 4, 4), np.uint8)
    before = fingerprint("settings", images)
    images[1, 2, 3] = 1
    assert fingerprint("settings", images) != before
