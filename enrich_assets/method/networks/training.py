"""The one training loop under classifier and segmenter: `fit` a network to frames and answers, epoch by epoch.

Data lie on the device as uint8 and batches are gathered there. Not here: networks and their losses (`classification`,
`segmentation`), the schedule, checkpoints, and what makes a training repeatable (files of these names).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
from enrich_assets.method.networks.trained import Progress, Trained, TrainingOptions

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
        History: epoch, learning_rate, loss and the further means, per epoch or as `Schedule` says. Same arguments, same machine: the same
        weights, bit for bit.

    Raises
    ------
    ValueError
        When there is no frame, or the checkpoint to resume belongs to another training.
    FloatingPointError
        When the loss, or a weight in the end, is no longer finite.
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
    weights = state_arrays(model)
    _require_numbers(weights)
    return Trained(weights, history, device_name(device))


def _require_numbers(weights: Mapping[str, NDArray[Any]]) -> None:
    """Raise where the last step, whose loss nobody looks at, left weights that are no numbers: all they predict would be none."""
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise FloatingPointError(f"the weights {name} are not finite after the last step; lower the learning rate")


def adam(model: nn.Module, learning_rate: float) -> torch.optim.Adam:
    """Adam over all parameters of the model, fused."""
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)


class _Ended(Exception):
    """The watch has seen enough."""


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
    begun = 0  # epochs
    if resume is not None:
        checkpoint = Checkpoint.decode(resume)
        checkpoint.restore(model, optimizer, made_of)
        history, begun = checkpoint.history, checkpoint.epoch
    epochs, steps, a_round = schedule.epochs_for(n), schedule.steps_for(n), schedule.epochs_a_round(n)
    batches, reported = batches_of(n, schedule.batch_size), schedule.reported(n)
    report = _Report(history, begun, schedule, n, progress)
    ask = _asking(model, options)
    unsaved = 0
    model.train()
    for first in range(begun, epochs, a_round):
        last = min(first + a_round, epochs)  # epoch after the round
        try:
            for epoch in range(first, last):
                done = epoch * len(batches)

                def after(batch: int, done: int = done) -> None:
                    ask(done + batch + 1)
                    if batch + 1 in reported[:-1] and done + batch + 1 < steps:
                        report.entry(done + batch + 1)
                        report.tell(done + batch + 1)

                _run_epoch(
                    batch_loss,
                    optimizer,
                    batches[: steps - done],
                    n,
                    report.means,
                    rate_of=lambda batch, epoch=epoch: schedule.rate(epoch, n, batch),  # type: ignore[misc]
                    after=after,
                    seed=derived_seed(seed, EPOCH, epoch),
                )
        except _Ended:
            report.entry(steps)
            return history
        taken = min(last * len(batches), steps)
        report.entry(taken)
        unsaved += (last - first) * len(batches)
        if save is not None and unsaved >= options.get("checkpoint_steps", CHECKPOINT_STEPS) and last < epochs:
            unsaved = 0
            save(Checkpoint.of(model, optimizer, last, made_of, history).encode())
        report.tell(taken)
    return history


class _Report:
    """The history of a training, entry by entry: epoch (of its first step, from 0), learning rate, loss and further means."""

    def __init__(
        self, history: list[dict[str, float]], begun: int, schedule: Schedule, n: int, progress: Progress | None
    ) -> None:
        self.means = _Means()
        self._history, self._schedule, self._n, self._progress = history, schedule, n, progress
        self._steps_of_epoch = len(batches_of(n, schedule.batch_size))
        self._from: float = begun  # epochs

    def entry(self, steps: int) -> None:
        """Note what was since the last entry. `steps`: done so far.

        Raises
        ------
        FloatingPointError
            When the loss is no longer finite.
        """
        rate = self._schedule.rate(int(self._from), self._n, round(self._from % 1 * self._steps_of_epoch))
        entry = {"epoch": float(self._from), "learning_rate": rate, **self.means.taken()}
        self._history.append(entry)
        if not math.isfinite(entry["loss"]):
            epoch = int(self._from)
            raise FloatingPointError(f"the loss became {entry['loss']} in epoch {epoch}; lower the learning rate")
        self._from = steps / self._steps_of_epoch

    def tell(self, steps: int) -> None:
        """Tell whoever asked for the progress how far it is, and the last entry."""
        if self._progress is not None:
            epochs, of = self._schedule.epochs_for(self._n), self._schedule.steps
            values = {name: value for name, value in self._history[-1].items() if name != "epoch"}
            self._progress(*((math.ceil(self._from), epochs) if of is None else (steps, of)), values)


def _asking(model: nn.Module, options: TrainingOptions) -> Callable[[int], None]:
    """Asks the watch when it is due; raises _Ended where it has seen enough."""
    watch, every = options.get("watch"), options.get("watch_every", 1)

    def ask(step: int) -> None:
        if watch is None or step % every:
            return
        with torch.random.fork_rng(devices=[]):  # what the watch draws is no part of the training
            if watch(step, state_arrays(model)):
                raise _Ended

    return ask


class _Means:
    """Running means over frames, summed on the device: reading a number per step would stall a GPU."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._frames = 0

    def add(self, values: dict[str, Tensor], frames: int) -> None:
        self._frames += frames
        for name, value in values.items():
            weighted = value.detach() * frames
            self._sums[name] = self._sums[name] + weighted if name in self._sums else weighted

    def taken(self) -> dict[str, float]:
        """The means; they begin anew."""
        means = {name: float(value) / self._frames for name, value in self._sums.items()}
        self._sums, self._frames = {}, 0
        return means


def _run_epoch(
    batch_loss: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]],
    optimizer: torch.optim.Optimizer,
    batches: list[tuple[int, int]],
    n: int,
    means: _Means,
    *,
    rate_of: Callable[[int], float],
    after: Callable[[int], None],
    seed: int,
) -> None:
    """One pass over the n frames in the order of the seed, or its first batches; `means` gets their loss and further means."""
    device = optimizer.param_groups[0]["params"][0].device
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n)).to(device)
    torch.manual_seed(seed)
    for number, (start, end) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = rate_of(number)
        loss, more = batch_loss(order[start:end])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        means.add({"loss": loss, **more}, end - start)
        after(number)
