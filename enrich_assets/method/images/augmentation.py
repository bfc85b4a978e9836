"""Random movement of images and their masks together, a batch at a time on the device.

One affine map per sample: image sampled bilinearly, mask by its nearest pixel, both filled with 0 outside.
Random numbers come from torch's generator, which the caller seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the movement; the defaults are the paper's (Chinn et al. 2023)."""

    rotation: float = 25.0  # degrees, either way
    shift: float = 0.2  # share of height and of width, either way
    shear: float = 0.05  # columns moved per row, either way
    zoom: float = 0.15  # factor 1 - zoom .. 1 + zoom, height and width apart
    flips: bool = True  # left-right and up-down, each for one image in two


def random_maps(n: int, height: int, width: int, ranges: Augmentation, device: torch.device) -> Tensor:
    """Affine maps from output to input coordinates, in grid_sample's units (-1..1).

    Rotation and shear are composed in pixels, so that they are true on images that are not square.

    Parameters
    ----------
    n : int
        Maps.
    height, width : int
        Of the images, in pixels.
    ranges : Augmentation
    device : torch.device
        Where the numbers are drawn, from its generator.

    Returns
    -------
    (n, 2, 3) float32
    """

    def between(low: float, high: float) -> Tensor:
        return torch.rand(n, device=device) * (high - low) + low

    def sign() -> Tensor:
        return 1.0 - 2.0 * (torch.rand(n, device=device) < 0.5).float() * float(ranges.flips)

    angle = between(-1, 1) * math.radians(ranges.rotation)
    shear = between(-1, 1) * ranges.shear
    zoom_x, zoom_y = between(1 - ranges.zoom, 1 + ranges.zoom), between(1 - ranges.zoom, 1 + ranges.zoom)
    scale_x = sign() / zoom_x  # output to input: a zoom in samples a smaller square
    scale_y = sign() / zoom_y
    shift_x, shift_y = between(-1, 1) * ranges.shift, between(-1, 1) * ranges.shift
    cos, sin = torch.cos(angle), torch.sin(angle)
    # rotation @ [[1, shear], [0, 1]] @ diag(scale), columns x and y
    xx, xy = cos * scale_x, (cos * shear - sin) * scale_y
    yx, yy = sin * scale_x, (sin * shear + cos) * scale_y
    aspect = height / width
    rows = [
        torch.stack([xx, xy * aspect, 2 * shift_x], dim=1),
        torch.stack([yx / aspect, yy, 2 * shift_y], dim=1),
    ]
    return torch.stack(rows, dim=1)  # (n, 2, 3)


def augment(images: Tensor, masks: Tensor, ranges: Augmentation) -> tuple[Tensor, Tensor]:
    """Move each image and its mask by one random affine map.

    Parameters
    ----------
    images : (b, h, w) float32
    masks : (b, h, w) of any integer type

    Returns
    -------
    images, masks
        Of the same shapes and types.
    """
    b, h, w = images.shape
    maps = random_maps(b, h, w, ranges, images.device)
    grid = F.affine_grid(maps, [b, 1, h, w], align_corners=False)  # (b, h, w, 2)
    moved = F.grid_sample(images.unsqueeze(1), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # Class indices are small integers, exact in float32.
    classes = masks.unsqueeze(1).to(torch.float32)
    moved_masks = F.grid_sample(classes, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved.squeeze(1), moved_masks.squeeze(1).to(masks.dtype)
