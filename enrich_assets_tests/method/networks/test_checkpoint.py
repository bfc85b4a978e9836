"""A checkpoint holds all that the next step depends on, and belongs to one training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from enrich_assets.method.networks.checkpoint import Checkpoint, fingerprint
from enrich_assets.method.networks.repeatable import placed
from enrich_assets.method.networks.training import adam

CPU = torch.device("cpu")


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
    data = Checkpoint.of(model, optimizer, 0, "one training", []).encode()
    with pytest.raises(ValueError, match="other settings"):
        Checkpoint.decode(data).restore(model, optimizer, "another")
    with pytest.raises(ValueError, match="not a training checkpoint"):
        Checkpoint.decode(data[: len(data) // 2])


def test_the_fingerprint_sees_one_changed_pixel():
    images = np.zeros((3, 4, 4), np.uint8)
    before = fingerprint("settings", images)
    images[1, 2, 3] = 1
    assert fingerprint("settings", images) != before
