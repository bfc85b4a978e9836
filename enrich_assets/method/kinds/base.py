"""What every kind of task answers, and the register of kinds. The kinds themselves stand in a file each beside this one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from enrich_assets.method.networks.trained import Trained, TrainingOptions

if TYPE_CHECKING:
    import torch

    from enrich_assets.method.statistics.by_patient import LeftOut

Clock = Callable[[], float]  # seconds since any moment, as `time.perf_counter`
Answers = NDArray[Any]  # (n,) int64 class codes, or (n, side, side) uint8 masks
TIMED_STEPS = 3


@dataclass(frozen=True)
class Score:
    """How good the predictions are, and what that was computed from.

    Attributes
    ----------
    value, low, high : float
        The metric over the test frames, and its 95 % interval over their patients (NaN where none can be had).
    predictions : DataFrame
        Columns `row` (int64, position of the test frame) and `class`, then those of the kind; all rows of a class stand
        together, in the order of the frames. `TaskKind.value_of` gives the value back from it.
    """

    value: float
    low: float
    high: float
    predictions: pd.DataFrame


class TaskKind(ABC):
    """One kind of task: what a label is, what is trained on it, and how its predictions are scored.

    Attributes
    ----------
    name : str
        As a profile says it.
    answers : {"class", "mask"}
        What a label is: a class of the frame, or a class of each of its pixels.
    metric, metric_label : str
        Of the score, as tables and as people write it.
    network_label, model_type : str
        Of the network, as people and as tables write it.
    margin : float
        Default margin of equivalence, in units of the metric.
    seconds_per_label : float
        Default time of an expert.
    hyperparameters : type
        Dataclass of the network's settings, with `epochs`, `min_steps`, `batch_size`, `learning_rate` and
        `lr_milestones`; its defaults are the paper's.
    needs_labels_to_pool : bool
        Whether the pool holds only frames with a label.
    offers : frozenset of str
        What of its network rules that see labels may look at: "margins", "features".
    """

    name: str
    answers: Literal["class", "mask"]
    metric: str
    metric_label: str
    network_label: str
    model_type: str
    margin: float
    seconds_per_label: float
    hyperparameters: type
    needs_labels_to_pool: bool
    offers: frozenset[str] = frozenset()

    # --------------------------------------------------------------------------------------------- network

    @abstractmethod
    def fit(
        self,
        images: NDArray[np.uint8],
        answers: Answers,
        n_classes: int,
        settings: Any,
        *,
        seed: int,
        **options: Unpack[TrainingOptions],
    ) -> Trained:
        """Train on a subset.

        Parameters
        ----------
        images : (n, side, side) uint8
        answers : (n,) int64 or (n, side, side) uint8
            Class codes, or masks of class indices (0 = background).
        n_classes : int
        settings : `hyperparameters`
        seed : int
            Same arguments, same machine: the same weights, bit for bit.
        **options
            device, progress, resume, save: see `TrainingOptions`.

        Raises
        ------
        ValueError
            When shapes, answers, settings or the checkpoint do not fit.
        """

    @abstractmethod
    def predict(
        self,
        weights: dict[str, Any],
        images: NDArray[np.uint8],
        settings: Any,
        device: str | torch.device | None = None,
    ) -> NDArray[Any]:
        """Predict the answers: (n, n_classes) float64 scores of the classes, or (n, side, side) uint8 masks.

        Raises
        ------
        ValueError
            When weights, settings and images do not fit together.
        """

    def margins(
        self,
        weights: dict[str, Any],
        images: NDArray[np.uint8],
        settings: Any,
        device: str | torch.device | None = None,
    ) -> NDArray[np.float64]:
        """How decided the network is: the greatest class score minus the second, 0 to 1; of a mask the mean over its pixels.

        Returns
        -------
        (n,) float64

        Raises
        ------
        ValueError
            Where the kind does not offer "margins", or weights, settings and images do not fit together.
        """
        raise ValueError(f"a task of kind {self.name} does not say how decided its network is")

    def scores_and_features(
        self,
        weights: dict[str, Any],
        images: NDArray[np.uint8],
        settings: Any,
        device: str | torch.device | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of the classes, (n, n_classes) float64, and what the last layer sees, (n, d) float64.

        Raises
        ------
        ValueError
            Where the kind does not offer "features", or weights, settings and images do not fit together.
        """
        raise ValueError(f"a task of kind {self.name} does not show the features of its network")

    def presentations(self, settings: Any, n_frames: int) -> float:
        """Frames presented to the network in one training on a subset of so many."""
        if getattr(settings, "steps", None) is not None:
            return float(settings.steps * min(settings.batch_size, n_frames))
        return float(max(settings.epochs * n_frames, settings.min_steps * settings.batch_size))

    def progress_made(self, predicted: NDArray[Any], truth: Answers, n_classes: int) -> dict[str, float]:
        """What a search for the length of a training watches on held-out frames, by name; greater is better.

        Unlike `score` it is defined for any frames, those that lack a class too. A kind whose hyper-parameters have no `search` is
        never asked.

        Parameters
        ----------
        predicted, truth
            As of `score`.
        n_classes : int
        """
        raise NotImplementedError(f"{self.name} does not say how the length of its trainings is found")

    def seconds_per_frame(
        self, settings: Any, size: int, n_classes: int, clock: Clock, device: str | None = None
    ) -> float:
        """Seconds for each time a frame is presented to the network in training, from a few real steps on noise.

        Parameters
        ----------
        settings : `hyperparameters`
        size : int
            Side of a frame in pixels.
        n_classes : int
        clock : callable
            Seconds since any moment.
        device : str, optional
            None: CUDA where there is one.
        """
        fixed = {"steps": None, "search": None} if hasattr(settings, "search") else {}
        short = replace(settings, epochs=1, min_steps=0, lr_milestones=(), **fixed)
        images = np.random.default_rng(0).integers(0, 256, (TIMED_STEPS * short.batch_size, size, size), np.uint8)
        answers = self.possible_answers(images, n_classes)
        one = short.batch_size
        self.fit(images[:one], answers[:one], n_classes, short, seed=0, device=device)  # libraries loaded, memory found
        began = clock()
        self.fit(images, answers, n_classes, short, seed=0, device=device)
        return (clock() - began) / len(images)

    @abstractmethod
    def possible_answers(self, images: NDArray[np.uint8], n_classes: int) -> Answers:
        """Any answers that fit the images, for trainings that are only timed."""

    # ----------------------------------------------------------------------------------------------- score

    @abstractmethod
    def score(
        self, predicted: NDArray[Any], truth: Answers, patients: NDArray[Any], classes: tuple[str, ...], positive: str
    ) -> Score:
        """Score predictions against the truth.

        Parameters
        ----------
        predicted : (n, n_classes) float64 or (n, side, side) uint8
            Of `predict`.
        truth : (n,) int64 or (n, side, side) uint8
        patients : (n,) ids of any type
            The interval is over them: frames of one patient resemble each other.
        classes : tuple of str
        positive : str
            Of two classes the one whose score is published.

        Raises
        ------
        ValueError
            Where the metric is undefined; `why_not_scorable` says so beforehand.
        """

    @abstractmethod
    def value_of(self, predictions: pd.DataFrame) -> float:
        """The value of the score, bit for bit, from published predictions (`frame_id` or `row`, `class`, and so on)."""

    def left_out(self, predictions: pd.DataFrame, patients: NDArray[Any]) -> LeftOut:
        """The score with each test patient left out: what a comparison of arms over patients rests on.

        Of any kind by `value_of`, once for each patient; a kind that knows a faster way has its own.

        Parameters
        ----------
        predictions : DataFrame
            As of `value_of`.
        patients : (rows,) ids of any type
            Of each row of the predictions.
        """
        from enrich_assets.method.statistics.by_patient import any_left_out

        return any_left_out(lambda stays: self.value_of(predictions[stays]), patients)

    def why_not_scorable(self, labels: pd.Series, classes: tuple[str, ...]) -> str | None:
        """Why no model of the task could be scored, whatever it is trained on; None if it can.

        Parameters
        ----------
        labels : Series
            One entry per labelled test frame: its class, or missing where the label is a mask.
        classes : tuple of str
            Of the task.
        """
        if labels.empty:
            return (
                "no labelled frame belongs to a test patient; label some (`enrich worklist TASK --test-set` says which), set "
                "split=test for some patients in the manifest, or raise split.test_share"
            )
        if len(classes) < 2:
            return f"only {len(classes)} class among the labels; a model needs two"
        return None

    # --------------------------------------------------------------------------------------------- classes

    @abstractmethod
    def class_names(self, named: tuple[str, ...] | None, found: Iterable[str], highest: int) -> tuple[str, ...]:
        """The names of the classes, in the order of their codes.

        Parameters
        ----------
        named : tuple of str or None
            Those of the profile, which hold where it names any.
        found : iterable of str
            Classes among the labels.
        highest : int
            Highest class index among the masks.
        """

    def class_codes(self, labels: pd.Series, classes: tuple[str, ...]) -> NDArray[np.int64]:
        """Position of each label among the classes, (n,) int64; -1 for none of them.

        Raises
        ------
        TypeError
            Where a label of this kind is no class.
        """
        if self.answers != "class":
            raise TypeError(f"a label of {self.name} is a {self.answers}, not a class")
        return pd.Index(classes).get_indexer(pd.Index(labels)).astype(np.int64)


_KINDS: dict[str, TaskKind] = {}


def register(kind: TaskKind) -> TaskKind:
    """Make a kind known by its name.

    Raises
    ------
    ValueError
        When another kind has the name.
    """
    known = _KINDS.setdefault(kind.name, kind)
    if type(known) is not type(kind):
        raise ValueError(
            f"{kind.name!r} is the name of {type(known).__name__} already; give {type(kind).__name__} another"
        )
    return known


def kind_of(name: str) -> TaskKind:
    """The kind of that name.

    Raises
    ------
    ValueError
        When there is none.
    """
    if name not in _KINDS:
        raise ValueError(f"no kind of task is called {name!r}; there are {', '.join(kind_names())}")
    return _KINDS[name]


def kind_of_metric(metric: str) -> TaskKind:
    """The first kind that is scored by this metric, for records that name the metric alone.

    Raises
    ------
    ValueError
        When there is none.
    """
    for kind in _KINDS.values():
        if kind.metric == metric:
            return kind
    raise ValueError(f"no kind of task is scored by {metric!r}")


def kind_names() -> tuple[str, ...]:
    """The names of all kinds, in alphabetical order."""
    return tuple(sorted(_KINDS))
