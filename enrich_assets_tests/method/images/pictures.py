"""Made pictures that the tests of this folder share: noise, sectors, scanned areas."""

from __future__ import annotations

import numpy as np


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def sector(h: int = 300, w: int = 400, apex: tuple[int, int] = (15, 200), radius: int = 270) -> np.ndarray:
    y, x = np.mgrid[:h, :w]
    y, x = y - apex[0], x - apex[1]
    return (np.hypot(y, x) < radius) & (np.abs(np.arctan2(x, y)) < 0.62) & (np.hypot(y, x) > 8)


def scanned(mask: np.ndarray, n: int = 4, mean: float = 60) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.where(mask, np.clip(rng.rayleigh(mean, (n, *mask.shape)), 1, 255), 0).astype(np.uint8)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())
