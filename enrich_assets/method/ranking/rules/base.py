"""What a rule is: the base of all rules, what a rule may look at, and the names by which rules are called.

Here: nothing of any one rule. A rule stands in a file of its own beside this one, and naming its class makes it known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.embeddings.fixed_point import checked
from enrich_assets.method.ranking.measures import SSIM_UNIT, pixel_embeddings, ssim_matrix
from enrich_assets.method.ranking.order import NOT_COMPARED, Ranking

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]
Similarity = Literal["cosine", "ssim", "pixels"]
Given = TypeVar("Given")

RULES: dict[str, type[Rule]] = {}  # by name and by alias; each class adds itself when it is defined


@dataclass(frozen=True)
class Candidates:
    """The frames that a rule chooses among, by whatever of them it looks at."""

    embeddings: NDArray[np.int16] | None = None  # (n, d) fixed-point unit vectors, for the similarity cosine
    frames: NDArray[np.uint8] | None = None  # (n, height, width), for ssim and pixels
    frame_ids: Sequence[str] | NDArray[np.generic] | None = None  # (n,), for rules that go by names


class Rule(ABC):
    """A way to choose: which frame comes next, given those chosen so far.

    A subclass that has a `name` is known by it, and by its aliases, from the moment it is defined. All rules are exact and
    deterministic, and ties go to the lower index.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    compares_frames: ClassVar[bool] = True  # False: it looks at frame ids alone

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            return
        for name in (cls.name, *cls.aliases):
            if name in RULES:
                raise TypeError(f"there is a rule '{name}' already: {RULES[name].__qualname__}")
            RULES[name] = cls

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
            return self.by_matrix(matrix, start, budget)
        if similarity == "pixels":
            vectors = pixel_embeddings(_needed(candidates.frames, "frames", similarity))
        elif similarity == "cosine":
            vectors = checked(_needed(candidates.embeddings, "embeddings", similarity))
        else:
            *most, last = get_args(Similarity)
            raise ValueError(f"no similarity '{similarity}': {', '.join(most)} or {last}")
        return self.by_vectors(vectors, start, budget, device=device, progress=progress)

    @abstractmethod
    def by_vectors(
        self,
        embeddings: NDArray[np.int16],
        start: ArrayLike,
        budget: int,
        *,
        device: str | torch.device | None = None,
        progress: Progress | None = None,
    ) -> Ranking:
        """The order by exact products of (n, d) fixed-point vectors."""

    @abstractmethod
    def by_matrix(self, similarity: NDArray[np.int32], start: ArrayLike, budget: int) -> Ranking:
        """The order by a given (n, n) symmetric matrix, in units of 1 / `measures.SSIM_UNIT`."""


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
