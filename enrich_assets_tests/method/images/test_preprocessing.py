"""Facts of the crop and the resize: what the cone is, what a window may do, what a mean of pixels is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import downscale_local_mean, resize_local_mean

from enrich_assets.method.images.preprocessing import (
    Box,
    cone_mask,
    crop,
    crop_box,
    pixel_digest,
    pixel_digests,
    resize,
    resize_mask,
    window,
)

REALDATA = Path(__file__).parents[2].parent / "shared/realdata"


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


# ------------------------------------------------------------------------------------------------- the cone


def test_the_cone_is_found_and_burned_in_text_is_no_part_of_it() -> None:
    truth = sector()
    frames = scanned(truth)
    for frame in frames:
        cv2.putText(frame, "DOE JANE 1981", (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
        cv2.putText(frame, "GA 22w3d", (310, 290), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 220, 1)
    found = cone_mask(frames)
    assert found.shape == truth.shape
    assert overlap(found, truth) > 0.95
    assert not found[:20, :120].any()
    assert not found[280:, 310:].any()


def test_shadows_chambers_and_weak_gain_leave_no_hole_in_the_cone() -> None:
    truth = sector()
    frames = scanned(truth, mean=25)
    frames[:, 150:230, 150:250] = 0
    y, x = np.mgrid[:300, :400]
    shadow = np.abs(np.arctan2(x - 200, y - 15) - 0.3) < 0.05
    frames[:, shadow & (y > 90)] = 0
    assert overlap(cone_mask(frames), truth) > 0.95


def test_a_linear_probe_on_grey_ground_beside_a_white_bar() -> None:
    truth = np.zeros((300, 400), bool)
    truth[40:260, 90:330] = True
    frames = scanned(truth, mean=90)
    frames[:, ~truth] = 31
    frames[:, :14] = 255
    assert overlap(cone_mask(frames), truth) > 0.95


def test_an_outline_is_gathered_over_the_whole_clip() -> None:
    truth = sector()
    frames = scanned(truth, n=40)
    frames[:39, :, 200:] = 0  # the right half lights up in the last frame only
    assert overlap(cone_mask(frames), truth) > 0.95


@pytest.mark.parametrize("picture", ["noise", "black", "even grey", "faint dot"])
def test_a_picture_without_a_cone_counts_whole(picture: str) -> None:
    frames = np.zeros((2, 120, 160), np.uint8)
    if picture == "noise":
        frames = noise(2, 120, 160)
    elif picture == "even grey":
        frames[:] = 90
    elif picture == "faint dot":
        frames[:, 50:60, 50:60] = noise(10, 10)
    assert cone_mask(frames).all()


@pytest.mark.parametrize("frames", [np.zeros((3, 4), np.uint8), np.zeros((0, 4, 4), np.uint8), np.zeros((1, 4, 4))])
def test_what_is_no_clip_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        cone_mask(frames)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 50), (2, 7, 3), (1, 2000, 40)])
def test_odd_sizes_of_pictures_are_no_trouble(shape: tuple[int, int, int]) -> None:
    assert cone_mask(noise(*shape)).shape == shape[1:]
    box = window(cone_mask(noise(*shape)), "cone", 0.8)
    assert resize(crop(noise(*shape), box), 16).shape == (shape[0], 16, 16)
    assert box.side >= 1


@pytest.mark.realdata
def test_the_heart_of_a_real_apical_view_lies_in_the_window() -> None:
    folder = REALDATA / "ucsf_echo_views"
    masks = sorted((folder / "masks").glob("*.png")) if folder.exists() else []
    if not masks:
        pytest.skip("no real views beside the checkout")
    kept = []
    for path in masks:
        frame = cv2.imread(str(folder / "images" / path.name), cv2.IMREAD_GRAYSCALE)
        chambers = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0
        window = crop_box(cone_mask(frame[None]), 0.8)
        kept.append(crop(chambers[None], window).sum() / chambers.sum())
    assert min(kept) > 0.9


# ------------------------------------------------------------------------------------------------- the crop


@given(
    st.integers(1, 90), st.integers(1, 90), st.floats(0.01, 1), st.integers(0, 2**32 - 1), st.floats(0, 1),
)  # fmt: skip
@settings(max_examples=80, deadline=None, derandomize=True)
def test_the_window_never_leaves_the_picture(h: int, w: int, share: float, seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((h, w)) < density * 0.05
    box = crop_box(mask, share)
    assert 1 <= box.side <= min(h, w)
    assert 0 <= box.top <= h - box.side
    assert 0 <= box.left <= w - box.side
    assert crop(np.zeros((2, h, w), np.uint8), box).shape == (2, box.side, box.side)


def test_the_window_of_the_paper_is_centred_on_the_cone() -> None:
    mask = np.zeros((300, 400), bool)
    mask[20:290, 90:330] = True
    assert crop_box(mask) == Box(35, 90, 240)
    assert crop_box(mask, size=272) == Box(19, 74, 272)


def test_a_cone_at_the_edge_moves_the_window_inside() -> None:
    mask = np.zeros((300, 400), bool)
    mask[:100, 360:] = True
    assert crop_box(mask) == Box(0, 160, 240)


def test_a_window_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="301"):
        crop_box(np.ones((300, 400), bool), size=301)
    with pytest.raises(ValueError, match="share"):
        crop_box(np.ones((300, 400), bool), share=1.2)
    with pytest.raises(ValueError, match="300x400"):
        crop(np.zeros((1, 300, 400)), Box(100, 0, 201))


def test_the_window_is_the_one_that_a_profile_names() -> None:
    cone = np.zeros((60, 100), bool)
    cone[10:50, 60:100] = True
    assert window(cone, "cone", 0.5) == Box(15, 65, 30)
    assert window(cone, "none", 0.5) == Box(0, 20, 60)
    assert window(cone, (5, 30, 40), 0.8) == Box(5, 30, 40)
    with pytest.raises(ValueError, match="circle"):
        window(cone, "circle", 0.8)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------- the resize


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


# ----------------------------------------------------------------------------------------------- the digest


def test_a_digest_stands_for_the_pixels_and_their_shape() -> None:
    frames = noise(3, 6, 4)
    digests = pixel_digests(frames)
    assert len(set(digests)) == 3
    assert digests[1] == pixel_digest(frames[1].copy(order="F"))
    assert pixel_digest(frames[0]) != pixel_digest(frames[0].reshape(4, 6))
    flipped = frames[0].copy()
    flipped[5, 3] ^= 1
    assert pixel_digest(flipped) != digests[0]
    # shape as "2x2:", then the bytes: fixed for ever, since stored digests are compared with new ones
    assert pixel_digest(np.zeros((2, 2), np.uint8)) == (
        "6721231bea7689c6a4a7632650f54b1dde18e72e1bf517531d2f049ed1721cee"
    )
