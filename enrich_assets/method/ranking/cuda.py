"""Greedy k-centre and coverage on an accelerator, by torch: one product of the pool with each pick, nothing read back.

A device is fast at whole products and slow at being asked, so nothing is lazy here; the order is that of `greedy`, ties
included. Runs on any torch device, which is how it is tested; it is meant for CUDA.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT
from enrich_assets.method.pairs.cuda import exact_float32
from enrich_assets.method.ranking.order import NOT_COMPARED

Progress = Callable[[int, int, dict[str, float]], None]
TAKEN = 2 * EXACT
BLOCK = 4096
_REPORT = 1024


def rank(
    q: NDArray[np.int16],
    start: NDArray[np.int64],
    budget: int,
    known: NDArray[np.int32],
    device: torch.device,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order and similarity to those before; arguments as `greedy.rank` has checked them."""
    n, m = len(q), len(start)
    x = torch.from_numpy(q).to(device).float()
    best = torch.full((n,), NOT_COMPARED, dtype=torch.int64, device=device)
    best[: len(known)] = torch.from_numpy(known).to(device).long()
    picks = torch.zeros(budget, dtype=torch.int64, device=device)
    values = torch.full((budget,), NOT_COMPARED, dtype=torch.int64, device=device)
    picks[:m] = torch.from_numpy(start).to(device)
    index = torch.arange(n, device=device)
    with exact_float32():
        if m and len(known) < n:
            rest = best[len(known) :]
            torch.maximum(rest, greatest(x[len(known) :], x[picks[:m]]).long(), out=rest)
        best[picks[:m]] = TAKEN
        for at in range(m, budget):
            # The least similarity and, on ties, the lowest index: one minimum over both in one number.
            least = ((best << 32) | index).min()
            pick = (least & ((1 << 32) - 1)).reshape(1)
            picks[at : at + 1] = pick
            values[at : at + 1] = least >> 32
            torch.maximum(best, (x @ x[pick][0]).long(), out=best)
            best[pick] = TAKEN
            if progress and at % _REPORT == 0:
                progress(at, budget, {})
    if progress:
        progress(budget, budget, {})
    return picks.cpu().numpy(), values.cpu().numpy()


def greatest(frames: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """(n,) float32 greatest product of each frame with any of the chosen; both (., d) float32 on one device."""
    best = torch.full((len(frames),), NOT_COMPARED, dtype=torch.float32, device=frames.device)
    with exact_float32():
        for top in range(0, len(frames), BLOCK):
            for left in range(0, len(chosen), BLOCK):
                among = (frames[top : top + BLOCK] @ chosen[left : left + BLOCK].T).max(dim=1).values
                best[top : top + BLOCK] = torch.maximum(best[top : top + BLOCK], among)
    return best
