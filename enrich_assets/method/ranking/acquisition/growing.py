"""An order grown budget by budget: the network trained on a budget's labels chooses the frames of the next.

Here: the loop, and what it may see. Labels are asked for by position, of frames already chosen and of no other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.networks.trained import Trained, TrainingOptions, Weights
from enrich_assets.method.ranking.acquisition.base import LabelAwareRule, Scores

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]


class Learner(Protocol):
    """What is asked of a kind of task (`kinds.TaskKind`)."""

    def fit(
        self,
        images: NDArray[np.uint8],
        answers: NDArray[Any],
        n_classes: int,
        settings: Any,
        *,
        seed: int,
        **options: Unpack[TrainingOptions],
    ) -> Trained: ...

    def margins(
        self, weights: Weights, images: NDArray[np.uint8], settings: Any, device: str | torch.device | None = None
    ) -> NDArray[np.float64]: ...

    def scores_and_features(
        self, weights: Weights, images: NDArray[np.uint8], settings: Any, device: str | torch.device | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...


@dataclass(frozen=True)
class Purchases:
    """Frames to choose among, how their labels are bought, and what is trained on them.

    Attributes
    ----------
    images : callable
        Positions (n,) int64 -> (n, side, side) uint8.
    labels : callable
        Positions (n,) int64 -> what a network learns of them; asked of chosen frames only.
    size : int
        Frames in the pool.
    n_classes : int
    learner : Learner
    settings : Any
        Of the network.
    device : str or None
    """

    images: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    labels: Callable[[NDArray[np.int64]], NDArray[Any]]
    size: int
    n_classes: int
    learner: Learner
    settings: Any
    device: str | None = None


@dataclass(frozen=True)
class _View:
    """A trained network and the pool, without its labels."""

    pool: Purchases
    weights: Weights
    at_once: int = 4096  # frames in memory

    def margins(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.concatenate([self._margins(part) for part in self._parts(frames)])

    def scores(self, frames: NDArray[np.int64]) -> Scores:
        parts = [self._scores(part) for part in self._parts(frames)]
        return Scores(np.concatenate([p for p, _ in parts]), np.concatenate([f for _, f in parts]))

    def _parts(self, frames: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [frames[at : at + self.at_once] for at in range(0, len(frames), self.at_once)] or [frames]

    def _margins(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        pool = self.pool
        return pool.learner.margins(self.weights, pool.images(frames), pool.settings, pool.device)

    def _scores(self, frames: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        pool = self.pool
        return pool.learner.scores_and_features(self.weights, pool.images(frames), pool.settings, pool.device)


def trainings(start: int, budgets: Sequence[int]) -> list[int]:
    """Sizes of the subsets on which a network is trained to choose the next: all but the last of start and budgets."""
    sizes = [start, *sorted({size for size in budgets if size > start})]
    return sizes[:-1]


def grow(
    rule: LabelAwareRule,
    pool: Purchases,
    start: NDArray[np.int64],
    budgets: Sequence[int],
    *,
    seed: int,
    progress: Callable[[int], AbstractContextManager[Progress]] | None = None,
    resume: bytes | None = None,
    save: Callable[[bytes], None] | None = None,
) -> NDArray[np.int64]:
    """Extend an order to the greatest budget.

    Parameters
    ----------
    rule : LabelAwareRule
    pool : Pool
    start : (m,) int64
        Frames chosen beforehand, at least one where a budget is greater.
    budgets : sequence of int
        At most the pool. Those up to m buy nothing.
    seed : int
        Of every training, and of the rule's draws.
    progress : callable, optional
        Of the size of a training's subset: a context that gives what is called with (done, of, losses) in it.
    resume : bytes or None
        What `save` was called with last; the result is that of the uninterrupted growth.
    save : callable or None
        Called with where the growth stands, within trainings too.

    Returns
    -------
    (max(m, greatest budget),) int64

    Raises
    ------
    ValueError
        For no start, budgets beyond the pool, or where the network does not offer what the rule looks at.
    """
    order, training = (start.astype(np.int64), None) if resume is None else _decoded(resume)
    sizes = sorted({size for size in budgets if size > len(order)})
    if sizes and not len(order):
        raise ValueError("there is no frame to train on: a rule that sees labels needs a start set")
    if sizes and sizes[-1] > pool.size:
        raise ValueError(f"a budget of {sizes[-1]} is more than the pool's {pool.size} frames")
    for size in sizes:
        with progress(len(order)) if progress else nullcontext() as advance:
            trained = pool.learner.fit(
                pool.images(order),
                pool.labels(order),
                pool.n_classes,
                pool.settings,
                seed=seed,
                device=pool.device,
                progress=advance,
                resume=training,
                save=partial(_save_training, save, order) if save else None,
            )
        training = None
        free = np.setdiff1d(np.arange(pool.size), order)
        picks = rule.choose(_View(pool, trained.weights), order, free, size - len(order), seed=seed)
        order = np.concatenate([order, picks])
        if save:
            save(_encoded(order, b""))
    return order


def _save_training(save: Callable[[bytes], None], order: NDArray[np.int64], training: bytes) -> None:
    save(_encoded(order, training))


def _encoded(order: NDArray[np.int64], training: bytes) -> bytes:
    return struct.pack("<q", len(order)) + order.astype("<i8").tobytes() + training


def _decoded(content: bytes) -> tuple[NDArray[np.int64], bytes | None]:
    (n,) = struct.unpack_from("<q", content)
    order = np.frombuffer(content, "<i8", n, 8).astype(np.int64)
    return order, content[8 + 8 * n :] or None
