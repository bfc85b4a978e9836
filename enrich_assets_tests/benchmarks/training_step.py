"""How near our training step comes to a bare loop over tensors that lie ready in memory.

    python -m enrich_assets_tests.benchmarks.training_step

Ours: `train_classifier` and `train_segmenter`, everything included (gathering uint8, normalising or augmenting, the
history, the schedule). Bare: the same network, loss and optimizer over float batches made beforehand; for the
segmenter they are augmented beforehand too, so its ratio also carries the cost of augmentation. On a CPU both have one
thread, as a cell has. Rounds of ours and of bare alternate and the median of the pairwise ratios is taken, so that other load on the machine hits both.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from enrich_assets.method.hyperparameters import ClassifierSettings, SegmenterSettings
from enrich_assets.method.images.augmentation import augment
from enrich_assets.method.networks.classification import shape_of as resnet_shape
from enrich_assets.method.networks.classification import train_classifier
from enrich_assets.method.networks.repeatable import device_name, mixed_precision, one_thread, placed, repeatable
from enrich_assets.method.networks.resnet import ResNet
from enrich_assets.method.networks.segmentation import augmentation_of, segmentation_loss, train_segmenter
from enrich_assets.method.networks.segmentation import shape_of as unet_shape
from enrich_assets.method.networks.training import adam
from enrich_assets.method.networks.unet import UNet

ROUNDS = 7
Model = torch.nn.Module
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def bare_seconds(
    model: Model, batches: list[tuple[torch.Tensor, torch.Tensor]], loss_of: Loss, epochs: int, device: torch.device
) -> float:
    """Train over ready batches; seconds."""
    optimizer = adam(model, 1e-4)
    model.train()
    start = clock(device)
    for _ in range(epochs):
        for x, y in batches:
            with mixed_precision(device):
                logits = model(x)
            loss = loss_of(logits, y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return clock(device) - start


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def compare(
    ours: Callable[[], object], bare: Callable[[], float], steps: int, device: torch.device
) -> dict[str, float]:
    """Median seconds a step of both, and the median of bare / ours over alternating rounds (1 = no overhead)."""
    times: list[tuple[float, float]] = []
    for _ in range(ROUNDS + 1):
        start = clock(device)
        ours()
        times.append((clock(device) - start, bare()))
    times = times[1:]  # the first warms up
    return {
        "ours_ms_per_step": 1e3 * statistics.median(a for a, _ in times) / steps,
        "bare_ms_per_step": 1e3 * statistics.median(b for _, b in times) / steps,
        "ratio": statistics.median(b / a for a, b in times),
    }


def classifier(device: torch.device, n: int, epochs: int) -> dict[str, float]:
    settings = ClassifierSettings(epochs=epochs, lr_milestones=())
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (n, 80, 80), dtype=np.uint8)
    labels = generator.integers(0, 2, n)
    x = (torch.from_numpy(images).float() / 255 - 0.5).unsqueeze(1).to(device)
    y = torch.from_numpy(labels).to(device)
    b = settings.batch_size
    batches = [(x[i : i + b].contiguous(memory_format=torch.channels_last), y[i : i + b]) for i in range(0, n, b)]
    with repeatable(device), one_thread(device):
        model = placed(ResNet(resnet_shape(settings, 2)), device)
        return compare(
            lambda: train_classifier(images, labels, 2, settings, seed=0, device=device),
            lambda: bare_seconds(model, batches, lambda o, t: F.cross_entropy(o.float(), t), epochs, device),
            epochs * len(batches),
            device,
        )


def segmenter(device: torch.device, n: int, epochs: int) -> dict[str, float]:
    settings = SegmenterSettings(epochs=epochs, lr_milestones=())
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (n, 272, 272), dtype=np.uint8)
    masks = generator.integers(0, 5, (n, 272, 272), dtype=np.uint8)
    movement = augmentation_of(settings)
    assert movement is not None
    x, y = augment(torch.from_numpy(images).to(device).float() / 255, torch.from_numpy(masks).to(device), movement)
    x, y, b = x.unsqueeze(1), y.long(), settings.batch_size
    batches = [(x[i : i + b].contiguous(memory_format=torch.channels_last), y[i : i + b]) for i in range(0, n, b)]
    with repeatable(device), one_thread(device):
        model = placed(UNet(unet_shape(settings, 5)), device)
        return compare(
            lambda: train_segmenter(images, masks, 5, settings, seed=0, device=device),
            lambda: bare_seconds(model, batches, segmentation_loss, epochs, device),
            epochs * len(batches),
            device,
        )


def measure() -> dict[str, dict[str, dict[str, float]]]:
    """{device: {"classifier": {...}, "segmenter": {...}}} at the paper's sizes; CUDA too where there is one."""
    found = {}
    for device in [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else []):
        many = 20 if device.type == "cuda" else 1
        found[device_name(device)] = {
            "classifier": classifier(device, n=96 * many, epochs=1 if many == 1 else 5),
            "segmenter": segmenter(device, n=4 * many, epochs=1 if many == 1 else 5),
        }
    return found


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
