"""Similarity of pictures without a network: SSIM and plain pixels, for arms that are compared with the embedding's
cosine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import to_fixed_point

Progress = Callable[[int, int, dict[str, float]], None]
SSIM_UNIT = 1_000_000  # SSIM is kept in millionths, so that ties and orders are the same everywhere
MAX_SSIM_FRAMES = 3000  # n^2 pictures of work and an n^2 matrix


def pixel_embeddings(frames: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Plain pixels as fixed-point vectors, whose cosine is Pearson's correlation.

    Parameters
    ----------
    frames : (n, height, width) uint8

    Returns
    -------
    (n, height * width) int16
        Each picture minus its own mean, by `to_fixed_point` with the usual scale: 64 x 64 = 4,096 dimensions lie within
        the bound of exactness (|q| <= 4000 + 32, |q|^2 < 2^24).

    Raises
    ------
    ValueError
        For a picture of one brightness, which has no direction.
    """
    pixels = np.asarray(frames)
    if pixels.ndim != 3:
        raise ValueError(f"frames must be (n, height, width), not {pixels.shape}")
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    centred = flat - flat.mean(axis=1, keepdims=True)
    blank = np.flatnonzero(np.ptp(flat, axis=1) == 0) if flat.size else np.empty(0, int)
    if len(blank):
        raise ValueError(
            f"frame {int(blank[0])} (and {len(blank) - 1} more) is of one brightness: no correlation exists"
        )
    return to_fixed_point(centred)


def ssim_matrix(frames: NDArray[np.uint8], *, progress: Progress | None = None) -> NDArray[np.int32]:
    """Structural similarity of every pair.

    Parameters
    ----------
    frames : (n, height, width) uint8
        At most MAX_SSIM_FRAMES, of at least 7 x 7 pixels.
    progress : callable, optional
        Called with (done, of, {}).

    Returns
    -------
    (n, n) int32
        In units of 1 / SSIM_UNIT.

    Raises
    ------
    ValueError
        For other frames.

    References
    ----------
    Wang et al. IEEE TIP 2004;13:600, as scikit-image's `structural_similarity` computes it at its defaults (7 x 7 uniform
    window, sample covariance, K1 0.01, K2 0.03, data range 255, border of 3 left out), in float64, rounded to 1e-6.
    """
    from scipy.ndimage import uniform_filter

    x = np.asarray(frames)
    if x.ndim != 3 or x.dtype != np.uint8:
        raise ValueError(f"frames must be (n, height, width) uint8, not {x.dtype} {x.shape}")
    n = len(x)
    if n > MAX_SSIM_FRAMES:
        raise ValueError(f"SSIM of {n} frames: at most {MAX_SSIM_FRAMES}; choose `similarity: cosine` or `pixels`")
    if min(x.shape[1:], default=7) < 7:
        raise ValueError(f"SSIM needs pictures of at least 7 x 7 pixels, not {x.shape[1:]}")
    window = 7
    sample = window**2 / (window**2 - 1)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    pad = (window - 1) // 2
    inner = (slice(None), slice(pad, -pad), slice(pad, -pad))
    f = x.astype(np.float64)
    mean = uniform_filter(f, (1, window, window))[inner]
    variance = sample * (uniform_filter(f * f, (1, window, window))[inner] - mean * mean)
    matrix = np.full((n, n), SSIM_UNIT, np.int32)
    for i in range(n - 1):
        rest = slice(i + 1, n)
        together = uniform_filter(f[i] * f[rest], (1, window, window))[inner]
        covariance = sample * (together - mean[i] * mean[rest])
        top = (2 * mean[i] * mean[rest] + c1) * (2 * covariance + c2)
        bottom = (mean[i] ** 2 + mean[rest] ** 2 + c1) * (variance[i] + variance[rest] + c2)
        value = np.rint((top / bottom).mean(axis=(1, 2)) * SSIM_UNIT).astype(np.int32)
        matrix[i, rest] = value
        matrix[rest, i] = value
        if progress and i % 32 == 0:
            progress(i, n, {})
    return matrix
