"""Estimating the VAE's training: real steps by the clock that is handed in."""

from __future__ import annotations

from itertools import count

import pytest

from enrich_assets.method.embeddings.cost import STEPS, vae_seconds_per_step
from enrich_assets.method.hyperparameters import VaeSettings


def test_a_second_for_three_steps_of_the_vae() -> None:
    ticks = count()
    settings = VaeSettings(channels=4, batch_size=4)
    assert vae_seconds_per_step(settings, lambda: float(next(ticks)), "cpu") == pytest.approx(1 / STEPS)
