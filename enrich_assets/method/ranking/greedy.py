"""Greedy k-centre on exact integers, the paper's way to choose: each next frame is the least similar to all chosen.

Here: the door to the several ways of that one computation (plain, lazy and compiled, on an accelerator), and the same on a
given matrix. As a rule among others it stands in `rules`; what a prefix leaves uncovered, in `coverage`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.accelerator import accelerator_for
from enrich_assets.method.embeddings.fixed_point import EXACT, checked
from enrich_assets.method.ranking.order import NOT_COMPARED, Ranking, checked_start

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]
SMALL = 2000  # frames up to which the plain rule is quicker than loading the compiled one
_TAKEN = 2 * EXACT  # greater than any product: a chosen frame is never the least similar


def rank_by_max_similarity(
    embeddings: NDArray[np.int16],
    start: ArrayLike,
    budget: int,
    *,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Order frames so that each next one is the least similar to all chosen before it.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors (`fixed_point.to_fixed_point`).
    start : (m,) int
        Frames chosen beforehand.
    budget : int
        How many frames to put in order, `start` among them.
    device : str or torch.device, optional
        Without it CUDA, where there is one and the pool is large. The order is the same everywhere.
    progress : callable, optional
        Called with (done, of, {}).

    Returns
    -------
    (budget,) int64
        The first m are `start`. A frame's similarity to the chosen is its greatest product with any of them; ties go to
        the lower index.

    Raises
    ------
    ValueError
        If budget < m or budget > n, or `start` holds a frame twice or one outside the pool.

    References
    ----------
    Chinn et al. JAMIA 2023;30:1079, algorithm 1 (greedy k-centre).
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
    """`rank_by_max_similarity`, with each frame's similarity to those chosen before it.

    Parameters
    ----------
    embeddings, start, budget, device, progress
        As there.
    greatest : (n_old,) int32, optional
        Of the first n_old frames the greatest product with any of `start`, where it is already known (from an earlier
        ranking that this one extends): then only the other frames are compared with `start`.

    Returns
    -------
    Ranking
    """
    q = checked(embeddings)
    chosen = checked_start(start, budget, len(q))
    known = _checked_known(greatest, len(q))
    if accelerator := accelerator_for(len(q), device):
        from enrich_assets.method.ranking import cuda

        return Ranking(*cuda.rank(q, chosen, budget, known, accelerator, progress))
    if len(q) <= SMALL:
        return Ranking(*_plainly(q, chosen, budget, known, progress))
    from enrich_assets.method.ranking import lazy

    return Ranking(*lazy.rank(q, chosen, budget, known, progress)[:2])


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


def rank_by_max_similarity_matrix(similarity: ArrayLike, start: ArrayLike, budget: int) -> NDArray[np.int64]:
    """The same on a given similarity matrix.

    Parameters
    ----------
    similarity : (n, n) of any real dtype
        Symmetric; the diagonal is not looked at.
    start, budget
        As in `rank_by_max_similarity`.

    Returns
    -------
    (budget,) int64
        Beginning with `start`; ties go to the lower index.

    Raises
    ------
    ValueError
        For a matrix that is not square or holds NaN, and as `rank_by_max_similarity` does.
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
