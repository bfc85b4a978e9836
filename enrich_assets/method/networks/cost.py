"""What training would cost on this machine, foretold from a few real steps on noise. No clock of its own: hand one in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from enrich_assets.method.embeddings.vae import SIDE, train_vae
from enrich_assets.method.hyperparameters import ClassifierSettings, SegmenterSettings, VaeSettings
from enrich_assets.method.networks.classification import train_classifier
from enrich_assets.method.networks.segmentation import train_segmenter

Clock = Callable[[], float]
STEPS = 3


def seconds_per_frame(
    settings: ClassifierSettings | SegmenterSettings, side: int, n_classes: int, clock: Clock, device: str | None = None
) -> float:
    """Seconds for each time a frame of side x side pixels is shown to the network in training."""
    rng = np.random.default_rng(0)
    short = replace(settings, epochs=1, min_steps=0, drops=())
    n = STEPS * short.batch_size
    images = rng.integers(0, 256, (n, side, side), np.uint8)

    def train(images: np.ndarray) -> None:
        if isinstance(short, ClassifierSettings):
            train_classifier(images, np.arange(len(images)) % n_classes, n_classes, short, seed=0, device=device)
        else:
            train_segmenter(images, images % n_classes, n_classes, short, seed=0, device=device)

    train(images[: short.batch_size])  # libraries loaded, memory found
    return _seconds(clock, lambda: train(images)) / n


def vae_seconds_per_step(settings: VaeSettings, clock: Clock, device: str | None = None) -> float:
    """Seconds for each step of the VAE's training, its evaluations included."""
    short = replace(settings, max_steps=STEPS, evaluate_every=STEPS)
    frames = np.random.default_rng(0).integers(0, 256, (STEPS * short.batch_size, SIDE, SIDE), np.uint8)
    patients = np.arange(len(frames)) % 10

    def train(settings: VaeSettings) -> None:
        train_vae(frames, patients, settings, seed=0, device=device)

    train(replace(short, max_steps=1, evaluate_every=1))
    return _seconds(clock, lambda: train(short)) / STEPS


def _seconds(clock: Clock, work: Callable[[], object]) -> float:
    began = clock()
    work()
    return clock() - began
