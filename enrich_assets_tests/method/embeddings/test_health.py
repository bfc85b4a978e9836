"""A collapsed VAE is caught, a trained one passes, and what cannot be asked is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from enrich_assets.method.embeddings.health import active_units, health, same_clip_retrieval
from enrich_assets.method.embeddings.vae import train_vae
from enrich_assets.method.hyperparameters import VaeSettings

SETTINGS = VaeSettings(
    latent=16, channels=8, hidden=32, beta=0.05, learning_rate=2e-3, batch_size=16, max_steps=240, evaluate_every=60
)


def clips_of_blobs(clips=10, frames=6):
    """A blob per clip, in a place of its own, drifting by a pixel a frame."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 30, (clips * frames, 64, 64), dtype=np.uint8)
    clip = np.repeat(np.arange(clips), frames)
    for i, c in enumerate(clip):
        y, x = 6 * (c // 2), 34 * (c % 2)
        images[i, y : y + 10, x + i % frames : x + i % frames + 20] = 230
    return images, clip


@pytest.fixture(scope="module")
def trained():
    images, clip = clips_of_blobs()
    return train_vae(images, clip, SETTINGS, seed=0, device="cpu").weights


def test_a_trained_vae_passes(trained):
    images, clip = clips_of_blobs()
    found = health(trained, images, clip, SETTINGS, device="cpu")
    assert found.passed, found.reasons
    assert found.reasons == ()
    assert found.active_units > 4
    assert found.latent == 16
    assert found.reconstruction_error < 0.8 * found.mean_image_error
    assert found.retrieval_rank1 > 0.7
    assert found.retrieval_chance == pytest.approx(5 / 59)


def test_a_constant_posterior_fails_each_question_and_is_told_what_to_change(trained):
    """The capacity objective met by a constant posterior: same mean for every frame."""
    images, clip = clips_of_blobs()
    heads = [name for name in trained if name.startswith("squeeze.4")]
    collapsed = {k: np.zeros_like(v) if k in heads else v for k, v in trained.items()}
    found = health(collapsed, images, clip, replace(SETTINGS, loss="capacity"), device="cpu")
    assert not found.passed
    assert found.active_units == 0
    assert len(found.reasons) == 3
    assert all("loss: plain" in reason for reason in found.reasons)
    plain = health(collapsed, images, clip, SETTINGS, device="cpu")
    assert all("lower beta (now 0.05)" in reason for reason in plain.reasons)


def test_still_frames_are_not_failed_for_having_no_clip_mates(trained):
    images, _ = clips_of_blobs()
    found = health(trained, images, np.arange(len(images)), SETTINGS, device="cpu")
    assert found.passed
    assert found.retrieval_rank1 is None
    assert found.retrieval_chance is None
    assert "could not be computed" in found.notes[0]


def test_retrieval_by_hand():
    """Two clips of two frames; frame 3 lies nearest to clip a. Chance: one of the three others."""
    means = np.array([[1.0, 0.0], [0.99, 0.1], [0.0, 1.0], [0.9, 0.3]])
    rank1, chance = same_clip_retrieval(means, np.array(["a", "a", "b", "b"]))
    assert rank1 == 0.75  # frames 0 and 1 find each other, frame 2 finds 3; frame 3 finds 1
    assert chance == pytest.approx(1 / 3)


def test_a_unit_is_active_when_its_mean_varies_by_more_than_a_hundredth():
    means = np.array([[0.0, 0.0, 5.0], [0.21, 0.19, 5.0]])  # variances 0.011, 0.009, 0
    assert active_units(means) == 1


def test_health_refuses_clips_that_do_not_fit(trained):
    images, clip = clips_of_blobs()
    with pytest.raises(ValueError, match="a clip for each"):
        health(trained, images, clip[:-1], SETTINGS)
