"""The beta-VAE that gives a frame its vector: model, training with early stopping, embedding, reconstruction.

After Burgess et al., "Understanding disentangling in beta-VAE", arXiv 1804.03599 (appendix A), with
ENRICH's 128 latent units. Whether a trained one is worth using is `vae_health`'s question; turning means
into fixed-point unit vectors is `embedding`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from enrich_assets.method.device import pick
from enrich_assets.method.hyperparameters import VaeSettings
from enrich_assets.method.networks.training import (
    EPOCH,
    HELD_OUT,
    Checkpoint,
    Progress,
    Save,
    TrainedModel,
    adam,
    as_frames,
    build,
    chunks,
    derived_seed,
    device_name,
    fingerprint,
    load_arrays,
    mixed_precision,
    placed,
    repeatable,
    resident,
    state_arrays,
)

SIDE = 64  # frames are 64x64, as in the paper
EMBEDDING_BATCH = 256
START_LOG_VARIANCE = -4.0
HELD_OUT_FRAMES = 1024  # at most; enough for a loss, and an evaluation stays cheap


@dataclass(frozen=True)
class TrainedVae(TrainedModel):
    """Weights of the best look at the held-out patients, and how the training went.

    history: one entry per look: step, loss, reconstruction, kl (means over the steps since the last look) and
    held_out_loss, held_out_reconstruction, held_out_kl; nats per frame.
    """

    best_step: int
    held_out_patients: NDArray[Any]  # their ids, as given
    trained_on: NDArray[np.int64]  # indices of the frames trained on


class BetaVae(nn.Module):
    """(b, 1, 64, 64) in 0..1 -> logits of the pixels, mean and log-variance of the bottleneck."""

    def __init__(self, latent: int = 128, channels: int = 32, hidden: int = 256) -> None:
        super().__init__()
        c, flat = channels, channels * 4 * 4
        self.channels = channels
        halvings: list[nn.Module] = []
        for c_in in (1, c, c, c):
            halvings += [nn.Conv2d(c_in, c, 4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*halvings)
        self.squeeze = nn.Sequential(
            nn.Linear(flat, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * latent),
        )
        self.expand = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, flat),
        )
        doublings: list[nn.Module] = []
        for c_out in (c, c, c, 1):
            doublings += [nn.ReLU(), nn.ConvTranspose2d(c, c_out, 4, stride=2, padding=1)]
        self.decoder = nn.Sequential(*doublings)
        self.start()

    def start(self) -> None:
        """Draw start weights with which learning starts at once.

        Torch's default shrinks the signal layer by layer, and the training idles for hundreds of steps at
        the mean image with a constant posterior (measured on the lung clips); He et al. 2015 keeps the
        variance. The posterior starts narrow, so that the decoder first hears the image and not the noise.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            elif isinstance(layer, nn.ConvTranspose2d):
                # An output pixel of a 4x4 kernel at stride 2 sums over 2x2 taps of each channel.
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.in_channels * 4)))
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        heads = self.squeeze[-1]
        assert isinstance(heads, nn.Linear)
        latent = heads.out_features // 2
        with torch.no_grad():
            heads.weight[latent:] *= 0.1
            heads.bias[latent:] = START_LOG_VARIANCE

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.encoder(x)  # (b, 32, 32, 32) -> (b, 32, 16, 16) -> (b, 32, 8, 8) -> (b, 32, 4, 4)
        y = self.squeeze(y.flatten(1))  # (b, 512) -> (b, 256) -> (b, 256) -> (b, 256)
        mean, log_variance = y.chunk(2, dim=1)  # (b, 128) each
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        y = self.expand(z).view(-1, self.channels, 4, 4)  # (b, 128) -> (b, 32, 4, 4)
        return self.decoder(y.contiguous(memory_format=torch.channels_last))  # -> (b, 1, 64, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decode(z), mean, log_variance


def vae_losses(logits: Tensor, x: Tensor, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruction (Bernoulli, summed over the pixels) and KL from N(0, 1): nats per frame, 0-d."""
    b = x.shape[0]
    reconstruction = F.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum") / b
    mean, log_variance = mean.float(), log_variance.float()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / b
    return reconstruction, kl


def objective(reconstruction: Tensor, kl: Tensor, step: int, settings: VaeSettings) -> Tensor:
    """What is minimised. `capacity` is equation 8 of Burgess et al. with C rising linearly."""
    if settings.loss == "plain":
        return reconstruction + settings.beta * kl
    capacity = settings.capacity * min(1.0, step / settings.capacity_steps)
    return reconstruction + settings.gamma * (kl - capacity).abs()


def hold_out(patients: NDArray[Any], settings: VaeSettings, seed: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Patients kept from the training, drawn by the seed, and the mask of their frames.

    Raises ValueError with fewer than two patients.
    """
    known = np.unique(patients)
    if len(known) < 2:
        raise ValueError(f"the VAE stops by held-out patients and needs at least two; these frames are of {len(known)}")
    count = min(len(known) - 1, max(1, round(settings.held_out_share * len(known))))
    chosen = np.sort(np.random.default_rng(derived_seed(seed, HELD_OUT)).choice(known, count, replace=False))
    return chosen, np.isin(patients, chosen)


def as_input(frames: Tensor) -> Tensor:
    """(b, 64, 64) uint8 -> (b, 1, 64, 64) float32 in 0..1."""
    return (frames.to(torch.float32) / 255).unsqueeze(1).contiguous(memory_format=torch.channels_last)


def door(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
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

    frames: (n, 64, 64) uint8.   patients: (n,) ids of any kind.   settings: None for the paper's.
    progress: (steps done, max_steps, losses), at each look at the held-out patients.   save: called with a
    checkpoint at each look; resume: such a checkpoint (the result is that of the uninterrupted training).
    Raises ValueError on what does not fit, with fewer than two patients, or on a checkpoint of another
    training.
    """
    settings = settings or VaeSettings()
    if not 0 < settings.held_out_share < 1:
        raise ValueError(f"held_out_share must lie between 0 and 1, not {settings.held_out_share}")
    frames = door(frames)
    patients = np.asarray(patients)
    if patients.shape != frames.shape[:1]:
        raise ValueError(f"{len(frames)} frames but patients {patients.shape}")
    made_of = fingerprint(settings, seed, frames, patients.astype(str)) if resume or save else ""
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
            entry |= look_at_held_out(model, held_out, done + steps, settings, seed)
            if not math.isfinite(entry["loss"] + entry["held_out_loss"]):
                raise FloatingPointError(f"the loss is not finite after {done + steps} steps; lower the learning rate")
            history.append(entry)
            if best_look(history) == len(history) - 1:
                best = state_arrays(model)
            if save is not None:
                save(Checkpoint.of(model, optimizer, len(history), made_of, history, best).encode())
            if progress is not None:
                progress(done + steps, settings.max_steps, {k: v for k, v in entry.items() if k != "step"})
    best_step = int(history[best_look(history)]["step"])
    return TrainedVae(best, history, device_name(place), best_step, held_out_patients, trained_on)


def best_look(history: list[dict[str, float]]) -> int:
    """Index of the first entry with the least held-out loss."""
    return min(range(len(history)), key=lambda i: history[i]["held_out_loss"])


def finished(history: list[dict[str, float]], settings: VaeSettings) -> bool:
    if not history:
        return False
    waited = len(history) - 1 - best_look(history)
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
    here = derived_seed(seed, EPOCH, done)
    generator = np.random.default_rng(here)
    torch.manual_seed(here)
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
def look_at_held_out(model: nn.Module, frames: Tensor, step: int, settings: VaeSettings, seed: int) -> dict[str, float]:
    """The objective over the held-out frames, with the same noise at every look so that looks compare."""
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
    """The model with these weights, for use. Raises ValueError when they do not fit the settings."""
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
    """The bottleneck's means: (n, latent) float32, not normalised.

    frames: (n, 64, 64) uint8.   progress: (frames done, n, {}).
    Every batch has the same size (the last is filled up with black frames), because kernels, and with them
    the order of sums, are chosen by size: so a frame's vector on one machine does not depend on which
    frames it is embedded with, and a new batch of studies gets the vectors it would have had in the first.
    """
    settings = settings or VaeSettings()
    frames = door(frames)
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
    """What the decoder makes of each frame's mean: (n, 64, 64) float32 in 0..1."""
    settings = settings or VaeSettings()
    frames = door(frames)
    place = pick(device)
    result = np.empty(frames.shape, np.float32)
    with repeatable(place):
        model = ready(weights, settings, place)
        for a, b in chunks(len(frames), EMBEDDING_BATCH):
            mean, _ = model.encode(as_input(resident(frames[a:b], place)))
            result[a:b] = torch.sigmoid(model.decode(mean)).squeeze(1).cpu().numpy()
    return result
