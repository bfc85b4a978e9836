"""The order in which frames would be labelled: greedy k-centre on exact integers, the paper's rule ("max").

Other rules and measures stand in `rules`; what a prefix leaves uncovered, in `coverage`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.accelerator import accelerator_for
from enrich_assets.method.embeddings.fixed_point import EXACT, SCALE, checked, to_cosine

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]
NOT_COMPARED = -2 * EXACT  # `Ranking.similarity_to_chosen` of frames that nothing was compared with
SMALL = 2000  # frames up to which the plain rule is quicker than loading the compiled one
_BLOCK = 2048
_TAKEN = 2 * EXACT  # greater than any product: a chosen frame is never the least similar


@dataclass(frozen=True)
class Ranking:
    """An order of frames and how similar each was to those before it."""

    order: NDArray[np.int64]  # (budget,) frames, the start set first
    similarity_to_chosen: NDArray[np.int64]  # (budget,) greatest product with a frame before it; else NOT_COMPARED
    unit: int = SCALE**2  # what a product is divided by to make a similarity

    def cosine_to_chosen(self) -> NDArray[np.float64]:
        """(budget,) the greatest similarity to a frame before it; NaN for the start set and where none was measured."""
        if self.unit == SCALE**2:
            value = to_cosine(self.similarity_to_chosen)
        else:
            value = self.similarity_to_chosen / self.unit
        return np.where(self.similarity_to_chosen == NOT_COMPARED, np.nan, value)


def rank_by_max_similarity(
    embeddings: NDArray[np.int16],
    start: ArrayLike,
    budget: int,
    *,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Order frames so that each next one is the least similar to all chosen before it.

    embeddings: (n, d) int16, fixed-point unit vectors.   start: (m,) indices chosen beforehand. Returns (budget,)
    int64; the first m are `start`. A frame's similarity to the chosen is its greatest product with any of them; ties
    go to the lower index. Raises ValueError if budget < m or budget > n.   Chinn et al. 2023, algorithm 1 (greedy
    k-centre).
    """
    return rank(embeddings, start, budget, device=device, progress=progress).order


def rank(
    embeddings: NDArray[np.int16],
    start: ArrayLike,
    budget: int,
    *,
    greatest: NDArray[np.int32] | None = None,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """`rank_by_max_similarity` with each frame's similarity to those chosen before it.

    greatest: (n_old,) int32, of the first n_old frames the greatest product with any of `start` where it is already
    known (an earlier ranking that this one extends): then only the other frames are compared with `start`.
    device: None for CUDA where there is one and the pool is large. The order is the same everywhere.
    """
    q = checked(embeddings)
    chosen = checked_start(start, budget, len(q))
    known = _checked_known(greatest, len(q))
    if accelerator := accelerator_for(len(q), device):
        from enrich_assets.method.ranking import cuda as device_ranking

        return Ranking(*device_ranking.rank(q, chosen, budget, known, accelerator, progress))
    if len(q) <= SMALL:
        return Ranking(*_plainly(q, chosen, budget, known, progress))
    from enrich_assets.method.ranking import lazy as lazy_ranking

    return Ranking(*lazy_ranking.rank(q, chosen, budget, known, progress)[:2])


def _checked_known(greatest: NDArray[np.int32] | None, n: int) -> NDArray[np.int32]:
    known = np.empty(0, np.int32) if greatest is None else np.asarray(greatest)
    if known.ndim != 1 or len(known) > n or known.dtype.kind not in "iu":
        raise ValueError(f"greatest must hold an integer product for each of the first frames of {n}: {known.shape}")
    return known.astype(np.int32)


def _plainly(
    q: NDArray[np.int16], chosen: NDArray[np.int64], budget: int, known: NDArray[np.int32], progress: Progress | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rule as it reads: one product of the pool with each pick."""
    x = q.astype(np.float32)
    best = np.full(len(q), NOT_COMPARED, np.int64)
    best[: len(known)] = known
    for c in chosen if len(known) < len(q) else ():
        best[len(known) :] = np.maximum(best[len(known) :], (x[len(known) :] @ x[c]).astype(np.int64))
    best[chosen] = _TAKEN
    order = np.concatenate([chosen, np.empty(budget - len(chosen), np.int64)])
    similarity = np.full(budget, NOT_COMPARED, np.int64)
    for at in range(len(chosen), budget):
        pick = int(best.argmin())
        order[at], similarity[at] = pick, best[pick]
        np.maximum(best, (x @ x[pick]).astype(np.int64), out=best)
        best[pick] = _TAKEN
        if progress and at % 256 == 0:
            progress(at, budget, {})
    if progress:
        progress(budget, budget, {})
    return order, similarity


def similarity_to_earlier(q: NDArray[np.int16], order: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Greatest product of each frame of any order with those before it, from place `first` on; NOT_COMPARED before."""
    x = q[order].astype(np.float32)
    greatest = np.full(len(x), NOT_COMPARED, np.int64)
    for at in range(first, len(x), _BLOCK):
        mine = x[at : at + _BLOCK]
        among = np.where(np.tri(len(mine), k=-1, dtype=bool), mine @ mine.T, np.float32(NOT_COMPARED)).max(axis=1)
        for begin in range(0, at, _BLOCK):
            among = np.maximum(among, (mine @ x[begin : min(begin + _BLOCK, at)].T).max(axis=1))
        greatest[at : at + _BLOCK] = among
    return greatest


def rank_by_max_similarity_matrix(similarity: ArrayLike, start: ArrayLike, budget: int) -> NDArray[np.int64]:
    """The same rule on a given (n, n) symmetric similarity matrix of any real dtype; the diagonal is not looked at.

    Returns (budget,) int64 beginning with `start`; ties go to the lower index.
    """
    s = np.asarray(similarity)
    if s.ndim != 2 or s.shape[0] != s.shape[1]:
        raise ValueError(f"a similarity matrix must be (n, n), not {s.shape}")
    if s.dtype.kind == "f" and np.isnan(s).any():
        raise ValueError("the similarity matrix holds NaN")
    chosen = checked_start(start, budget, len(s))
    order = list(map(int, chosen))
    taken = np.zeros(len(s), bool)
    taken[chosen] = True
    best = s[:, chosen].max(axis=1) if len(chosen) else None
    while len(order) < budget:
        free = np.flatnonzero(~taken)
        pick = int(free[0] if best is None else free[best[free].argmin()])
        best = s[:, pick].copy() if best is None else np.maximum(best, s[:, pick])
        order.append(pick)
        taken[pick] = True
    return np.array(order, np.int64)


def checked_start(start: ArrayLike, budget: int, n: int) -> NDArray[np.int64]:
    """`start` as int64 indices, or ValueError: outside the pool, twice the same, or more of them than the budget."""
    given = np.asarray(start)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f"start must be a vector of indices, not {given.dtype} {given.shape}")
    chosen = given.astype(np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= n):
        raise ValueError(f"start holds an index outside 0..{n - 1}")
    if len(np.unique(chosen)) < len(chosen):
        raise ValueError("start holds a frame twice")
    if not len(chosen) <= budget <= n:
        raise ValueError(f"the budget must lie between the start set ({len(chosen)}) and the pool ({n}), not {budget}")
    return chosen
