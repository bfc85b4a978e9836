"""View classification: train the ResNet on a labelled subset, and predict class probabilities.

The network is in `resnet`, the loop in `training`, the score in `metrics`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from enrich_assets.method.device import pick
from enrich_assets.method.hyperparameters import ClassifierSettings
from enrich_assets.method.networks.resnet import ResNet, ResNetShape
from enrich_assets.method.networks.training import (
    CHECKPOINT_STEPS,
    Progress,
    Save,
    TrainedModel,
    as_frames,
    build,
    chunks,
    device_name,
    fingerprint,
    load_arrays,
    mixed_precision,
    one_thread,
    placed,
    repeatable,
    resident,
    run_epochs,
    schedule_of,
    state_arrays,
)

MEAN = "input_mean"  # name of the per-pixel training mean among the weights
PREDICTION_BATCH = 256


def shape_of(settings: ClassifierSettings, n_classes: int) -> ResNetShape:
    return ResNetShape(n_classes, settings.widths, settings.dense, settings.dropout)


class Classifier(nn.Module):
    """uint8 frames in, logits out: the ResNet behind /255 and the per-pixel training mean."""

    input_mean: Tensor

    def __init__(self, shape: ResNetShape, height: int, width: int) -> None:
        super().__init__()
        self.resnet = ResNet(shape)
        self.register_buffer(MEAN, torch.zeros(height, width))

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.to(torch.float32) / 255 - self.input_mean  # (b, h, w)
        return self.resnet(x.unsqueeze(1).contiguous(memory_format=torch.channels_last))


def train_classifier(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    n_classes: int,
    settings: ClassifierSettings | None = None,
    *,
    seed: int,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    resume: bytes | None = None,
    save: Save | None = None,
    checkpoint_steps: int = CHECKPOINT_STEPS,
) -> TrainedModel:
    """Train on a subset.

    images: (n, h, w) uint8.   labels: (n,) int in 0..n_classes-1; a class may be missing from the subset.
    settings: None for the paper's.   The per-pixel mean of the subset is kept among the weights
    ("input_mean", (h, w) float32 in 0..1).   History: loss and accuracy per epoch (as trained, dropout on).
    Same arguments, same machine: the same weights, bit for bit.   Raises ValueError on what does not fit.
    """
    settings = settings or ClassifierSettings()
    images = as_frames(images)
    labels = np.asarray(labels, dtype=np.int64)
    if labels.shape != images.shape[:1]:
        raise ValueError(f"{len(images)} images but labels {labels.shape}")
    if len(images) == 0:
        raise ValueError("there is no frame to train on")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"a label lies outside 0..{n_classes - 1}")
    made_of = fingerprint(settings, seed, n_classes, images, labels) if resume or save else ""
    if len(images) == 1:  # batch norm needs two
        images, labels = np.repeat(images, 2, axis=0), np.repeat(labels, 2)
    place = pick(device)
    shape = shape_of(settings, n_classes)
    if min(images.shape[1:]) < shape.least_side:
        raise ValueError(f"{len(shape.widths) - 1} blocks need images of {shape.least_side} pixels or more a side")
    with repeatable(place), one_thread(place):
        model = build(lambda: Classifier(shape, *images.shape[1:]), seed, place)
        assert isinstance(model, Classifier)
        # Summed as integers, so that the mean does not depend on the order of the frames.
        mean = images.sum(axis=0, dtype=np.int64) / (255 * len(images))
        model.input_mean.copy_(torch.from_numpy(mean.astype(np.float32)))
        x, y = resident(images, place), resident(labels, place)

        def batch_loss(indices: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            truth = y[indices]
            with mixed_precision(place):
                logits = model(x[indices])
            logits = logits.float()
            return F.cross_entropy(logits, truth), {"accuracy": (logits.argmax(1) == truth).float().mean()}

        history = run_epochs(
            model,
            batch_loss,
            len(images),
            schedule_of(settings),
            seed=seed,
            device=place,
            made_of=made_of,
            progress=progress,
            resume=resume,
            save=save,
            checkpoint_steps=checkpoint_steps,
        )
    return TrainedModel(state_arrays(model), history, device_name(place))


@torch.inference_mode()
def predict_classes(
    weights: dict[str, Any],
    images: NDArray[np.uint8],
    settings: ClassifierSettings | None = None,
    device: str | torch.device | None = None,
) -> NDArray[np.float32]:
    """Class probabilities: (n, n_classes) float32 softmax, in float32 throughout.

    weights: of a TrainedModel.   images: (n, h, w) uint8 of the size trained on.
    Raises ValueError when weights, settings and images do not fit together.
    """
    settings = settings or ClassifierSettings()
    images = as_frames(images)
    if MEAN not in weights:
        raise ValueError(f"these weights are not of a classifier: no {MEAN!r} among them")
    height, width = weights[MEAN].shape
    if images.shape[1:] != (height, width):
        raise ValueError(f"trained on {height}x{width} images, given {images.shape[1]}x{images.shape[2]}")
    n_classes = int(weights["resnet.head.bias"].shape[0])
    place = pick(device)
    # Not drawn from a seed: every weight is overwritten.
    with repeatable(place), one_thread(place):
        model = Classifier(shape_of(settings, n_classes), height, width)
        placed(load_arrays(model, weights), place).eval()
        parts = [
            torch.softmax(model(resident(images[a:b], place)), dim=1).cpu().numpy()
            for a, b in chunks(len(images), PREDICTION_BATCH)
        ]
    return np.concatenate(parts) if parts else np.zeros((0, n_classes), np.float32)
