"""How long to train, in which batches, at which learning rate. Numbers only, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

Milestones = tuple[tuple[float, float], ...]
ROUNDS = 100  # a training of so many steps is reported in about so many rounds of whole epochs
FEWEST_ROUNDS = 20  # or, of a pool so large that it is passed over a few times only, in so many parts at least


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
    lr_milestones : tuple of (float, float)
        (where, learning rate from then on), ascending. Where: an epoch (1 and more), or a share of the training (below 1).
        An epoch stands for its share of `epochs` wherever the training has another length.
    min_steps : int
        A small subset is passed over more often, until this many steps are done.
    steps : int, optional
        Exactly so many steps, whatever the number of frames; `epochs` and `min_steps` then only place the milestones.

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
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0 or self.min_steps < 0:
            raise ValueError("epochs, batch_size and learning_rate must be positive, min_steps not negative")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be positive, not {self.steps}")
        shares = self.milestone_shares()
        if [share for share, _ in shares] != sorted({share for share, _ in shares}):
            raise ValueError(f"lr_milestones must stand in ascending order: {self.lr_milestones}")

    @classmethod
    def of(cls, settings: Scheduled) -> Schedule:
        """The schedule that the settings of a network describe."""
        return cls(
            settings.epochs,
            settings.batch_size,
            settings.learning_rate,
            settings.lr_milestones,
            settings.min_steps,
            getattr(settings, "steps", None),  # a kind of one's own need not know it
        )

    def epochs_for(self, n: int) -> int:
        """Passes over n frames, the last one perhaps a part: `epochs`, or as many as the steps ask for."""
        a_pass = len(batches_of(n, self.batch_size))
        if self.steps is not None:
            return math.ceil(self.steps / a_pass)
        return max(self.epochs, math.ceil(self.min_steps / a_pass))

    def steps_for(self, n: int) -> int:
        """Steps of a training on n frames."""
        return self.steps if self.steps is not None else self.epochs_for(n) * len(batches_of(n, self.batch_size))

    def epochs_a_round(self, n: int) -> int:
        """Passes between two checkpoints, and at most between two entries of the history: one, or so many that there are about `ROUNDS`."""
        return 1 if self.steps is None else max(1, round(self.epochs_for(n) / ROUNDS))

    def reported(self, n: int) -> list[int]:
        """After which steps of an epoch the history gets an entry, in ascending order: the last, and where epochs are few others before."""
        steps = len(batches_of(n, self.batch_size))
        parts = 1 if self.steps is None else min(steps, math.ceil(FEWEST_ROUNDS * steps / self.steps))
        return [math.ceil(steps * part / parts) for part in range(1, parts + 1)]

    def milestone_shares(self) -> tuple[tuple[float, float], ...]:
        """(share of the training, learning rate from then on)."""
        return tuple((at if at < 1 else at / self.epochs, rate) for at, rate in self.lr_milestones)

    def rate(self, epoch: int, n: int, batch: int = 0) -> float:
        """Learning rate of a batch (from 0) of an epoch (from 0).

        A training by epochs changes its rate between epochs; one by steps between any two steps.
        """
        if self.steps is None:
            done = epoch / self.epochs_for(n)
        else:
            done = (epoch * len(batches_of(n, self.batch_size)) + batch) / self.steps
        rate = self.learning_rate
        for share, lower in self.milestone_shares():
            if done >= share:
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
