"""Is a trained VAE fit to measure similarity? Active units, reconstruction, retrieval of the same clip.

A posterior that ignores its input makes every cosine about 1 and every ranking noise, while its loss looks fine. Two
steps: `measure` looks at weights and frames once, `judge` holds the measures against thresholds, and needs neither
weights nor frames nor torch, so that a threshold may move for nothing. Training and embedding are in `vae`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.hyperparameters import VaeSettings

if TYPE_CHECKING:
    import torch

ACTIVE_VARIANCE = 0.01  # of a unit's mean over frames (Burda et al. 2016, arXiv 1509.00519)
MAX_FRAMES = 4096  # frames measured, evenly spaced; retrieval compares all pairs of them
_ROWS = 512  # of the similarity matrix at a time


@dataclass(frozen=True)
class HealthMeasures:
    """What was measured on weights and frames; no threshold has touched it.

    Attributes
    ----------
    unit_variances : tuple of float
        Variance over the frames of each unit's mean.
    reconstruction_error, mean_image_error : float
        Mean squared difference of pixels in 0..1: of the reconstruction, and of the mean image.
    retrieval_rank1, retrieval_chance : float or None
        See `same_clip_retrieval`; None where no clip has two frames among those measured.
    n_frames : int
        Frames measured.
    """

    unit_variances: tuple[float, ...]
    reconstruction_error: float
    mean_image_error: float
    retrieval_rank1: float | None
    retrieval_chance: float | None
    n_frames: int

    @property
    def latent(self) -> int:
        """Units of the bottleneck."""
        return len(self.unit_variances)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers by name; `from_json` gives the same measures back, bit for bit."""
        return {**asdict(self), "unit_variances": list(self.unit_variances)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> HealthMeasures:
        """The measures that `to_json` wrote; further keys are left aside."""
        known = {field.name: content[field.name] for field in fields(cls)}
        for name in ("reconstruction_error", "mean_image_error"):  # JSON has no NaN: it was written as null
            known[name] = math.nan if known[name] is None else known[name]
        return cls(**{**known, "unit_variances": tuple(known["unit_variances"])})


@dataclass(frozen=True)
class Health:
    """A verdict on measures.

    Attributes
    ----------
    passed : bool
        Whether embeddings of this VAE may be used.
    active_units : int
        Units whose mean varies over the frames by more than 0.01.
    reasons : tuple of str
        What shows a collapse and what to change; empty if passed.
    notes : tuple of str
        What could not be judged.
    warnings : tuple of str
        What is poor, but no collapse.
    """

    passed: bool
    active_units: int
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            **asdict(self),
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


def measure(
    weights: dict[str, Any],
    frames: NDArray[np.uint8],
    clips: NDArray[Any],
    settings: VaeSettings | None = None,
    *,
    device: str | torch.device | None = None,
) -> HealthMeasures:
    """Measure a VAE on frames: all that a verdict needs to know of its weights.

    Parameters
    ----------
    weights : dict of str to ndarray
        Of a `TrainedVae`.
    frames : (n, 64, 64) uint8
        n at least 2; of more than 4096, so many evenly spaced ones are measured.
    clips : (n,) ids of any type
        One per frame.
    settings : VaeSettings, optional
        Those of the training; the paper's by default. Its thresholds play no part.
    device : str or torch.device, optional
        None: CUDA where there is one.

    Returns
    -------
    HealthMeasures

    Raises
    ------
    ValueError
        On shapes that do not fit.
    """
    from enrich_assets.method.embeddings.vae import (
        embed,
        reconstruct,
    )  # late: it loads torch, which `judge` does without

    clips = np.asarray(clips)
    if clips.shape != frames.shape[:1] or len(frames) < 2:
        raise ValueError(f"the health check needs two frames or more and a clip for each: {len(frames)}, {clips.shape}")
    if len(frames) > MAX_FRAMES:
        spaced = np.linspace(0, len(frames) - 1, MAX_FRAMES).round().astype(np.int64)
        frames, clips = frames[spaced], clips[spaced]
    means = embed(weights, frames, settings, device=device)
    pixels = frames.astype(np.float32) / 255
    rebuilt = reconstruct(weights, frames, settings, device=device)
    rank1, chance = same_clip_retrieval(means, clips)
    return HealthMeasures(
        unit_variances=tuple(means.astype(np.float64).var(axis=0).tolist()),
        reconstruction_error=float(np.square(rebuilt - pixels).mean(dtype=np.float64)),
        mean_image_error=float(np.square(pixels - pixels.mean(axis=0)).mean(dtype=np.float64)),
        retrieval_rank1=rank1,
        retrieval_chance=chance,
        n_frames=len(frames),
    )


def same_clip_retrieval(means: NDArray[np.floating[Any]], clips: NDArray[Any]) -> tuple[float | None, float | None]:
    """How often a frame's most similar other frame (cosine, first on ties) is of its own clip, and chance.

    Parameters
    ----------
    means : (n, d) float
    clips : (n,) ids of any type

    Returns
    -------
    rank1, chance : float or None
        Over the frames whose clip has another frame; chance is the rate of a neighbour drawn at random among the other
        frames. (None, None) where there is no such frame.
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
    for start in range(0, asked.size, _ROWS):
        rows = asked[start : start + _ROWS]
        cosine = vectors[rows] @ vectors.T
        cosine[np.arange(len(rows)), rows] = -np.inf
        hits += int((clip[cosine.argmax(axis=1)] == clip[rows]).sum())
    return hits / asked.size, float((others[asked] / (n - 1)).mean())


def judge(measures: HealthMeasures, settings: VaeSettings) -> Health:
    """Hold the measures against the thresholds of the settings.

    Parameters
    ----------
    measures : HealthMeasures
        Of `measure`, or read back from JSON.
    settings : VaeSettings
        Of which the thresholds (`HealthSettings`), and what the cure names: loss and beta.

    Returns
    -------
    Health

    Notes
    -----
    Only units without variance show a collapse by themselves. A blurred reconstruction, or a nearest frame of another clip,
    need not be one: of a stack of different slices the nearest slice is of another clip of the same patient. Whether the
    vectors tell patients apart is asked of every embedding alike (`separation`).
    """
    if settings.loss == "capacity":
        cure = "use loss: plain, or raise capacity, lower capacity_steps and train for more steps"
    else:
        cure = f"lower beta (now {settings.beta:g}) or raise max_steps and patience"
    active = sum(variance > ACTIVE_VARIANCE for variance in measures.unit_variances)
    collapse = _too_few_active(active, measures.latent, settings)
    poor = (_poor_reconstruction(measures, settings), _poor_retrieval(measures, settings))
    if not math.isfinite(measures.reconstruction_error):
        collapse = f"the reconstruction error is {measures.reconstruction_error}, no number: "
    reasons = (f"{collapse}{cure}",) if collapse else ()
    return Health(not reasons, active, reasons, _notes(measures), tuple(f"{one}{cure}" for one in poor if one))


def _too_few_active(active: int, latent: int, settings: VaeSettings) -> str | None:
    needed = max(1, math.ceil(settings.min_active_share * latent))
    return f"only {active} of {latent} units are active, {needed} are needed: " if active < needed else None


def _poor_reconstruction(measures: HealthMeasures, settings: VaeSettings) -> str | None:
    error, mean_error = measures.reconstruction_error, measures.mean_image_error
    if mean_error == 0 or error <= settings.max_error_ratio * mean_error:
        return None
    return (
        f"reconstruction error {error:.4g} is {error / mean_error:.0%} of the mean image's "
        f"{mean_error:.4g}, at most {settings.max_error_ratio:.0%} is allowed: "
    )


def _poor_retrieval(measures: HealthMeasures, settings: VaeSettings) -> str | None:
    rank1, chance = measures.retrieval_rank1, measures.retrieval_chance
    if rank1 is None or chance is None or chance >= 1:
        return None
    # Where chance is high (few clips), that many times chance is beyond 1: then half the way from chance to 1 is asked.
    if rank1 >= min(settings.min_retrieval_ratio * chance, (1 + chance) / 2):
        return None
    return (
        f"the nearest frame is of the same clip in {rank1:.0%} of cases (chance {chance:.0%}): "
        "its frames are different pictures, or the VAE does not see that they are alike; "
    )


def _notes(measures: HealthMeasures) -> tuple[str, ...]:
    notes = []
    if measures.mean_image_error == 0:
        notes.append("all frames are the same image: reconstruction says nothing")
    if measures.retrieval_chance is None:
        notes.append("no clip has two frames: retrieval of the same clip could not be computed")
    elif measures.retrieval_chance >= 1:
        notes.append("there is one clip only: retrieval of the same clip says nothing")
    return tuple(notes)
