"""How long to train, in which batches, at which learning rate. Numbers only, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

Milestones = tuple[tuple[int, float], ...]


class Scheduled(Protocol):
    """Settings that say how long to train."""

    @property
    def epochs(self) -> int: ...
    @property
    def min_steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def lr_milestones(self) -> Milestones: ...


@dataclass(frozen=True)
class Schedule:
    """How long, in which portions, and at which learning rates.

    Parameters
    ----------
    epochs : int
        Passes over the frames, at least.
    batch_size : int
        Frames per step.
    learning_rate : float
        Until the first milestone.
    lr_milestones : tuple of (int, float)
        (epoch, learning rate from then on), epochs ascending.
    min_steps : int
        A small subset is passed over more often, until this many steps are done.

    Raises
    ------
    ValueError
        When a number is not positive or the milestones are out of order.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    lr_milestones: Milestones = ()
    min_steps: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0 or self.min_steps < 0:
            raise ValueError("epochs, batch_size and learning_rate must be positive, min_steps not negative")
        if [epoch for epoch, _ in self.lr_milestones] != sorted({epoch for epoch, _ in self.lr_milestones}):
            raise ValueError(f"lr_milestones must stand in ascending order of epochs: {self.lr_milestones}")

    @classmethod
    def of(cls, settings: Scheduled) -> Schedule:
        """The schedule that the settings of a network describe."""
        return cls(
            settings.epochs, settings.batch_size, settings.learning_rate, settings.lr_milestones, settings.min_steps
        )

    def epochs_for(self, n: int) -> int:
        """Passes over n frames: `epochs`, or as many as `min_steps` asks for."""
        return max(self.epochs, math.ceil(self.min_steps / len(batches_of(n, self.batch_size))))

    def rate(self, epoch: int, n: int) -> float:
        """Learning rate of an epoch (from 0). Where `min_steps` stretches the training, the milestones stretch too."""
        stretch = self.epochs_for(n) / self.epochs
        rate = self.learning_rate
        for milestone, lower in self.lr_milestones:
            if epoch >= milestone * stretch:
                rate = lower
        return rate


def batches_of(n: int, batch_size: int) -> list[tuple[int, int]]:
    """(start, end) of each batch of an epoch. A last batch of one joins the batch before it.

    Batch norm cannot normalise one sample; a subset of a single frame is the caller's to double.

    Raises
    ------
    ValueError
        For n = 0.
    """
    if n < 1:
        raise ValueError("there is no frame to train on")
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))


def chunks(n: int, size: int) -> list[tuple[int, int]]:
    """(start, end) of consecutive portions for prediction, where no batch norm minds a portion of one."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]
