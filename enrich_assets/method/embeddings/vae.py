"""The VAE that gives a frame its vector: training with early stopping, embedding, reconstruction.

The network and its loss are in `beta_vae`. Whether a trained one is worth using is the question of `health`; turning
means into fixed-point unit vectors is that of `fixed_point`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from enrich_assets.method.device import pick
from enrich_assets.method.embeddings.beta_vae import SIDE, BetaVae, as_input, objective, vae_losses
from enrich_assets.method.hyperparameters import VaeSettings
from enrich_assets.method.networks.checkpoint import Checkpoint, fingerprint
from enrich_assets.method.networks.repeatable import (
    EPOCH,
    HELD_OUT,
    as_frames,
    build,
    derived_seed,
    device_name,
    load_arrays,
    mixed_precision,
    placed,
    repeatable,
    resident,
    state_arrays,
)
from enrich_assets.method.networks.schedule import chunks
from enrich_assets.method.networks.trained import Progress, Save, Trained
from enrich_assets.method.networks.training import adam

EMBEDDING_BATCH = 256
HELD_OUT_FRAMES = 1024  # at most; enough for a loss, and an evaluation stays cheap


@dataclass(frozen=True)
class TrainedVae(Trained):
    """Weights of the best evaluation on the held-out patients, and how the training went.

    Attributes
    ----------
    weights, device
        As of every `Trained`.
    history : list of dict
        One entry per evaluation: step, loss, reconstruction, kl (means over the steps since the last one) and
        held_out_loss, held_out_reconstruction, held_out_kl; nats per frame.
    best_step : int
        Step at which the weights were taken.
    held_out_patients : (k,) of any type
        Their ids, as given.
    trained_on : (m,) int64
        Positions of the frames trained on.
    """

    best_step: int
    held_out_patients: NDArray[Any]
    trained_on: NDArray[np.int64]


def hold_out(patients: NDArray[Any], settings: VaeSettings, seed: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Patients kept from the training, drawn by the seed, and the mask of their frames.

    Parameters
    ----------
    patients : (n,) ids of any type
        One per frame.
    settings : VaeSettings
        Of which `held_out_share`.
    seed : int

    Returns
    -------
    held_out : (k,) ids, ascending
    is_held_out : (n,) bool

    Raises
    ------
    ValueError
        With fewer than two patients.
    """
    known = np.unique(patients)
    if len(known) < 2:
        raise ValueError(f"the VAE stops by held-out patients and needs at least two; these frames are of {len(known)}")
    count = min(len(known) - 1, max(1, round(settings.held_out_share * len(known))))
    chosen = np.sort(np.random.default_rng(derived_seed(seed, HELD_OUT)).choice(known, count, replace=False))
    return chosen, np.isin(patients, chosen)


def checked_frames(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frames as C-ordered (n, 64, 64) uint8, or a ValueError that says what came instead."""
    frames = as_frames(frames, "frames")
    if frames.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"frames must be (n, {SIDE}, {SIDE}), not {frames.shape}")
    return frames


def train_vae(
    frames: NDArray[np.uint8],
    patients: NDArray[Any],
    settings: VaeSettings | None = None,
    *,
    seed: int,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    resume: bytes | None = None,
    save: Save | None = None,
) -> TrainedVae:
    """Train on some patients, stop by others, keep the best.

    Parameters
    ----------
    frames : (n, 64, 64) uint8
    patients : (n,) ids of any type
        One per frame.
    settings : VaeSettings, optional
        The paper's by default. Its health thresholds play no part.
    seed : int
        Of start weights, held-out patients, order and noise.
    device : str or torch.device, optional
        None: CUDA where there is one.
    progress : callable, optional
        Called at each evaluation on the held-out patients with (steps done, max_steps, losses).
    resume, save : bytes and callable, optional
        `save` is called with a checkpoint at each evaluation; `resume` is such a checkpoint, and the result is that of
        the uninterrupted training.

    Returns
    -------
    TrainedVae

    Raises
    ------
    ValueError
        On what does not fit, with fewer than two patients, or on a checkpoint of another training.
    FloatingPointError
        When a loss is no longer finite.
    """
    settings = settings or VaeSettings()
    if not 0 < settings.held_out_share < 1:
        raise ValueError(f"held_out_share must lie between 0 and 1, not {settings.held_out_share}")
    frames = checked_frames(frames)
    patients = np.asarray(patients)
    if patients.shape != frames.shape[:1]:
        raise ValueError(f"{len(frames)} frames but patients {patients.shape}")
    made_of = fingerprint(settings.training_fields(), seed, frames, patients.astype(str)) if resume or save else ""
    held_out_patients, is_held_out = hold_out(patients, settings, seed)
    generator = np.random.default_rng(derived_seed(seed, HELD_OUT, 1))
    trained_on = np.flatnonzero(~is_held_out)
    trained_on = np.sort(generator.permutation(trained_on)[: settings.train_frames])
    watched = np.sort(generator.permutation(np.flatnonzero(is_held_out))[:HELD_OUT_FRAMES])
    place = pick(device)
    with repeatable(place):
        model = build(lambda: BetaVae(settings.latent, settings.channels, settings.hidden), seed, place)
        optimizer = adam(model, settings.learning_rate)
        x, held_out = resident(frames[trained_on], place), resident(frames[watched], place)
        history: list[dict[str, float]] = []
        best: dict[str, NDArray[Any]] = {}
        if resume is not None:
            checkpoint = Checkpoint.decode(resume)
            checkpoint.restore(model, optimizer, made_of)
            history = checkpoint.history
            best = {k: v.numpy() for k, v in checkpoint.best.items()}
        while not finished(history, settings):
            done = int(history[-1]["step"]) if history else 0
            steps = min(settings.evaluate_every, settings.max_steps - done)
            entry = {"step": float(done + steps)}
            entry |= train_some(model, optimizer, x, done, steps, settings, seed)
            entry |= evaluate_held_out(model, held_out, done + steps, settings, seed)
            if not math.isfinite(entry["loss"] + entry["held_out_loss"]):
                raise FloatingPointError(f"the loss is not finite after {done + steps} steps; lower the learning rate")
            history.append(entry)
            if best_evaluation(history) == len(history) - 1:
                best = state_arrays(model)
            if save is not None:
                save(Checkpoint.of(model, optimizer, len(history), made_of, history, best).encode())
            if progress is not None:
                progress(done + steps, settings.max_steps, {k: v for k, v in entry.items() if k != "step"})
    best_step = int(history[best_evaluation(history)]["step"])
    return TrainedVae(best, history, device_name(place), best_step, held_out_patients, trained_on)


def best_evaluation(history: list[dict[str, float]]) -> int:
    """Position of the first entry with the least held-out loss."""
    return min(range(len(history)), key=lambda i: history[i]["held_out_loss"])


def finished(history: list[dict[str, float]], settings: VaeSettings) -> bool:
    """Whether all steps are taken, or `patience` evaluations brought no better held-out loss."""
    if not history:
        return False
    waited = len(history) - 1 - best_evaluation(history)
    return int(history[-1]["step"]) >= settings.max_steps or waited >= settings.patience


def train_some(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    done: int,
    steps: int,
    settings: VaeSettings,
    seed: int,
) -> dict[str, float]:
    """`steps` batches without replacement within a pass; mean losses over them."""
    pass_seed = derived_seed(seed, EPOCH, done)
    generator = np.random.default_rng(pass_seed)
    torch.manual_seed(pass_seed)
    n, b = len(x), min(settings.batch_size, len(x))
    whole = n // b  # batches in a pass; the rest of a pass sits out, another rest each time
    passes = [generator.permutation(n)[: whole * b] for _ in range(math.ceil(steps / whole))]
    order = torch.from_numpy(np.concatenate(passes)).to(x.device)
    sums = torch.zeros(3, device=x.device)
    model.train()
    for i in range(steps):
        batch = as_input(x[order[i * b : (i + 1) * b]])
        with mixed_precision(x.device):
            logits, mean, log_variance = model(batch)
        reconstruction, kl = vae_losses(logits, batch, mean, log_variance)
        loss = objective(reconstruction, kl, done + i, settings)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        sums += torch.stack([loss.detach(), reconstruction.detach(), kl.detach()])
    loss_mean, reconstruction_mean, kl_mean = (sums / steps).tolist()
    return {"loss": loss_mean, "reconstruction": reconstruction_mean, "kl": kl_mean}


@torch.inference_mode()
def evaluate_held_out(
    model: nn.Module, frames: Tensor, step: int, settings: VaeSettings, seed: int
) -> dict[str, float]:
    """The objective over the held-out frames, with the same noise each time so that evaluations compare."""
    torch.manual_seed(derived_seed(seed, HELD_OUT, 2))
    model.eval()
    sums = torch.zeros(2, device=frames.device)
    for a, b in chunks(len(frames), EMBEDDING_BATCH):
        batch = as_input(frames[a:b])
        logits, mean, log_variance = model(batch)
        sums += torch.stack(vae_losses(logits, batch, mean, log_variance)) * (b - a)
    reconstruction, kl = sums / len(frames)
    loss = objective(reconstruction, kl, step, settings)
    return {
        "held_out_loss": float(loss),
        "held_out_reconstruction": float(reconstruction),
        "held_out_kl": float(kl),
    }


def ready(weights: dict[str, Any], settings: VaeSettings, device: torch.device) -> BetaVae:
    """The model with these weights, on the device, for use; ValueError when they do not fit the settings."""
    model = BetaVae(settings.latent, settings.channels, settings.hidden)
    placed(load_arrays(model, weights), device).eval()
    return model


@torch.inference_mode()
def embed(
    weights: dict[str, Any],
    frames: NDArray[np.uint8],
    settings: VaeSettings | None = None,
    *,
    device: str | torch.device | None = None,
    batch: int = EMBEDDING_BATCH,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The bottleneck's means, not normalised.

    Parameters
    ----------
    weights : dict of str to ndarray
        Of a `TrainedVae`.
    frames : (n, 64, 64) uint8
    settings : VaeSettings, optional
        Those of the training; the paper's by default.
    device : str or torch.device, optional
        None: CUDA where there is one.
    batch : int
        Frames at a time.
    progress : callable, optional
        Called after each batch with (frames done, n, {}).

    Returns
    -------
    (n, latent) float32

    Raises
    ------
    ValueError
        When weights, settings and frames do not fit together.

    Notes
    -----
    Every batch has the same size (the last is filled up with black frames), because kernels, and with them
    the order of sums, are chosen by size: so a frame's vector on one machine does not depend on which
    frames it is embedded with, and a new batch of studies gets the vectors it would have had in the first.
    """
    settings = settings or VaeSettings()
    frames = checked_frames(frames)
    place = pick(device)
    means = np.empty((len(frames), settings.latent), np.float32)
    with repeatable(place):
        model = ready(weights, settings, place)
        filled = np.zeros((batch, SIDE, SIDE), np.uint8)
        for a, b in chunks(len(frames), batch):
            filled[: b - a] = frames[a:b]
            filled[b - a :] = 0
            mean, _ = model.encode(as_input(resident(filled, place)))
            means[a:b] = mean[: b - a].cpu().numpy()
            if progress is not None:
                progress(b, len(frames), {})
    return means


@torch.inference_mode()
def reconstruct(
    weights: dict[str, Any],
    frames: NDArray[np.uint8],
    settings: VaeSettings | None = None,
    *,
    device: str | torch.device | None = None,
) -> NDArray[np.float32]:
    """What the decoder makes of each frame's mean.

    Parameters
    ----------
    weights, frames, settings, device
        As of `embed`.

    Returns
    -------
    (n, 64, 64) float32
        Pixels in 0..1.

    Raises
    ------
    ValueError
        When weights, settings and frames do not fit together.
    """
    settings = settings or VaeSettings()
    frames = checked_frames(frames)
    place = pick(device)
    result = np.empty(frames.shape, np.float32)
    with repeatable(place):
        model = ready(weights, settings, place)
        for a, b in chunks(len(frames), EMBEDDING_BATCH):
            mean, _ = model.encode(as_input(resident(frames[a:b], place)))
            result[a:b] = torch.sigmoid(model.decode(mean)).squeeze(1).cpu().numpy()
    return result
