"""Segmentation: train the U-Net on a subset with masks, and predict masks.

The network is in `unet`, the loop in `training`, the movement in `images/augmentation.py`, the score in
`statistics/metrics.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from enrich_assets.method.device import pick
from enrich_assets.method.hyperparameters import SegmenterSettings
from enrich_assets.method.images.augmentation import Augmentation, augment
from enrich_assets.method.networks.repeatable import (
    as_frames,
    load_arrays,
    mixed_precision,
    one_thread,
    placed,
    repeatable,
    resident,
)
from enrich_assets.method.networks.schedule import chunks
from enrich_assets.method.networks.trained import Trained, TrainingOptions
from enrich_assets.method.networks.training import fit
from enrich_assets.method.networks.unet import UNet, UNetShape

PREDICTION_PIXELS = 1 << 20  # per portion, bounds memory whatever the size of an image


def shape_of(settings: SegmenterSettings, n_classes: int) -> UNetShape:
    """The U-Net that the settings describe."""
    return UNetShape(n_classes, settings.channels, settings.dropout, settings.batch_norm)


def augmentation_of(settings: SegmenterSettings) -> Augmentation | None:
    """The random movement that the settings describe; None where they ask for none."""
    if not settings.augment:
        return None
    return Augmentation(settings.rotation, settings.shift, settings.shear, settings.zoom, settings.flips)


def segmentation_loss(logits: Tensor, truth: Tensor, weights: Tensor | None = None, dice: float = 0.0) -> Tensor:
    """Cross-entropy per pixel, plus `dice` times one minus soft Dice.

    Parameters
    ----------
    logits : (b, n_classes, h, w) float
    truth : (b, h, w) int64
    weights : (n_classes,) float, optional
        Of the classes, for a weighted mean over the pixels.
    dice : float
        Weight of the Dice term. Soft Dice is taken over the batch, per structure (no background), with 1 added above
        and below so that a structure absent from both is perfect; then the mean.

    Returns
    -------
    Tensor
        0-d, differentiable.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    # One-hot instead of torch's NLL over images, whose CUDA sum comes in any order.
    one_hot = F.one_hot(truth, logits.shape[1]).movedim(-1, 1).to(log_p.dtype)
    if weights is None:
        loss = -(one_hot * log_p).sum() / truth.numel()
    else:
        per_class = one_hot * weights.view(1, -1, 1, 1)
        loss = -(per_class * log_p).sum() / per_class.sum().clamp_min(torch.finfo(log_p.dtype).tiny)
    if dice:
        p, t = log_p.exp()[:, 1:], one_hot[:, 1:]
        overlap, total = (p * t).sum(dim=(0, 2, 3)), (p + t).sum(dim=(0, 2, 3))
        loss = loss + dice * (1 - ((2 * overlap + 1) / (total + 1)).mean())
    return loss


def train_segmenter(
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    n_classes: int,
    settings: SegmenterSettings | None = None,
    *,
    seed: int,
    **options: Unpack[TrainingOptions],
) -> Trained:
    """Train the U-Net on a subset.

    Parameters
    ----------
    images : (n, h, w) uint8
        The subset's frames; the network sees them / 255.
    masks : (n, h, w) uint8
        Class indices, 0 = background.
    n_classes : int
        Classes of the task, background included.
    settings : SegmenterSettings, optional
        The paper's by default.
    seed : int
        Of start weights, order, augmentation and dropout.
    **options
        Device, progress, checkpoints: see `TrainingOptions`.

    Returns
    -------
    Trained
        History: loss per epoch (as trained: augmented, dropout on). Same arguments, same machine: the same weights, bit
        for bit.

    Raises
    ------
    ValueError
        When shapes, masks, settings or the checkpoint do not fit.
    """
    settings = settings or SegmenterSettings()
    images, masks = _checked(images, masks, n_classes, settings)
    if settings.batch_norm and len(images) == 1:  # it may see one value a channel at the lowest level, and needs two
        images, masks = np.repeat(images, 2, axis=0), np.repeat(masks, 2, axis=0)
    shape, movement, dice = shape_of(settings, n_classes), augmentation_of(settings), settings.dice
    weights = None
    if settings.class_weights is not None:
        weights = torch.tensor(settings.class_weights, device=pick(options.get("device")))

    def loss_of(model: nn.Module, frames: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = frames.to(torch.float32) / 255  # (b, h, w)
        if movement is not None:
            x, truth = augment(x, truth, movement)
        with mixed_precision(x.device):
            logits = model(x.unsqueeze(1).contiguous(memory_format=torch.channels_last))
        return segmentation_loss(logits, truth.long(), weights, dice), {}

    return fit(lambda: UNet(shape), loss_of, images, masks, settings, seed=seed, **options)


def _checked(
    images: NDArray[np.uint8], masks: NDArray[np.uint8], n_classes: int, settings: SegmenterSettings
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images, masks = as_frames(images), as_frames(masks, "masks")
    if images.shape != masks.shape:
        raise ValueError(f"images {images.shape} and masks {masks.shape} differ in shape")
    if len(images) == 0:
        raise ValueError("there is no frame to train on")
    if n_classes < 2 or masks.max() >= n_classes:
        raise ValueError(f"a mask holds class {masks.max()}, but the classes are 0..{n_classes - 1}")
    if settings.class_weights is not None and len(settings.class_weights) != n_classes:
        raise ValueError(f"{len(settings.class_weights)} class weights for {n_classes} classes (background first)")
    return images, masks


@torch.inference_mode()
def predict_masks(
    weights: dict[str, Any],
    images: NDArray[np.uint8],
    settings: SegmenterSettings | None = None,
    device: str | torch.device | None = None,
) -> NDArray[np.uint8]:
    """The likeliest class of each pixel, computed in float32.

    Parameters
    ----------
    weights : dict of str to ndarray
        Of a `Trained`.
    images : (n, h, w) uint8
        Of any size.
    settings : SegmenterSettings, optional
        Those of the training; the paper's by default.
    device : str or torch.device, optional
        None: CUDA where there is one.

    Returns
    -------
    (n, h, w) uint8

    Raises
    ------
    ValueError
        When weights and settings do not fit together.
    """
    prediction = np.zeros(as_frames(images).shape, np.uint8)
    for a, b, logits in _logits(weights, images, settings or SegmenterSettings(), device):
        prediction[a:b] = logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
    return prediction


@torch.inference_mode()
def predict_margins(
    weights: dict[str, Any],
    images: NDArray[np.uint8],
    settings: SegmenterSettings | None = None,
    device: str | torch.device | None = None,
) -> NDArray[np.float64]:
    """How decided the network is: of each pixel the greatest class probability minus the second, then the mean of the frame.

    Parameters and errors as of `predict_masks`.

    Returns
    -------
    (n,) float64
        0 to 1.
    """
    margins = np.zeros(len(images), np.float64)
    for a, b, logits in _logits(weights, images, settings or SegmenterSettings(), device):
        two = torch.softmax(logits.float(), dim=1).topk(2, dim=1).values  # (b, 2, h, w)
        margins[a:b] = (two[:, 0] - two[:, 1]).double().mean(dim=(1, 2)).cpu().numpy()
    return margins


def _logits(
    weights: dict[str, Any],
    images: NDArray[np.uint8],
    settings: SegmenterSettings,
    device: str | torch.device | None,
) -> Iterator[tuple[int, int, Tensor]]:
    """(first, end, (b, n_classes, h, w) logits) of one portion of the frames after the other."""
    images = as_frames(images)
    if "head.bias" not in weights:
        raise ValueError("these weights are not of a segmenter: no 'head.bias' among them")
    place = pick(device)
    portion = max(1, PREDICTION_PIXELS // max(1, images.shape[1] * images.shape[2]))
    with repeatable(place), one_thread(place):
        model = UNet(shape_of(settings, int(weights["head.bias"].shape[0])))
        placed(load_arrays(model, weights), place).eval()
        for a, b in chunks(len(images), portion):
            x = resident(images[a:b], place).to(torch.float32) / 255
            yield a, b, model(x.unsqueeze(1).contiguous(memory_format=torch.channels_last))
