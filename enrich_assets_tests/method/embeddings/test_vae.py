"""The VAE's losses by hand, its early stopping, and embeddings that do not depend on company."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from enrich_assets.method.embeddings.beta_vae import BetaVae, objective, vae_losses
from enrich_assets.method.embeddings.vae import (
    best_evaluation,
    embed,
    finished,
    hold_out,
    reconstruct,
    train_vae,
)
from enrich_assets.method.hyperparameters import VaeSettings

TINY = VaeSettings(
    latent=8,
    channels=4,
    hidden=16,
    beta=0.1,
    learning_rate=2e-3,
    batch_size=8,
    max_steps=12,
    evaluate_every=4,
    patience=3,
)


def blobs(patients=4, frames=10, seed=0):
    """Each patient has a bright blob in a place of its own, drifting by a pixel a frame."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 40, (patients * frames, 64, 64), dtype=np.uint8)
    patient = np.repeat(np.arange(patients), frames)
    for i, p in enumerate(patient):
        y, x = 8 + (11 * p) % 40, 8 + (17 * p) % 40
        images[i, y : y + 16, x + i % frames : x + i % frames + 16] = 200
    return images, patient


def test_the_model_is_the_one_of_burgess_with_128_units():
    model = BetaVae()
    convolutions = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size, c.stride) for c in convolutions] == [(32, (4, 4), (2, 2))] * 4
    assert [layer.out_features for layer in model.squeeze if isinstance(layer, torch.nn.Linear)] == [256, 256, 256]
    logits, mean, log_variance = model(torch.rand(2, 1, 64, 64))
    assert logits.shape == (2, 1, 64, 64)
    assert mean.shape == log_variance.shape == (2, 128)


def test_losses_by_hand():
    """Logit 0 costs ln 2 a pixel; N(1, 1) is half a nat from N(0, 1); N(0, e^2) is (e^2 - 3) / 2."""
    x = torch.full((2, 1, 3, 3), 0.3)
    reconstruction, kl = vae_losses(torch.zeros_like(x), x, torch.ones(2, 5), torch.zeros(2, 5))
    assert float(reconstruction) == pytest.approx(9 * math.log(2))
    assert float(kl) == pytest.approx(5 * 0.5)
    _, wide = vae_losses(torch.zeros_like(x), x, torch.zeros(2, 1), torch.full((2, 1), 2.0))
    assert float(wide) == pytest.approx((math.exp(2) - 3) / 2)


def test_the_two_objectives():
    reconstruction, kl = torch.tensor(100.0), torch.tensor(10.0)
    assert float(objective(reconstruction, kl, 0, VaeSettings(beta=2.0))) == 120
    rising = VaeSettings(loss="capacity", gamma=1000, capacity=25, capacity_steps=100)
    assert float(objective(reconstruction, kl, 0, rising)) == 100 + 1000 * 10
    assert float(objective(reconstruction, kl, 40, rising)) == 100  # C has reached 10
    assert float(objective(reconstruction, kl, 500, rising)) == 100 + 1000 * 15  # and stays at 25


def test_no_frame_of_a_held_out_patient_is_trained_on():
    images, patients = blobs()
    trained = train_vae(images, patients, TINY, seed=0, device="cpu")
    assert len(trained.held_out_patients) == 1
    assert not np.isin(patients[trained.trained_on], trained.held_out_patients).any()
    assert len(trained.trained_on) == 30
    few = train_vae(images, patients, replace(TINY, train_frames=7), seed=0, device="cpu")
    assert len(few.trained_on) == 7
    assert few.held_out_patients.tolist() == trained.held_out_patients.tolist()


def test_held_out_patients_are_a_share_of_patients_and_never_all():
    patients = np.array([f"P{i // 3}" for i in range(60)])
    chosen, mask = hold_out(patients, replace(TINY, held_out_share=0.25), seed=1)
    assert len(chosen) == 5
    assert mask.sum() == 15
    assert len(hold_out(patients[:6], replace(TINY, held_out_share=0.99), seed=1)[0]) == 1
    with pytest.raises(ValueError, match="at least two"):
        hold_out(patients[:3], TINY, seed=1)


def test_training_stops_when_the_held_out_loss_has_not_improved_for_so_many_evaluations():
    settings = replace(TINY, max_steps=1000, patience=2)
    evaluations = [{"step": 4.0 * i, "held_out_loss": loss} for i, loss in enumerate([5, 3, 4, 3, 2], start=1)]
    assert [finished(evaluations[:i], settings) for i in range(5)] == [False, False, False, False, True]
    assert best_evaluation(evaluations[:4]) == 1
    assert finished([{"step": 1000.0, "held_out_loss": 1.0}], settings)


def test_the_best_weights_are_kept_not_the_last():
    images, patients = blobs()
    wild = replace(TINY, learning_rate=0.3, max_steps=16, patience=4)  # diverges after a good start
    trained = train_vae(images, patients, wild, seed=0, device="cpu")
    losses = {int(entry["step"]): entry["held_out_loss"] for entry in trained.history}
    assert trained.best_step == min(losses, key=losses.__getitem__)
    until_best = train_vae(images, patients, replace(wild, max_steps=trained.best_step), seed=0, device="cpu")
    for name, value in trained.weights.items():
        np.testing.assert_array_equal(value, until_best.weights[name])


def test_the_same_seed_gives_the_same_vae_and_a_resumed_one_too():
    images, patients = blobs()
    checkpoints: list[bytes] = []
    seen: list[int] = []
    one = train_vae(images, patients, TINY, seed=5, device="cpu", save=checkpoints.append)
    two = train_vae(
        images, patients, TINY, seed=5, device="cpu", resume=checkpoints[0], progress=lambda d, t, m: seen.append(d)
    )
    assert seen == [8, 12]
    assert one.history == two.history
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, two.weights[name])
    with pytest.raises(ValueError, match="other settings"):
        train_vae(images, patients, TINY, seed=6, device="cpu", resume=checkpoints[0])


def test_a_frames_vector_does_not_depend_on_the_frames_beside_it():
    """Alone, in another order, in a portion of any length: the same bits, so the same fixed-point vector."""
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (300, 64, 64), dtype=np.uint8)
    settings = VaeSettings()
    torch.manual_seed(0)
    weights = {k: v.numpy() for k, v in BetaVae().state_dict().items()}
    together = embed(weights, frames, settings, device="cpu")
    assert together.shape == (300, 128)
    assert together.dtype == np.float32
    alone = np.concatenate([embed(weights, frames[i : i + 1], settings, device="cpu") for i in (0, 17, 256, 299)])
    np.testing.assert_array_equal(alone, together[[0, 17, 256, 299]])
    order = generator.permutation(300)
    np.testing.assert_array_equal(embed(weights, frames[order], settings, device="cpu"), together[order])
    np.testing.assert_array_equal(embed(weights, frames[100:271], settings, device="cpu"), together[100:271])


def test_reconstructions_are_pixels_between_0_and_1():
    images, patients = blobs()
    trained = train_vae(images, patients, TINY, seed=0, device="cpu")
    remade = reconstruct(trained.weights, images[:3], TINY, device="cpu")
    assert remade.shape == (3, 64, 64)
    assert remade.dtype == np.float32
    assert remade.min() >= 0
    assert remade.max() <= 1


def test_what_does_not_fit_is_refused_at_the_door():
    images, patients = blobs()
    with pytest.raises(ValueError, match="64, 64"):
        train_vae(images[:, :32], patients, TINY, seed=0)
    with pytest.raises(ValueError, match="patients"):
        train_vae(images, patients[:-1], TINY, seed=0)
    with pytest.raises(ValueError, match="held_out_share"):
        train_vae(images, patients, replace(TINY, held_out_share=1.0), seed=0)
    weights = {k: v.numpy() for k, v in BetaVae(8, 4, 16).state_dict().items()}
    with pytest.raises(ValueError, match="do not fit"):
        embed(weights, images, VaeSettings())
