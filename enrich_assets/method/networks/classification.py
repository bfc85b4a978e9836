"""View classification: train the ResNet on a labelled subset, and predict class probabilities.

The network is in `resnet`, the loop in `training`, the score in `statistics/metrics.py`.
"""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from enrich_assets.method.device import pick
from enrich_assets.method.hyperparameters import ClassifierSettings
from enrich_assets.method.networks.repeatable import (
    as_frames,
    load_arrays,
    mixed_precision,
    one_thread,
    placed,
    repeatable,
    resident,
)
from enrich_assets.method.networks.resnet import ResNet, ResNetShape
from enrich_assets.method.networks.schedule import chunks
from enrich_assets.method.networks.trained import Trained, TrainingOptions
from enrich_assets.method.networks.training import fit

MEAN = "input_mean"  # name of the per-pixel training mean among the weights
PREDICTION_BATCH = 256


def shape_of(settings: ClassifierSettings, n_classes: int) -> ResNetShape:
    """The ResNet that the settings describe."""
    return ResNetShape(n_classes, settings.widths, settings.dense, settings.dropout)


class Classifier(nn.Module):
    """uint8 frames in, logits out: the ResNet behind /255 and the per-pixel training mean.

    Parameters
    ----------
    shape : ResNetShape
        Of the network.
    mean : (h, w) float32 tensor in 0..1
        Subtracted from every frame; kept among the weights.
    """

    input_mean: Tensor

    def __init__(self, shape: ResNetShape, mean: Tensor) -> None:
        super().__init__()
        self.resnet = ResNet(shape)
        self.register_buffer(MEAN, mean)

    def prepared(self, frames: Tensor) -> Tensor:
        """(b, 1, h, w) float32, as the ResNet takes them."""
        x = frames.to(torch.float32) / 255 - self.input_mean  # (b, h, w)
        return x.unsqueeze(1).contiguous(memory_format=torch.channels_last)

    def forward(self, frames: Tensor) -> Tensor:
        return self.resnet(self.prepared(frames))


def train_classifier(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    n_classes: int,
    settings: ClassifierSettings | None = None,
    *,
    seed: int,
    **options: Unpack[TrainingOptions],
) -> Trained:
    """Train the ResNet on a subset.

    Parameters
    ----------
    images : (n, h, w) uint8
        The subset's frames.
    labels : (n,) int
        In 0..n_classes-1; a class may be missing from the subset.
    n_classes : int
        Classes of the task.
    settings : ClassifierSettings, optional
        The paper's by default.
    seed : int
        Of start weights, order and dropout.
    **options
        Device, progress, checkpoints: see `TrainingOptions`.

    Returns
    -------
    Trained
        The per-pixel mean of the subset stands among the weights ("input_mean", (h, w) float32 in 0..1). History: loss
        and accuracy per epoch (as trained, dropout on). Same arguments, same machine: the same weights, bit for bit.

    Raises
    ------
    ValueError
        When shapes, labels, settings or the checkpoint do not fit.
    """
    settings = settings or ClassifierSettings()
    images, labels = _checked(images, labels, n_classes)
    shape = shape_of(settings, n_classes)
    if min(images.shape[1:]) < shape.least_side:
        raise ValueError(f"{len(shape.widths) - 1} blocks need images of {shape.least_side} pixels or more a side")
    if len(images) == 1:  # batch norm needs two
        images, labels = np.repeat(images, 2, axis=0), np.repeat(labels, 2)
    # Summed as integers, so that the mean does not depend on the order of the frames.
    mean = (images.sum(axis=0, dtype=np.int64) / (255 * len(images))).astype(np.float32)
    return fit(
        lambda: Classifier(shape, torch.from_numpy(mean)),
        classification_loss,
        images,
        labels,
        settings,
        seed=seed,
        **options,
    )


def classification_loss(model: nn.Module, frames: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of a batch, and the share of its frames classified rightly.

    frames: (b, h, w) uint8.   truth: (b,) int64.
    """
    with mixed_precision(frames.device):
        logits = model(frames)
    logits = logits.float()
    return F.cross_entropy(logits, truth), {"accuracy": (logits.argmax(1) == truth).float().mean()}


def _checked(
    images: NDArray[np.uint8], labels: NDArray[np.integer[Any]], n_classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, codes = as_frames(images), np.asarray(labels, dtype=np.int64)
    if codes.shape != images.shape[:1]:
        raise ValueError(f"{len(images)} images but labels {codes.shape}")
    if len(images) == 0:
        raise ValueError("there is no frame to train on")
    if codes.min() < 0 or codes.max() >= n_classes:
        raise ValueError(f"a label lies outside 0..{n_classes - 1}")
    return images, codes


@torch.inference_mode()
def predict_classes(
    weights: dict[str, Any],
    images: NDArray[np.uint8],
    settings: ClassifierSettings | None = None,
    device: str | torch.device | None = None,
) -> NDArray[np.float32]:
    """Class probabilities: the softmax, in float32 throughout.

    Parameters
    ----------
    weights : dict of str to ndarray
        Of a `Trained`.
    images : (n, h, w) uint8
        Of the size trained on.
    settings : ClassifierSettings, optional
        Those of the training; the paper's by default.
    device : str or torch.device, optional
        None: CUDA where there is one.

    Returns
    -------
    (n, n_classes) float32

    Raises
    ------
    ValueError
        When weights, settings and images do not fit together.
    """
    return _predict(weights, images, settings or ClassifierSettings(), device)[0]


@torch.inference_mode()
def predict_features(
    weights: dict[str, Any],
    images: NDArray[np.uint8],
    settings: ClassifierSettings | None = None,
    device: str | torch.device | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Class probabilities, and what the last layer sees: (n, n_classes) and (n, dense) float32.

    Parameters and errors as of `predict_classes`.
    """
    return _predict(weights, images, settings or ClassifierSettings(), device)


def _predict(
    weights: dict[str, Any],
    images: NDArray[np.uint8],
    settings: ClassifierSettings,
    device: str | torch.device | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities and features, chunk by chunk."""
    images = as_frames(images)
    if MEAN not in weights:
        raise ValueError(f"these weights are not of a classifier: no {MEAN!r} among them")
    height, width = weights[MEAN].shape
    if images.shape[1:] != (height, width):
        raise ValueError(f"trained on {height}x{width} images, given {images.shape[1]}x{images.shape[2]}")
    n_classes = int(weights["resnet.head.bias"].shape[0])
    place = pick(device)
    probabilities = np.zeros((len(images), n_classes), np.float32)
    features = np.zeros((len(images), settings.dense), np.float32)
    # Not drawn from a seed: every weight is overwritten.
    with repeatable(place), one_thread(place):
        model = Classifier(shape_of(settings, n_classes), torch.zeros(height, width))
        placed(load_arrays(model, weights), place).eval()
        for a, b in chunks(len(images), PREDICTION_BATCH):
            seen = model.resnet.features(model.prepared(resident(images[a:b], place)))
            features[a:b] = seen.cpu().numpy()
            probabilities[a:b] = torch.softmax(model.resnet.head(seen), dim=1).cpu().numpy()
    return probabilities, features
