"""What a subset leaves out: of each left-out frame, how similar the nearest chosen one is.

The honest statistic beside the share of similar pairs, which hardly moves as a subset grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.accelerator import accelerator_for
from enrich_assets.method.embeddings.fixed_point import EXACT, checked, to_cosine
from enrich_assets.method.ranking.order import checked_start

if TYPE_CHECKING:
    import torch

BLOCK = 2048
WORTH_COMPILING = 50_000_000  # products from which the compiled tiles are quicker, their loading included


@dataclass(frozen=True)
class Coverage:
    """Left-out frames and their nearest chosen ones."""

    left_out: NDArray[np.int64]  # (m,) frames not chosen, ascending
    nearest: NDArray[np.int64]  # (m,) the chosen frame most similar to each; earlier in `chosen` on ties
    similarity: NDArray[np.int32]  # (m,) their exact product

    def cosines(self) -> NDArray[np.float64]:
        """(m,) the same as cosines."""
        return to_cosine(self.similarity)


def coverage_of(embeddings: NDArray[np.int16], chosen: ArrayLike) -> Coverage:
    """The nearest chosen frame of every left-out one, on the CPU; `coverage_at` for many frames and budgets.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors (`fixed_point.to_fixed_point`).
    chosen : (k,) int
        Distinct frames, at least one.

    Raises
    ------
    ValueError
        If nothing is chosen, or a frame outside the pool, or one twice.
    """
    q = checked(embeddings)
    picks = checked_start(chosen, len(q), len(q))
    if not len(picks):
        raise ValueError("nothing is chosen: there is no coverage")
    left_out = np.setdiff1d(np.arange(len(q)), picks)
    b = q[picks].astype(np.float32)
    nearest, similarity = np.empty(len(left_out), np.int64), np.empty(len(left_out), np.int32)
    for at in range(0, len(left_out), BLOCK):
        products = q[left_out[at : at + BLOCK]].astype(np.float32) @ b.T
        best = products.argmax(axis=1)
        nearest[at : at + BLOCK] = picks[best]
        similarity[at : at + BLOCK] = products[np.arange(len(best)), best]
    return Coverage(left_out, nearest, similarity)


def coverage_at(
    embeddings: NDArray[np.int16],
    order: ArrayLike,
    budgets: Sequence[int],
    *,
    device: str | torch.device | None = None,
) -> dict[int, NDArray[np.float64]]:
    """For each budget, how similar each left-out frame is to the nearest frame of the order's prefix of that length.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors.
    order : (m,) int
        Distinct frames.
    budgets : sequence of int
        Between 1 and m.
    device : str or torch.device, optional
        Without it CUDA, where there is one and the pool is large.

    Returns
    -------
    dict
        Of each budget (n - budget,) float64: the greatest cosine, in ascending order of frame. All budgets together
        cost what the greatest of them costs.

    Raises
    ------
    ValueError
        For other budgets, a frame outside the pool, or one twice.
    """
    q = checked(embeddings)
    ranked = checked_start(order, len(q), len(q))
    sizes = sorted({int(b) for b in budgets})
    if sizes and not (sizes[0] >= 1 and sizes[-1] <= len(ranked)):
        raise ValueError(f"budgets must lie between 1 and the {len(ranked)} frames of the order: {sizes}")
    greatest = np.full(len(q), -2 * EXACT, np.int32)
    left = np.ones(len(q), bool)
    covered: dict[int, NDArray[np.float64]] = {}
    for before, size in zip([0, *sizes], sizes, strict=False):
        left[ranked[before:size]] = False
        _raise(greatest, q, ranked[before:size], np.flatnonzero(left), device)
        covered[size] = to_cosine(greatest[left])
    return covered


def _raise(
    best: NDArray[np.int32],
    q: NDArray[np.int16],
    chosen: NDArray[np.int64],
    frames: NDArray[np.int64],
    device: str | torch.device | None,
) -> None:
    """Raise best[frames] to their greatest product with any of the chosen."""
    if accelerator := accelerator_for(len(q), device):
        import torch

        from enrich_assets.method.ranking.cuda import greatest

        left, right = (torch.from_numpy(q[part]).to(accelerator).float() for part in (frames, chosen))
        best[frames] = np.maximum(best[frames], greatest(left, right).int().cpu().numpy())
        return
    if len(frames) * len(chosen) > WORTH_COMPILING:
        from enrich_assets.method.pairs.tiles import as_rows
        from enrich_assets.method.ranking.lazy import TAKEN, CatchUp, Known
        from enrich_assets.method.threads import n_threads

        known = Known(as_rows(q), best, np.zeros(len(q), np.int64), as_rows(q[chosen]))
        with CatchUp(known, n_threads()) as catch_up:
            catch_up(frames, len(chosen), TAKEN)
        return
    for row in range(0, len(frames), BLOCK):
        part = frames[row : row + BLOCK]
        x = q[part].astype(np.float32)
        for at in range(0, len(chosen), BLOCK):
            among = (x @ q[chosen[at : at + BLOCK]].astype(np.float32).T).max(axis=1)
            best[part] = np.maximum(best[part], among.astype(np.int32))
