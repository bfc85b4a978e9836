"""Facts of the resize: what a mean of pixels is, bit for bit, and that a mask stays on its picture."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import downscale_local_mean, resize_local_mean

from enrich_assets.method.images.resize import resize, resize_mask
from enrich_assets_tests.method.images.pictures import noise, overlap


def test_240_to_80_is_the_mean_of_three_by_three() -> None:
    frames = noise(5, 240, 240)
    expected = np.stack([np.rint(downscale_local_mean(frame, (3, 3))) for frame in frames])
    np.testing.assert_array_equal(resize(frames, 80), expected)


@pytest.mark.parametrize(
    ("h", "w", "side"), [(240, 240, 64), (272, 272, 80), (384, 384, 64), (100, 37, 31), (81, 81, 80)]
)
def test_downsizing_is_scikit_image_but_for_exact_halves(h: int, w: int, side: int) -> None:
    frames = noise(3, h, w, seed=side)
    reference = np.stack([resize_local_mean(f, (side, side), preserve_range=True) for f in frames])
    ours = resize(frames, side)
    halfway = np.abs(reference - np.floor(reference) - 0.5) < 1e-9
    np.testing.assert_array_equal(ours[~halfway], np.rint(reference[~halfway]))
    assert np.abs(ours[halfway] - reference[halfway]).max(initial=0) <= 0.5 + 1e-9


def area_mean(frame: np.ndarray, side: int) -> np.ndarray:
    """Slow and exact: each new pixel by fractions, rounded half to even."""
    h, w = frame.shape
    out = np.zeros((side, side), np.uint8)
    for i in range(side):
        for j in range(side):
            total = Fraction(0)
            for y in range(h):
                down = min(Fraction((i + 1) * h, side), y + 1) - max(Fraction(i * h, side), y)
                for x in range(w):
                    across = min(Fraction((j + 1) * w, side), x + 1) - max(Fraction(j * w, side), x)
                    if down > 0 and across > 0:
                        total += down * across * int(frame[y, x])
            out[i, j] = round(total * Fraction(side, h) * Fraction(side, w))
    return out


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_downsizing_is_the_exact_mean_over_area(side: int, more: int, wider: int, seed: int) -> None:
    frame = np.random.default_rng(seed).integers(0, 4, (side + more, side + wider), dtype=np.uint8)
    np.testing.assert_array_equal(resize(frame[None], side)[0], area_mean(frame, side))


def test_halves_go_to_the_even_number() -> None:
    frames = np.array([[[0, 1], [0, 1]], [[1, 2], [1, 2]], [[254, 255], [254, 255]]], np.uint8)
    assert resize(frames, 1).ravel().tolist() == [0, 2, 254]


@pytest.mark.parametrize(("old", "side"), [(40, 64), (50, 80), (79, 80), (1, 16)])
def test_upsizing_is_bilinear(old: int, side: int) -> None:
    frames = noise(2, old, old)
    exact = frames.astype(np.float64)
    reference = np.stack([cv2.resize(f, (side, side), interpolation=cv2.INTER_LINEAR) for f in exact])
    assert np.abs(resize(frames, side) - reference).max() <= 0.5 + 1e-4


def test_the_right_size_is_left_alone_and_an_even_grey_stays() -> None:
    frames = noise(2, 64, 64)
    np.testing.assert_array_equal(resize(frames, 64), frames)
    for side in (7, 64, 100):
        assert (resize(np.full((1, 90, 90), 173, np.uint8), side) == 173).all()


def test_a_large_picture_is_as_exact_as_a_small_one() -> None:
    frame = np.zeros((1, 1021, 1021), np.uint8)  # a prime: its square no longer fits float32's whole numbers
    frame[0, ::2] = 255
    reference = resize_local_mean(frame[0], (80, 80), preserve_range=True)
    np.testing.assert_array_equal(resize(frame, 80)[0], np.rint(reference))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_resized_mask_holds_the_class_under_each_new_centre(h: int, w: int, side: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 5, (1, h, w), dtype=np.uint8)
    small = resize_mask(mask, side)
    assert small.shape == (1, side, side)
    assert small.dtype == mask.dtype
    for i in (0, side // 2, side - 1):
        centre = (i + 0.5) * h / side
        row = min(int(np.ceil(centre - 1e-9)) - 1, h - 1)
        np.testing.assert_array_equal(small[0, i], mask[0, max(row, 0)][_columns(w, side)])


def _columns(w: int, side: int) -> np.ndarray:
    return np.clip(np.ceil((np.arange(side) + 0.5) * w / side - 1e-9).astype(int) - 1, 0, w - 1)


def test_a_mask_stays_on_its_picture() -> None:
    mask = np.zeros((1, 240, 240), np.uint8)
    cv2.circle(mask[0], (130, 100), 60, 3, -1)
    picture = resize(np.where(mask == 3, 200, 20).astype(np.uint8), 80)[0]
    small = resize_mask(mask, 80)[0]
    assert set(np.unique(small)) == {0, 3}
    assert overlap(small == 3, picture > 110) > 0.99
