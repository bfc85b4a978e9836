"""Facts of the cone: what it is, what is no part of it, and pictures that have none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from enrich_assets.method.images.cone import cone_mask
from enrich_assets.method.images.crop import crop, crop_box, window
from enrich_assets.method.images.resize import resize
from enrich_assets_tests.method.images.pictures import noise, overlap, scanned, sector


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
def test_the_heart_of_a_real_apical_view_lies_in_the_window(realdata: Path) -> None:
    folder = realdata / "ucsf_echo_views"
    masks = sorted((folder / "masks").glob("*.png"))
    assert masks
    kept = []
    for path in masks:
        frame = cv2.imread(str(folder / "images" / path.name), cv2.IMREAD_GRAYSCALE)
        chambers = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0
        window = crop_box(cone_mask(frame[None]), 0.8)
        kept.append(crop(chambers[None], window).sum() / chambers.sum())
    assert min(kept) > 0.9
