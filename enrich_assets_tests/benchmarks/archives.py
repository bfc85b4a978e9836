"""Synthetic embeddings to measure with: an ultrasound archive's structure, or none at all."""

import numpy as np
from numpy.typing import NDArray

FRAMES_PER_CLIP, CLIPS_PER_PATIENT = 30, 3


def unit_vectors(n: int, kind: str, d: int = 128, seed: int = 0) -> NDArray[np.float32]:
    """(n, d) float32. 'clip-like': a mean picture, patients, clips and a slow drift through each clip, one patient in ten
    an outlier, so that most pairs are over 0.9 as the paper reports. 'gaussian': no structure.
    """
    rng = np.random.default_rng(seed)
    if kind == "gaussian":
        x = rng.standard_normal((n, d))
    else:
        clip = np.arange(n) // FRAMES_PER_CLIP
        patient = clip // CLIPS_PER_PATIENT
        of_patient = rng.standard_normal((patient[-1] + 1, d)) * 0.22
        of_patient[rng.random(len(of_patient)) < 0.10] *= 4
        still = rng.standard_normal(d) + of_patient[patient] + rng.standard_normal((clip[-1] + 1, d))[clip] * 0.12
        still /= np.linalg.norm(still, axis=1, keepdims=True)
        drift = np.cumsum(rng.standard_normal((n, d)) * 0.004, axis=0)
        x = still + drift - drift[clip * FRAMES_PER_CLIP] + rng.standard_normal((n, d)) * 0.006
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def codes(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Clip and patient of each frame."""
    clips = np.arange(n) // FRAMES_PER_CLIP
    return clips, clips // CLIPS_PER_PATIENT


def start_set(n: int, share: float = 0.02, seed: int = 1) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(seed).choice(n, int(n * share), replace=False))
