"""The one loop under both networks: it fits whatever network and loss it is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from enrich_assets.method.hyperparameters import ClassifierSettings
from enrich_assets.method.networks.training import fit

SETTINGS = ClassifierSettings(epochs=40, batch_size=4, learning_rate=0.1, lr_milestones=())


def squared(model, frames, truth):
    """Loss of a line through the mean brightness of a frame, and the greatest error of the batch."""
    error = model(frames.float().mean(dim=(1, 2))[:, None] / 255)[:, 0] - truth
    return error.square().mean(), {"worst": error.abs().max()}


def test_any_network_and_loss_are_fitted_and_their_means_kept():
    images = (np.ones((12, 3, 3)) * np.linspace(0, 255, 12)[:, None, None]).astype(np.uint8)
    answers = (images[:, 0, 0] > 127).astype(np.int64)
    trained = fit(lambda: torch.nn.Linear(1, 1), squared, images, answers, SETTINGS, seed=0, device="cpu")
    assert len(trained.history) == 40
    assert set(trained.history[0]) == {"epoch", "learning_rate", "loss", "worst"}
    assert trained.history[-1]["loss"] < 0.1 < trained.history[0]["loss"]
    again = fit(lambda: torch.nn.Linear(1, 1), squared, images, answers, SETTINGS, seed=0, device="cpu")
    assert again.history == trained.history
    np.testing.assert_array_equal(again.weights["weight"], trained.weights["weight"])


def test_a_loss_that_is_no_number_ends_the_training_with_advice():
    def infinite(model, frames, truth):
        return model(frames.float().mean(dim=(1, 2))[:, None]).sum() * float("inf"), {}

    images = np.full((4, 3, 3), 9, np.uint8)
    with pytest.raises(FloatingPointError, match="in epoch 0; lower the learning rate"):
        fit(lambda: torch.nn.Linear(1, 1), infinite, images, np.zeros(4, np.int64), SETTINGS, seed=0, device="cpu")


BY_STEPS = replace(SETTINGS, steps=230, lr_milestones=((0.5, 0.01),))


def fitted(settings, n=12, **options):
    """A line through the brightness of n frames, fitted."""
    images = (np.ones((n, 3, 3)) * np.linspace(0, 255, n)[:, None, None]).astype(np.uint8)
    answers = (images[:, 0, 0] > 127).astype(np.int64)
    return fit(lambda: torch.nn.Linear(1, 1), squared, images, answers, settings, seed=0, device="cpu", **options)


@pytest.mark.parametrize("n", [2, 12, 3000])
def test_a_training_takes_exactly_its_steps_whatever_the_number_of_frames(n):
    asked = []
    trained = fitted(BY_STEPS, n, watch=lambda step, weights: asked.append(step), watch_every=10)
    assert asked == list(range(10, 231, 10))
    assert len(trained.history) <= 150


def test_of_a_pool_passed_over_twice_the_history_is_fine_enough_to_see_the_loss_settle():
    settings, told = replace(BY_STEPS, steps=60, batch_size=100), []
    trained = fitted(settings, 3000, progress=lambda done, of, values: told.append(done))
    assert told == [3 * k for k in range(1, 21)]
    assert [entry["epoch"] for entry in trained.history] == pytest.approx([k / 10 for k in range(20)])
    assert [entry["learning_rate"] for entry in trained.history] == [SETTINGS.learning_rate] * 10 + [0.01] * 10
    saved: list[bytes] = []
    fitted(settings, 3000, save=saved.append, checkpoint_steps=30)
    resumed = fitted(settings, 3000, resume=saved[0])
    assert resumed.history == trained.history
    np.testing.assert_array_equal(resumed.weights["weight"], trained.weights["weight"])


@pytest.mark.parametrize(("n", "steps"), [(2, 1), (12, 230), (3000, 7), (3000, 60), (3000, 61), (3000, 9000)])
def test_a_history_has_twenty_entries_or_one_for_each_step_and_no_more_than_it_needs(n, steps):
    trained = fitted(replace(BY_STEPS, steps=steps, batch_size=100), n)
    assert min(20, steps) <= len(trained.history) <= 150


def test_a_training_by_steps_that_was_interrupted_goes_on_bit_for_bit():
    checkpoints = []
    whole = fitted(BY_STEPS, save=checkpoints.append, checkpoint_steps=50)
    assert len(checkpoints) == 4
    for checkpoint in checkpoints:
        resumed = fitted(BY_STEPS, resume=checkpoint)
        assert resumed.history == whole.history
        np.testing.assert_array_equal(resumed.weights["weight"], whole.weights["weight"])


def test_epochs_and_the_steps_they_come_to_give_the_same_weights():
    by_epochs, by_steps = fitted(SETTINGS), fitted(replace(SETTINGS, steps=120))  # 3 steps an epoch
    np.testing.assert_array_equal(by_epochs.weights["weight"], by_steps.weights["weight"])


def test_a_watch_sees_the_weights_ends_the_training_and_changes_nothing_before():
    seen = {}
    stopped = fitted(BY_STEPS, watch=lambda step, weights: seen.update({step: weights}) or step == 30, watch_every=15)
    assert list(seen) == [15, 30]
    np.testing.assert_array_equal(stopped.weights["weight"], seen[30]["weight"])
    unwatched = fitted(replace(BY_STEPS, steps=30, lr_milestones=()))
    np.testing.assert_array_equal(unwatched.weights["weight"], seen[30]["weight"])
