"""The one training loop under classifier and segmenter: `fit` a network to frames and answers, epoch by epoch.

Data lie on the device as uint8 and batches are gathered there. Not here: networks and their losses (`classification`,
`segmentation`), the schedule, checkpoints, and what makes a training repeatable (files of these names).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from enrich_assets.method.device import pick
from enrich_assets.method.networks.checkpoint import Checkpoint, fingerprint
from enrich_assets.method.networks.repeatable import (
    EPOCH,
    build,
    derived_seed,
    device_name,
    one_thread,
    repeatable,
    resident,
    state_arrays,
)
from enrich_assets.method.networks.schedule import Schedule, Scheduled, batches_of
from enrich_assets.method.networks.trained import Trained, TrainingOptions

CHECKPOINT_STEPS = 500  # an epoch that ends this many steps after the last checkpoint makes one

# (model, frames (b, h, w) uint8, their answers) -> mean loss of the batch (differentiable), further means to keep (0-d)
LossOf = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]


def fit(
    make: Callable[[], nn.Module],
    loss_of: LossOf,
    images: NDArray[np.uint8],
    answers: NDArray[Any],
    settings: Scheduled,
    *,
    seed: int,
    **options: Unpack[TrainingOptions],
) -> Trained:
    """Train a network on frames and their answers.

    Parameters
    ----------
    make : callable
        Makes the network on the CPU, its start weights from torch's generator, which is seeded here.
    loss_of : callable
        The mean loss of a batch; see `LossOf`.
    images : (n, h, w) uint8
        n at least 2 where the network has a batch norm.
    answers : (n, ...) of any integer type
        Gathered with the frames and handed to `loss_of`.
    settings : Scheduled
        The network's hyper-parameters; the schedule is read off them.
    seed : int
        Of start weights, order and dropout.
    **options
        See `TrainingOptions`.

    Returns
    -------
    Trained
        History: epoch, learning_rate, loss and the further means, per epoch. Same arguments, same machine: the same
        weights, bit for bit.

    Raises
    ------
    ValueError
        When there is no frame, or the checkpoint to resume belongs to another training.
    FloatingPointError
        When the loss is no longer finite.
    """
    device = pick(options.get("device"))
    resumable = bool(options.get("resume") or options.get("save"))
    with repeatable(device), one_thread(device):
        model = build(make, seed, device)
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        made_of = fingerprint(settings, seed, shapes, images, answers) if resumable else ""
        frames, truth = resident(images, device), resident(answers, device)
        history = _run_epochs(
            model,
            lambda batch: loss_of(model, frames[batch], truth[batch]),
            len(images),
            Schedule.of(settings),
            seed=seed,
            made_of=made_of,
            options=options,
        )
    return Trained(state_arrays(model), history, device_name(device))


def adam(model: nn.Module, learning_rate: float) -> torch.optim.Adam:
    """Adam over all parameters of the model, fused."""
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)


def _run_epochs(
    model: nn.Module,
    batch_loss: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]],
    n: int,
    schedule: Schedule,
    *,
    seed: int,
    made_of: str,
    options: TrainingOptions,
) -> list[dict[str, float]]:
    """Train in place; the history. `batch_loss` gets the positions of a batch, (b,) int64 on the model's device."""
    progress, save, resume = options.get("progress"), options.get("save"), options.get("resume")
    optimizer = adam(model, schedule.learning_rate)
    history: list[dict[str, float]] = []
    if resume is not None:
        checkpoint = Checkpoint.decode(resume)
        checkpoint.restore(model, optimizer, made_of)
        history = checkpoint.history
    epochs = schedule.epochs_for(n)
    batches = batches_of(n, schedule.batch_size)
    unsaved = 0
    model.train()
    for epoch in range(len(history), epochs):
        rate = schedule.rate(epoch, n)
        means = _run_epoch(batch_loss, optimizer, batches, rate, derived_seed(seed, EPOCH, epoch))
        history.append({"epoch": float(epoch), "learning_rate": rate, **means})
        if not math.isfinite(means["loss"]):
            raise FloatingPointError(f"the loss became {means['loss']} in epoch {epoch}; lower the learning rate")
        unsaved += len(batches)
        if save is not None and unsaved >= options.get("checkpoint_steps", CHECKPOINT_STEPS) and epoch + 1 < epochs:
            unsaved = 0
            save(Checkpoint.of(model, optimizer, epoch + 1, made_of, history).encode())
        if progress is not None:
            progress(epoch + 1, epochs, {"learning_rate": rate, **means})
    return history


def _run_epoch(
    batch_loss: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]],
    optimizer: torch.optim.Optimizer,
    batches: list[tuple[int, int]],
    rate: float,
    seed: int,
) -> dict[str, float]:
    """One pass over the frames in the order of the seed; loss and further means over them."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    n, device = batches[-1][1], optimizer.param_groups[0]["params"][0].device
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n)).to(device)
    torch.manual_seed(seed)
    sums: dict[str, Tensor] = {}
    for start, end in batches:
        loss, means = batch_loss(order[start:end])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        # Summed on the device: reading a number per step would stall a GPU.
        for name, value in {"loss": loss, **means}.items():
            weighted = value.detach() * (end - start)
            sums[name] = sums[name] + weighted if name in sums else weighted
    return {name: float(value) / n for name, value in sums.items()}
