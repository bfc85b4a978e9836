"""Foretelling a training: real steps, counted in frames, by the clock that is handed in."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from enrich_assets.method.hyperparameters import ClassifierSettings, SegmenterSettings, VaeSettings
from enrich_assets.method.networks.cost import STEPS, seconds_per_frame, vae_seconds_per_step


def ticking() -> Callable[[], float]:
    """A clock that is a second further at each look."""
    ticks = count()
    return lambda: float(next(ticks))


@pytest.mark.parametrize(
    "settings",
    [
        ClassifierSettings(widths=(4, 4, 8, 8), dense=8, batch_size=5, epochs=99, min_steps=99),
        SegmenterSettings(channels=(4, 8), batch_size=5, epochs=99, min_steps=99),
    ],
)
def test_a_second_for_three_batches_is_shared_by_their_frames(
    settings: ClassifierSettings | SegmenterSettings,
) -> None:
    assert seconds_per_frame(settings, 32, 3, ticking(), "cpu") == pytest.approx(1 / (STEPS * 5))


def test_a_second_for_three_steps_of_the_vae() -> None:
    settings = VaeSettings(channels=4, batch_size=4)
    assert vae_seconds_per_step(settings, ticking(), "cpu") == pytest.approx(1 / STEPS)
