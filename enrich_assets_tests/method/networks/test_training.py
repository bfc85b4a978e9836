"""The one loop under both networks: it fits whatever network and loss it is given."""

from __future__ import annotations

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
