"""Image and mask move as one."""

from __future__ import annotations

import math

import pytest
import torch

from enrich_assets.method.images.augmentation import Augmentation, augment, random_maps

STILL = {"rotation": 0.0, "shift": 0.0, "shear": 0.0, "zoom": 0.0, "flips": False}
CPU = torch.device("cpu")


def discs(n, height, width):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    radius = 0.25 * min(height, width)
    disc = ((y - 0.4 * height) ** 2 + (x - 0.6 * width) ** 2 < radius**2).to(torch.uint8)
    return disc.expand(n, height, width).clone()


@pytest.mark.parametrize(("height", "width"), [(48, 48), (40, 64)])
def test_a_mask_painted_into_the_image_moves_with_it(height, width):
    torch.manual_seed(0)
    masks = discs(32, height, width)
    images, moved = augment(masks.float(), masks, Augmentation())
    assert not torch.equal(moved, masks)
    # Bilinear and nearest sampling may only disagree on the rim, where the bilinear value lies between.
    assert torch.equal(images > 0.999, (images > 0.999) & (moved == 1))
    assert ((images > 0.5) == (moved == 1)).float().mean() > 0.995


def test_the_seed_decides_the_movement():
    masks = discs(4, 32, 32)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(masks.float(), masks, Augmentation())[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_without_movement_image_and_mask_stay():
    masks = discs(3, 31, 45)
    images, same = augment(masks.float(), masks, Augmentation(**STILL))
    torch.testing.assert_close(images, masks.float(), atol=1e-4, rtol=0)
    assert torch.equal(same, masks)
    assert same.dtype == torch.uint8


def test_outside_the_image_is_black_and_background():
    torch.manual_seed(3)
    full = torch.ones(16, 20, 20)
    images, masks = augment(full, full.to(torch.uint8), Augmentation(**{**STILL, "shift": 0.2}))
    assert (images.flatten(1).min(dim=1).values < 0.01).any()
    assert set(masks.unique().tolist()) == {0, 1}
    assert (masks.float().mean(dim=(1, 2)) >= 0.8**2 - 0.1).all()  # at most a fifth of each side is lost


def test_flips_mirror_half_of_the_images_each_way():
    torch.manual_seed(0)
    maps = random_maps(400, 10, 10, Augmentation(**{**STILL, "flips": True}), CPU)
    assert set(maps[:, 0, 0].tolist()) == {-1.0, 1.0}
    assert abs(maps[:, 0, 0].mean()) < 0.2
    assert abs(maps[:, 1, 1].mean()) < 0.2


def test_every_draw_keeps_to_its_range():
    torch.manual_seed(0)
    rotated = random_maps(500, 30, 30, Augmentation(**{**STILL, "rotation": 25.0}), CPU)
    angles = torch.rad2deg(torch.atan2(rotated[:, 1, 0], rotated[:, 0, 0]))
    assert 23 < angles.abs().max() <= 25.001
    zoomed = 1 / random_maps(500, 30, 30, Augmentation(**{**STILL, "zoom": 0.15}), CPU)[:, [0, 1], [0, 1]]
    assert 0.8499 < zoomed.min() < 0.86
    assert 1.14 < zoomed.max() < 1.1501
    shifted = random_maps(500, 30, 30, Augmentation(**{**STILL, "shift": 0.2}), CPU)[:, :, 2]
    assert 0.38 < shifted.abs().max() <= 0.4001  # grid_sample's units: the whole side is 2
    sheared = random_maps(500, 30, 30, Augmentation(**{**STILL, "shear": 0.05}), CPU)[:, 0, 1]
    assert 0.045 < sheared.abs().max() <= 0.0501


def test_a_rotation_on_an_oblong_image_keeps_right_angles():
    torch.manual_seed(0)
    height, width = 40, 80
    maps = random_maps(50, height, width, Augmentation(**{**STILL, "rotation": 25.0}), CPU)
    pixels = maps[:, :, :2].clone()
    pixels[:, 0, 1] *= width / height  # back from grid_sample's units into pixels
    pixels[:, 1, 0] *= height / width
    for matrix in pixels:
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(2), atol=1e-5, rtol=0)
        assert math.isclose(float(torch.linalg.det(matrix)), 1.0, abs_tol=1e-5)
