"""Is a trained VAE fit to measure similarity? Active units, reconstruction, retrieval of the same clip.

A posterior that ignores its input makes every cosine about 1 and every ranking noise, while its loss looks
fine. The three questions here catch that before anything uses an embedding. Training and embedding are in
`vae`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from enrich_assets.method.embeddings.vae import embed, reconstruct
from enrich_assets.method.hyperparameters import VaeSettings

ACTIVE_VARIANCE = 0.01  # of a unit's mean over frames (Burda et al. 2016, arXiv 1509.00519)


@dataclass(frozen=True)
class HealthLimits:
    """From where on a VAE counts as healthy (the share of active units is a setting of the VAE)."""

    max_error_ratio: float = 0.95  # mean squared error of the reconstruction / that of the mean image
    # Rank-1 rate over chance. A collapsed VAE stands at 1; frames of a cine clip at 30 and more; a stack of different slices
    # (cardiac MRI: 7 % against 1 %) holds no near-duplicates, and must not be taken for a collapse.
    min_retrieval_ratio: float = 3.0
    max_frames: int = 4096  # frames looked at, evenly spaced; retrieval compares all pairs of them


@dataclass(frozen=True)
class VaeHealth:
    """What was found. Errors are mean squared differences of pixels in 0..1."""

    active_units: int
    latent: int
    reconstruction_error: float
    mean_image_error: float
    retrieval_rank1: float | None  # None where no clip has two frames among those looked at
    retrieval_chance: float | None
    n_frames: int  # frames looked at
    passed: bool
    reasons: tuple[str, ...]  # what failed and what to change; empty if passed
    notes: tuple[str, ...]  # what could not be asked


def active_units(means: NDArray[np.floating[Any]]) -> int:
    """Units whose mean varies over the frames by more than 0.01. means: (n, latent)."""
    return int((means.astype(np.float64).var(axis=0) > ACTIVE_VARIANCE).sum())


def same_clip_retrieval(means: NDArray[np.floating[Any]], clips: NDArray[Any]) -> tuple[float | None, float | None]:
    """How often a frame's most similar other frame (cosine, first on ties) is of its own clip, and chance.

    means: (n, d).   clips: (n,) ids of any kind.   Asked of frames whose clip has another frame; chance is
    the rate of a neighbour drawn at random among the other frames. (None, None) where there is no such frame.
    """
    _, clip, sizes = np.unique(clips, return_inverse=True, return_counts=True)
    n = len(clip)
    others = sizes[clip] - 1
    asked = np.flatnonzero(others > 0)
    if asked.size == 0:
        return None, None
    vectors = means.astype(np.float64)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)
    hits = 0
    for start in range(0, asked.size, 512):
        rows = asked[start : start + 512]
        cosine = vectors[rows] @ vectors.T
        cosine[np.arange(len(rows)), rows] = -np.inf
        hits += int((clip[cosine.argmax(axis=1)] == clip[rows]).sum())
    return hits / asked.size, float((others[asked] / (n - 1)).mean())


def health(
    weights: dict[str, Any],
    frames: NDArray[np.uint8],
    clips: NDArray[Any],
    settings: VaeSettings | None = None,
    limits: HealthLimits | None = None,
    *,
    device: str | torch.device | None = None,
) -> VaeHealth:
    """Examine a VAE on frames.

    weights: of a TrainedVae.   frames: (n, 64, 64) uint8, n at least 2.   clips: (n,) ids of any kind.
    Raises ValueError on shapes that do not fit.
    """
    settings, limits = settings or VaeSettings(), limits or HealthLimits()
    clips = np.asarray(clips)
    if clips.shape != frames.shape[:1] or len(frames) < 2:
        raise ValueError(f"the health check needs two frames or more and a clip for each: {len(frames)}, {clips.shape}")
    if len(frames) > limits.max_frames:
        spaced = np.linspace(0, len(frames) - 1, limits.max_frames).round().astype(np.int64)
        frames, clips = frames[spaced], clips[spaced]
    means = embed(weights, frames, settings, device=device)
    pixels = frames.astype(np.float32) / 255
    remade = reconstruct(weights, frames, settings, device=device)
    error = float(np.square(remade - pixels).mean(dtype=np.float64))
    mean_error = float(np.square(pixels - pixels.mean(axis=0)).mean(dtype=np.float64))
    active = active_units(means)
    rank1, chance = same_clip_retrieval(means, clips)
    reasons, notes = verdict(active, settings, error, mean_error, rank1, chance, limits)
    return VaeHealth(
        active, settings.latent, error, mean_error, rank1, chance, len(frames), not reasons, reasons, notes
    )


def verdict(
    active: int,
    settings: VaeSettings,
    error: float,
    mean_error: float,
    rank1: float | None,
    chance: float | None,
    limits: HealthLimits,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What fails and what to change; what could not be asked."""
    reasons, notes = [], []
    if settings.loss == "capacity":
        cure = "use loss: plain, or raise capacity, lower capacity_steps and train for more steps"
    else:
        cure = f"lower beta (now {settings.beta:g}) or raise max_steps and patience"
    needed = max(1, math.ceil(settings.min_active_share * settings.latent))
    if active < needed:
        reasons.append(f"only {active} of {settings.latent} units are active, {needed} are needed: {cure}")
    if mean_error == 0:
        notes.append("all frames are the same image: reconstruction says nothing")
    elif error > limits.max_error_ratio * mean_error:
        reasons.append(
            f"reconstruction error {error:.4g} is {error / mean_error:.0%} of the mean image's "
            f"{mean_error:.4g}, at most {limits.max_error_ratio:.0%} is allowed: {cure}"
        )
    if rank1 is None or chance is None:
        notes.append("no clip has two frames: retrieval of the same clip could not be computed")
    elif chance >= 1:
        notes.append("there is one clip only: retrieval of the same clip says nothing")
    elif rank1 < min(limits.min_retrieval_ratio * chance, (1 + chance) / 2):
        reasons.append(
            f"the nearest frame is of the same clip in {rank1:.0%} of cases (chance {chance:.0%}): "
            f"similarity would be noise; {cure}"
        )
    return tuple(reasons), tuple(notes)
