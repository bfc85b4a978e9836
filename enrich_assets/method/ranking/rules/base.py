"""What a rule is: the base of all rules, what a rule may look at, and the names by which rules are called.

Here: nothing of any one rule. A rule stands in a file of its own beside this one, and naming its class makes it known. Rules
that see labels have another base, in `acquisition`; what both share is `NamedRule`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.embeddings.fixed_point import checked
from enrich_assets.method.ranking import greedy
from enrich_assets.method.ranking.measures import SSIM_UNIT, pixel_embeddings, ssim_matrix
from enrich_assets.method.ranking.order import NOT_COMPARED, Ranking, checked_start, similarity_to_earlier
from enrich_assets.method.ranking.quota import Quota, rank_under_quota

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]
Similarity = Literal["cosine", "ssim", "pixels"]
Given = TypeVar("Given")

RULES: dict[str, type[NamedRule]] = {}  # by name and by alias; each class adds itself when it is defined


@dataclass(frozen=True)
class Candidates:
    """The frames that a rule chooses among, by whatever of them it looks at, and what is asked of the choice."""

    embeddings: NDArray[np.int16] | None = None  # (n, d) fixed-point unit vectors, for the similarity cosine
    frames: NDArray[np.uint8] | None = None  # (n, height, width), for ssim and pixels
    frame_ids: Sequence[str] | NDArray[np.generic] | None = None  # (n,), for rules that go by names
    quota: Quota | None = None  # so many frames of a patient at most, layer after layer
    budgets: tuple[int, ...] = ()  # sizes of the subsets that are planned, for rules that plan for a size
    n_classes: int = 2  # how many kinds of frames are expected, for rules that make pseudo-labels

    def steps(self, start: int, budget: int) -> list[int]:
        """Sizes up to which is planned, one after the other: the budgets above `start`, up to `budget`; else that one."""
        return sorted({size for size in self.budgets if start < size <= budget}) or [budget]


class NamedRule(ABC):
    """A way to choose, known by its name.

    A subclass that has a `name` is known by it, and by its aliases, from the moment it is defined.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    compares_frames: ClassVar[bool] = True  # False: it looks at no vectors and no pixels
    needs_vectors: ClassVar[bool] = False  # True: a matrix of similarities is not enough
    sees_labels: ClassVar[bool] = False  # True: of the frames chosen before, by a network trained on them
    needs_of_network: ClassVar[str | None] = None  # one of `kinds.TaskKind.offers`

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            return
        for name in (cls.name, *cls.aliases):
            if name in RULES:
                raise TypeError(f"there is a rule '{name}' already: {RULES[name].__qualname__}")
            RULES[name] = cls


class Rule(NamedRule):
    """A label-blind way to choose: which frame comes next, given those chosen so far.

    All of them are exact and deterministic, and ties go to the lower index.
    """

    @abstractmethod
    def rank(
        self,
        candidates: Candidates,
        start: ArrayLike,
        budget: int,
        *,
        similarity: Similarity = "cosine",
        seed: int = 0,
        device: str | torch.device | None = None,
        progress: Progress | None = None,
    ) -> Ranking:
        """Put `budget` of the candidates in order; `rank_frames` says what the parameters are."""


class SimilarityRule(Rule):
    """A rule that compares frames: by the products of vectors, or by a given matrix."""

    def rank(
        self,
        candidates: Candidates,
        start: ArrayLike,
        budget: int,
        *,
        similarity: Similarity = "cosine",
        seed: int = 0,
        device: str | torch.device | None = None,
        progress: Progress | None = None,
    ) -> Ranking:
        """Measure, then choose; the seed does not matter."""
        if similarity == "ssim":
            matrix = ssim_matrix(_needed(candidates.frames, "frames", similarity), progress=progress)
            return self.by_matrix(matrix, start, budget, quota=candidates.quota)
        vectors = vectors_of(candidates, similarity)
        return self.by_vectors(vectors, start, budget, quota=candidates.quota, device=device, progress=progress)

    @abstractmethod
    def by_vectors(
        self,
        embeddings: NDArray[np.int16],
        start: ArrayLike,
        budget: int,
        *,
        quota: Quota | None = None,
        device: str | torch.device | None = None,
        progress: Progress | None = None,
    ) -> Ranking:
        """The order by exact products of (n, d) fixed-point vectors."""

    @abstractmethod
    def by_matrix(
        self, similarity: NDArray[np.int32], start: ArrayLike, budget: int, *, quota: Quota | None = None
    ) -> Ranking:
        """The order by a given (n, n) symmetric matrix, in units of 1 / `measures.SSIM_UNIT`."""


class VectorRule(Rule):
    """A rule that needs the vectors themselves: it clusters them, or takes a kernel of their distance.

    It plans up to the greatest budget; the frames after that follow by k-center-greedy.
    """

    needs_vectors = True

    def rank(
        self,
        candidates: Candidates,
        start: ArrayLike,
        budget: int,
        *,
        similarity: Similarity = "cosine",
        seed: int = 0,
        device: str | torch.device | None = None,
        progress: Progress | None = None,
    ) -> Ranking:
        """Choose by vectors, then put the rest in order."""
        q = vectors_of(candidates, similarity)
        chosen = checked_start(start, budget, len(q))
        steps = candidates.steps(len(chosen), budget)
        planned = self.plan(q, chosen, steps, candidates, seed=seed, progress=progress) if budget else chosen
        if candidates.quota is not None:
            x = q.astype(np.float32)
            order = rank_under_quota(
                lambda c: (x @ x[c]).astype(np.int64), len(q), planned, budget, candidates.quota, progress=progress
            )[0]
        else:
            order = greedy.rank(q, planned, budget, device=device, progress=progress).order
        return Ranking(order, similarity_to_earlier(q, order, len(chosen)))

    @abstractmethod
    def plan(
        self,
        q: NDArray[np.int16],
        chosen: NDArray[np.int64],
        steps: Sequence[int],
        candidates: Candidates,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> NDArray[np.int64]:
        """The order up to the last step, or shorter where nothing is left to choose by.

        Parameters
        ----------
        q : (n, d) int16
            Fixed-point vectors, checked.
        chosen : (m,) int64
            Frames chosen beforehand; the order begins with them.
        steps : sequence of int
            Sizes that are planned for, ascending, all above m (or m itself, where nothing more is asked for).
        candidates : Candidates
            For its quota and n_classes.
        seed : int
        progress : callable, optional
            Called with (done, of, {}).
        """


def vectors_of(candidates: Candidates, similarity: str) -> NDArray[np.int16]:
    """The vectors by which frames are compared, checked: (n, d) int16.

    Raises
    ------
    ValueError
        For ssim, which has none, or another name, and where the candidates lack what it needs.
    """
    if similarity == "pixels":
        return pixel_embeddings(_needed(candidates.frames, "frames", similarity))
    if similarity == "cosine":
        return checked(_needed(candidates.embeddings, "embeddings", similarity))
    if similarity == "ssim":
        raise ValueError("ssim has no vectors: this rule goes with `similarity: cosine` or `pixels`")
    *most, last = get_args(Similarity)
    raise ValueError(f"no similarity '{similarity}': {', '.join(most)} or {last}")


def _needed(value: Given | None, name: str, similarity: str) -> Given:
    if value is None:
        raise ValueError(f"the similarity {similarity} needs {name}")
    return value


def in_matrix(similarity: NDArray[np.int32], order: NDArray[np.int64], start: ArrayLike) -> Ranking:
    """An order with each frame's greatest similarity to those before it, by a given matrix."""
    greatest = np.full(len(order), NOT_COMPARED, np.int64)
    for at in range(max(np.asarray(start).size, 1), len(order)):
        greatest[at] = similarity[order[at], order[:at]].max()
    return Ranking(order, greatest, SSIM_UNIT)
