"""Facts of the window: where it lies, and that it never leaves the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.images.crop import Box, crop, crop_box, window


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
