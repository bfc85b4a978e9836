"""A collapsed VAE is caught, a trained one passes, and what cannot be judged stands in the notes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from enrich_assets.method.embeddings.health import HealthMeasures, judge, measure, same_clip_retrieval
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


@pytest.fixture(scope="module")
def measured(trained):
    return measure(trained, *clips_of_blobs(), SETTINGS, device="cpu")


@pytest.fixture(scope="module")
def of_a_collapse(trained):
    """A constant posterior: the same mean for every frame."""
    heads = [name for name in trained if name.startswith("squeeze.4")]
    collapsed = {k: np.zeros_like(v) if k in heads else v for k, v in trained.items()}
    return measure(collapsed, *clips_of_blobs(), SETTINGS, device="cpu")


def test_a_trained_vae_passes(measured):
    verdict = judge(measured, SETTINGS)
    assert verdict.passed, verdict.reasons
    assert verdict.reasons == ()
    assert verdict.active_units > 4
    assert measured.latent == 16
    assert measured.reconstruction_error < 0.8 * measured.mean_image_error
    assert measured.retrieval_rank1 > 0.7
    assert measured.retrieval_chance == pytest.approx(5 / 59)
    assert measured.n_frames == 60


def test_a_constant_posterior_fails_by_its_units_and_each_sentence_says_what_to_change(of_a_collapse):
    verdict = judge(of_a_collapse, replace(SETTINGS, loss="capacity"))
    assert not verdict.passed
    assert verdict.active_units == 0
    assert len(verdict.reasons) == 1
    assert len(verdict.warnings) == 2
    assert all("loss: plain" in sentence for sentence in (*verdict.reasons, *verdict.warnings))
    plain = judge(of_a_collapse, SETTINGS)
    assert all("lower beta (now 0.05)" in sentence for sentence in (*plain.reasons, *plain.warnings))


def test_what_is_poor_but_no_collapse_warns_and_blocks_nothing(measured):
    """566 slices of cine MRI were refused outright: nearest slices of the same clip 0 %, of the same patient 100 %."""
    poor = replace(measured, reconstruction_error=measured.mean_image_error, retrieval_rank1=0.0, retrieval_chance=0.02)
    verdict = judge(poor, SETTINGS)
    assert verdict.passed
    assert verdict.reasons == ()
    assert len(verdict.warnings) == 2


def test_a_threshold_moves_without_the_weights(measured, of_a_collapse):
    """Measures read back from JSON are judged as those just taken, and each threshold decides its own question."""
    for measures in (measured, of_a_collapse):
        stored = HealthMeasures.from_json(json.loads(json.dumps({**measures.to_json(), "device": "cpu"})))
        assert stored == measures
        assert judge(stored, SETTINGS) == judge(measures, SETTINGS)
    for threshold, word in (
        ({"min_active_share": 0.6}, "only 8 of 16 units are active, 10 are needed"),
        ({"max_error_ratio": 0.001}, "reconstruction error"),
        ({"min_retrieval_ratio": 1e9}, None),  # asks for half the way from chance to 1 at most, which these blobs pass
    ):
        half_active = replace(measured, unit_variances=(0.0,) * 8 + (1.0,) * 8)
        assert judge(half_active, SETTINGS).passed
        verdict = judge(half_active, replace(SETTINGS, **threshold))
        assert [word in sentence for sentence in (*verdict.reasons, *verdict.warnings)] == ([True] if word else [])
        assert verdict.passed == ("min_active_share" not in threshold)
    lenient = replace(SETTINGS, min_active_share=0.0, max_error_ratio=9.0, min_retrieval_ratio=0.0)
    assert [reason.split(",")[0] for reason in judge(of_a_collapse, lenient).reasons] == [
        "only 0 of 16 units are active"
    ]  # none active is never healthy


def test_thresholds_and_what_the_weights_depend_on_are_apart():
    moved = replace(SETTINGS, min_active_share=0.5, max_error_ratio=0.5, min_retrieval_ratio=9.0)
    assert moved.training_fields() == SETTINGS.training_fields()
    assert moved.health_fields() == {"min_active_share": 0.5, "max_error_ratio": 0.5, "min_retrieval_ratio": 9.0}
    assert replace(SETTINGS, beta=0.1).training_fields() != SETTINGS.training_fields()
    assert VaeSettings(**moved.training_fields(), **moved.health_fields()) == moved


def test_a_threshold_may_move_while_the_vae_trains():
    images, clip = clips_of_blobs(4, 3)
    short = replace(SETTINGS, max_steps=4, evaluate_every=2)
    checkpoints: list[bytes] = []
    whole = train_vae(images, clip, short, seed=0, device="cpu", save=checkpoints.append)
    moved = replace(short, min_active_share=0.9)
    resumed = train_vae(images, clip, moved, seed=0, device="cpu", resume=checkpoints[0])
    assert resumed.history == whole.history


def test_judging_needs_no_torch():
    code = "import sys, enrich_assets.method.embeddings.health; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_reconstruction_that_is_no_number_fails(measured):
    verdict = judge(replace(measured, reconstruction_error=float("nan")), SETTINGS)
    assert not verdict.passed


def test_still_frames_are_not_failed_for_having_no_clip_mates(trained):
    images, _ = clips_of_blobs()
    measures = measure(trained, images, np.arange(len(images)), SETTINGS, device="cpu")
    verdict = judge(measures, SETTINGS)
    assert verdict.passed
    assert measures.retrieval_rank1 is None
    assert measures.retrieval_chance is None
    assert "could not be computed" in verdict.notes[0]


def test_retrieval_by_hand():
    """Two clips of two frames; frame 3 lies nearest to clip a. Chance: one of the three others."""
    means = np.array([[1.0, 0.0], [0.99, 0.1], [0.0, 1.0], [0.9, 0.3]])
    rank1, chance = same_clip_retrieval(means, np.array(["a", "a", "b", "b"]))
    assert rank1 == 0.75  # frames 0 and 1 find each other, frame 2 finds 3; frame 3 finds 1
    assert chance == pytest.approx(1 / 3)


def test_a_unit_is_active_when_its_mean_varies_by_more_than_a_hundredth(measured):
    """Means 0 and 0.21, 0 and 0.19, 5 and 5: variances 0.011, 0.009, 0."""
    means = np.array([[0.0, 0.0, 5.0], [0.21, 0.19, 5.0]])
    assert judge(replace(measured, unit_variances=tuple(means.var(axis=0))), SETTINGS).active_units == 1
    assert judge(replace(measured, unit_variances=(0.01, 0.0100001)), SETTINGS).active_units == 1


def test_health_refuses_clips_that_do_not_fit(trained):
    images, clip = clips_of_blobs()
    with pytest.raises(ValueError, match="a clip for each"):
        measure(trained, images, clip[:-1], SETTINGS)
