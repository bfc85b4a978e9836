"""What a training is asked and what it leaves behind: plain types, without torch, so that every room may name them.

The loop stands in `training`, the schedule in `schedule`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]  # (done, of, losses and further means)
Save = Callable[[bytes], None]
Weights = dict[str, NDArray[Any]]  # name -> array, on the CPU
Watch = Callable[[int, Weights], bool]  # (steps done, weights so far) -> whether the training ends here


@dataclass(frozen=True)
class Trained:
    """What a training leaves behind.

    Attributes
    ----------
    weights : dict of str to ndarray
        The model's state, normalisation included.
    history : list of dict
        One entry per epoch; where the training has a number of steps, per round of epochs or part of one, as
        `Schedule.reported` says (VAE: per evaluation on the held-out patients).
    device : str
        What it ran on: "cpu", or the name of the GPU.
    """

    weights: Weights
    history: list[dict[str, float]]
    device: str


class TrainingOptions(TypedDict, total=False):
    """How a training runs; none of these changes its weights on one machine, but for a watch that ends it.

    Attributes
    ----------
    device : str or torch.device or None
        Where it runs; None for CUDA where there is one, else the CPU.
    progress : callable or None
        Called with each entry of the history: (epochs done, epochs, means since the last entry); with steps instead of epochs
        where the training has a number of steps.
    resume : bytes or None
        A checkpoint from `save`; the result is that of the uninterrupted training.
    save : callable or None
        Called with a checkpoint at the end of an epoch, once `checkpoint_steps` steps were taken since the last.
    checkpoint_steps : int
        Steps between two checkpoints, at least.
    watch : callable or None
        Asked every `watch_every` steps; where it answers True, the training ends.
    watch_every : int
        Steps.
    """

    device: str | torch.device | None
    progress: Progress | None
    resume: bytes | None
    save: Save | None
    checkpoint_steps: int
    watch: Watch | None
    watch_every: int
