"""How long to train: the number of steps of a task, found once on all its labelled frames, before any arm is looked at.

The rule. A fifth of the pool's patients are held out (test patients play no part). The network trains on the others at its first
learning rate, and predicts the held-out frames every so many steps. The last evaluation at which anything it is judged by improved,
or at which its training loss was still falling, is the *best step*: the held-out patients may be four, and their measures stand still
by chance; the loss falls while more than a tenth of its fall was in the second half, by which a training is judged afterwards, too
(`statistics/adequacy.py`). It stops when nothing has improved for `patience` evaluations in a row and it has trained for
`beyond_best` times the best step, or when the bound is reached. The first learning rate is kept until the best step in every training
of the task, and the further ones follow: the steps of a training are the best step over the share of the first milestone. Where the
bound came first, a training takes the bound.

Every budget, arm and seed then takes this same number of steps, so that a small subset is not worse for having been trained less.
Steps, not seconds, bound the search: the same data give the same number on any machine of a kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.hyperparameters import SearchSettings
from enrich_assets.method.networks.repeatable import HELD_OUT, derived_seed
from enrich_assets.method.networks.schedule import Schedule
from enrich_assets.method.networks.trained import Progress, Trained, TrainingOptions, Weights
from enrich_assets.method.statistics.adequacy import CONVERGED_FALL

SMALLEST_GAIN = 0.002  # of a measure, that counts as an improvement: a fifth (tenth) of the margins of equivalence
MOST_WATCHED = 1000  # held-out frames that are predicted, evenly spaced; bounds what an evaluation costs


class Trainable(Protocol):
    """What is asked of a kind of task (`kinds.TaskKind`)."""

    def fit(
        self, images: Any, answers: Any, n_classes: int, settings: Any, *, seed: int, **options: Unpack[TrainingOptions]
    ) -> Trained: ...
    def predict(self, weights: Weights, images: Any, settings: Any, device: Any = None) -> NDArray[Any]: ...
    def progress_made(self, predicted: NDArray[Any], truth: NDArray[Any], n_classes: int) -> dict[str, float]: ...


@dataclass(frozen=True)
class Length:
    """How long the trainings of a task are, and what that was found from.

    Attributes
    ----------
    steps : int
        Of every training.
    best_step : int
        Of the search: the last evaluation at which anything improved, or the training loss still fell.
    stopped : bool
        Nothing improved any more; False where the bound came first.
    curve : list of dict
        Per evaluation: step, and each measure on the watched frames (greater is better).
    watched_patients, watched_frames : int
        Held out. 0 patients: none could be spared, and the training frames themselves were watched.
    """

    steps: int
    best_step: int
    stopped: bool
    curve: list[dict[str, float]]
    watched_patients: int
    watched_frames: int


def find_length(
    kind: Trainable,
    images: NDArray[np.uint8],
    answers: NDArray[Any],
    patients: NDArray[Any],
    n_classes: int,
    settings: Any,
    *,
    seed: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
) -> Length:
    """Find the number of steps by the rule of this module.

    Parameters
    ----------
    kind : Trainable
        Whose network is trained.
    images : (n, side, side) uint8
        All labelled frames of the pool.
    answers : (n,) int64 or (n, side, side) uint8
    patients : (n,) ids of any type
    n_classes : int
    settings : the kind's `hyperparameters`
        With `search`; its schedule gives the share of the first milestone.
    seed : int
        Of the choice of patients and of the training.

    Raises
    ------
    ValueError
        When there is no frame, or `settings.search` is None.
    """
    search = settings.search
    if search is None:
        raise ValueError("these settings fix the length of a training; there is nothing to search")
    held_out = held_out_frames(patients, answers, search.held_out_share, derived_seed(seed, HELD_OUT))
    train = ~held_out if held_out.any() else ~np.zeros_like(held_out)
    watched = np.flatnonzero(held_out if held_out.any() else train)
    watched = watched[np.linspace(0, len(watched) - 1, min(len(watched), MOST_WATCHED)).astype(int)]
    watch = _Watch(kind, images[watched], answers[watched], n_classes, settings, search, device, progress)
    bound = max(1, math.floor(search.max_steps * first_share(settings)))
    every = min(search.evaluate_every, bound)
    kind.fit(
        images[train],
        answers[train],
        n_classes,
        replace(settings, search=None, steps=bound, lr_milestones=()),
        seed=seed,
        device=device,
        progress=watch.hear,
        watch=watch,
        watch_every=every,
    )
    steps = math.ceil(watch.best_step / first_share(settings)) if watch.stopped else search.max_steps
    return Length(
        steps=min(search.max_steps, max(settings.min_steps, steps)),
        best_step=watch.best_step,
        stopped=watch.stopped,
        curve=watch.curve,
        watched_patients=len(np.unique(np.asarray(patients)[held_out])),
        watched_frames=len(watched),
    )


class _Watch:
    """Judges the weights of a training as it goes on."""

    def __init__(
        self,
        kind: Trainable,
        images: NDArray[np.uint8],
        answers: NDArray[Any],
        n_classes: int,
        settings: Any,
        search: SearchSettings,
        device: str | None,
        progress: Progress | None,
    ) -> None:
        self._progress, self._history = progress, list[dict[str, float]]()
        self._kind, self._images, self._answers, self._n_classes = kind, images, answers, n_classes
        self._settings, self._search, self._device = settings, search, device
        self._best: dict[str, float] = {}
        self._idle = 0
        self.curve: list[dict[str, float]] = []
        self.best_step, self.stopped = 0, False

    def hear(self, done: int, of: int, values: dict[str, float]) -> None:
        """The training's own progress."""
        self._history.append(values)
        if self._progress is not None:
            self._progress(done, of, values)

    @property
    def _is_falling(self) -> bool:
        """Whether the training loss still is; not where too little of it is known, and the patience is the measures' alone."""
        return loss_fall_share(self._history) > CONVERGED_FALL

    def __call__(self, step: int, weights: Weights) -> bool:
        predicted = self._kind.predict(weights, self._images, self._settings, self._device)
        found = self._kind.progress_made(predicted, self._answers, self._n_classes)
        self.curve.append({"step": float(step), **found})
        better = {name for name, value in found.items() if value > self._best.get(name, -np.inf) + SMALLEST_GAIN}
        self._best |= {name: found[name] for name in better}
        learns = bool(better) or self._is_falling
        self._idle = 0 if learns else self._idle + 1
        self.best_step = step if learns else self.best_step
        far = step >= self._search.beyond_best * self.best_step
        self.stopped = self._idle >= self._search.patience and far
        return self.stopped


def first_share(settings: Any) -> float:
    """Share of a training before its first milestone; 1 without any."""
    shares = Schedule.of(settings).milestone_shares()
    return min(1.0, shares[0][0]) if shares else 1.0


def held_out_frames(patients: NDArray[Any], answers: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Which frames to hold out: those of a share of the patients, drawn so that no class loses its last patient.

    A class of one patient stays with the training; one of several is among the held-out patients first.

    Parameters
    ----------
    patients : (n,) ids of any type
    answers : (n,) or (n, side, side) of any integer type
        What a patient has: the class codes of its frames, or the codes in its masks.
    share : float
        Of the patients, in (0, 1); one patient at least, if one can be spared.
    seed : int
        Of the draw.

    Returns
    -------
    (n,) bool
        All False where no patient can be spared.
    """
    people, person = np.unique(np.asarray(patients), return_inverse=True)
    has = [set(np.unique(np.asarray(answers)[person == k]).tolist()) for k in range(len(people))]
    left = {code: sum(code in codes for codes in has) for code in set().union(*has)}  # patients of it that train
    wanted = max(1, round(share * len(people)))
    order = [int(k) for k in np.random.default_rng(seed).permutation(len(people))]
    chosen: list[int] = []

    def take(k: int) -> None:
        if k not in chosen and all(left[code] > 1 for code in has[k]):
            chosen.append(k)
            left.update({code: left[code] - 1 for code in has[k]})

    for code in sorted(left, key=lambda code: (left[code], code)):  # the rarest class first
        for k in order:
            if any(code in has[c] for c in chosen) or len(chosen) >= wanted:
                break
            if code in has[k]:
                take(k)
    for k in order:
        if len(chosen) < wanted:
            take(k)
    return np.isin(person, chosen)


def half_as_long(settings: Any, n: int) -> Any:
    """The same training of n frames with half its steps: the learning rate falls at the same shares of it.

    Parameters
    ----------
    settings : the hyper-parameters of a kind
    n : int
        Frames.
    """
    schedule = Schedule.of(settings)
    shares = tuple((share, rate) for share, rate in schedule.milestone_shares() if share < 1)
    if schedule.steps is not None:
        return replace(settings, steps=max(1, schedule.steps // 2), lr_milestones=shares)
    return replace(settings, epochs=max(1, schedule.epochs_for(n) // 2), min_steps=0, lr_milestones=shares)


def loss_fall_share(history: list[dict[str, float]]) -> float:
    """How much of the whole fall of the training loss came in the second half.

    Parameters
    ----------
    history : list of dict
        With `loss`, one entry per epoch, round or part of an epoch; a kind of one's own may have none.

    Returns
    -------
    float
        (loss at half - loss at the end) over (loss at the start - loss at the end); a loss is the mean of a tenth of the
        entries. NaN where there are fewer than four entries, or the loss never fell or is not kept.
    """
    losses = np.asarray([entry.get("loss", np.nan) for entry in history], np.float64)
    if len(losses) < 4:
        return float("nan")
    some = max(1, len(losses) // 10)
    half = len(losses) // 2
    start, middle, end = losses[:some].mean(), losses[half - some : half].mean(), losses[-some:].mean()
    return float((middle - end) / (start - end)) if start > end else float("nan")
