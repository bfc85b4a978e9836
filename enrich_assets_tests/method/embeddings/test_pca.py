"""Principal components of pixels: the directions that plain linear algebra finds, exact sums, and what cannot be fitted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.embeddings.pca import UNIT, fit_pca, project


def blobs(n: int, side: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    at = rng.uniform(0, side, (n, 2, 1, 1))
    soft = np.exp(-((y - at[:, 0]) ** 2 + (x - at[:, 1]) ** 2) / (side / 2))
    return np.rint(30 + 180 * soft + rng.uniform(0, 20, soft.shape)).astype(np.uint8)


@pytest.mark.parametrize(("n", "side"), [(40, 16), (300, 8)])
def test_components_are_those_of_a_singular_value_decomposition(n: int, side: int) -> None:
    """Fewer frames than pixels (by the Gram matrix), and more (by the covariance)."""
    frames = blobs(n, side)
    fitted = fit_pca(frames, 6)
    x = frames.reshape(n, -1).astype(np.float64)
    _, values, vectors = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    ours = fitted.components / UNIT
    assert np.abs(np.abs((ours * vectors[:6]).sum(axis=1)) - 1).max() < 1e-4  # rounding to 2^-15
    assert np.allclose(fitted.variance_share, values[:6] ** 2 / (values**2).sum())
    greatest = np.abs(fitted.components).argmax(axis=1)
    assert (fitted.components[np.arange(6), greatest] > 0).all(), "the sign is decided by the greatest entry"


@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_a_projection_is_a_sum_of_integers_whoever_adds_it_up(seed: int, n: int, dimensions: int) -> None:
    frames = blobs(n, 6, seed)
    fitted = fit_pca(frames, dimensions)
    slow = [
        [
            sum(int(p) * int(c) for p, c in zip(frame.ravel(), component, strict=True)) - int(offset)
            for component, offset in zip(fitted.components, fitted.offsets, strict=True)
        ]
        for frame in frames[:5]
    ]
    assert project(fitted, frames)[:5].tolist() == slow
    assert np.array_equal(project(fitted, frames[::-1])[::-1], project(fitted, frames)), "nor in which company"


def test_the_order_of_the_frames_fitted_to_changes_no_integer() -> None:
    frames = blobs(200, 8)
    one, other = fit_pca(frames, 5), fit_pca(frames[::-1], 5)
    assert np.array_equal(one.components, other.components)
    assert np.array_equal(one.offsets, other.offsets)


def test_no_more_components_than_directions_in_which_frames_vary() -> None:
    frames = np.repeat(blobs(3, 8), 4, axis=0)
    assert len(fit_pca(frames, 32).components) == 2


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        (np.zeros((1, 8, 8), np.uint8), "two frames or more, not 1"),
        (np.zeros((0, 8, 8), np.uint8), "two frames or more, not 0"),
        (np.full((9, 8, 8), 7, np.uint8), "the same picture"),
    ],
)
def test_what_cannot_be_fitted_says_why(frames: np.ndarray, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fit_pca(frames, 4)


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="frames of 36 pixels, but components of 64"):
        project(fit_pca(blobs(9, 8), 2), blobs(9, 6))
