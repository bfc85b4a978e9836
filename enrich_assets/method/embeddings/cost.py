"""What training the VAE would cost on this machine, estimated from a few real steps on noise. No clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from enrich_assets.method.embeddings.beta_vae import SIDE
from enrich_assets.method.embeddings.vae import train_vae
from enrich_assets.method.hyperparameters import VaeSettings

STEPS = 3


def vae_seconds_per_step(settings: VaeSettings, clock: Callable[[], float], device: str | None = None) -> float:
    """Seconds for each step of the VAE's training, its evaluations included.

    Parameters
    ----------
    settings : VaeSettings
    clock : callable
        Seconds since any moment, as `time.perf_counter`.
    device : str, optional
        None: CUDA where there is one.
    """
    short = replace(settings, max_steps=STEPS, evaluate_every=STEPS)
    frames = np.random.default_rng(0).integers(0, 256, (STEPS * short.batch_size, SIDE, SIDE), np.uint8)
    patients = np.arange(len(frames)) % 10
    train_vae(frames, patients, replace(short, max_steps=1, evaluate_every=1), seed=0, device=device)  # loads libraries
    began = clock()
    train_vae(frames, patients, short, seed=0, device=device)
    return (clock() - began) / STEPS
