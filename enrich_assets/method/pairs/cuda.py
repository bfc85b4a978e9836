"""All pairs on an accelerator, by torch: the same panel as `pair_sweep` and `plain_pairs`, block by block on the device.

Float32 products of fixed-point vectors are exact integers as long as the device computes in float32: `exact_float32` sees
to that. Runs on any torch device, which is how it is tested; it is meant for CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from enrich_assets.method.pairs.panel import BIN_WIDTH, N_BINS, NO_SIMILARITY, Panel, first_near_duplicates

Progress = Callable[[int, int, dict[str, float]], None]
BLOCK = 8192
_INDICES = (1 << 32) - 1


@contextmanager
def exact_float32() -> Iterator[None]:
    """Matrix products in float32 proper, whatever the program has allowed: no TF32, no bfloat16; restored afterwards."""
    candidates: list[Any] = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    places = [place for place in candidates if hasattr(place, "fp32_precision")]
    before = [place.fp32_precision for place in places]
    old = None if places else torch.get_float32_matmul_precision()  # torch before 2.9
    try:
        for place in places:
            place.fp32_precision = "ieee"
        if old is not None:
            torch.set_float32_matmul_precision("highest")
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
        if old is not None:
            torch.set_float32_matmul_precision(old)


def histogram(
    q: NDArray[np.int16], thresholds: NDArray[np.int64], device: torch.device, progress: Progress | None = None,
    *, block: int = BLOCK,
) -> NDArray[np.int64]:  # fmt: skip
    """Pairs by the integer thresholds t, which never decrease: (len(t) - 1,) counts of t[b] <= product < t[b + 1]."""
    x = torch.from_numpy(q).to(device).float()
    edges = torch.from_numpy(np.clip(thresholds, -(1 << 25), 1 << 25)).to(device).float()  # even numbers below 2^25
    reached = torch.zeros(len(thresholds) + 1, dtype=torch.int64, device=device)
    lefts = range(0, len(q), block)
    with exact_float32():
        for done, left in enumerate(lefts, start=1):
            for top in range(0, left + 1, block):
                products = x[top : top + block] @ x[left : left + block].T
                inside = products[_is_pair(products, top, left, device)] if top == left else products.reshape(-1)
                reached += torch.bincount(torch.bucketize(inside, edges, right=True), minlength=len(reached))
            if progress:
                progress(done, len(lefts), {})
    return np.asarray(reached[1:-1].cpu().numpy())


def _is_pair(products: torch.Tensor, top: int, left: int, device: torch.device) -> torch.Tensor:
    rows = torch.arange(top, top + products.shape[0], device=device)
    return rows[:, None] < torch.arange(left, left + products.shape[1], device=device)[None, :]


def panel(
    q: NDArray[np.int16], clips: NDArray[np.int32], patients: NDArray[np.int32],
    n_earlier: int, k: int, near: int, most: int, device: torch.device, progress: Progress | None = None,
    *, so_far: Panel | None = None, block: int = BLOCK,
) -> Panel:  # fmt: skip
    """The panel; arguments as `similarity.all_pairs` has checked them, `near` as a product."""
    n = len(q)
    x = torch.from_numpy(q).to(device).float()
    clip, patient = (torch.from_numpy(codes.astype(np.int64)).to(device) for codes in (clips, patients))
    counts = torch.zeros(3 * N_BINS, dtype=torch.int64, device=device)
    lists = [_Neighbours(n, k, device) for _ in range(2)]
    if so_far and k:
        for mine, known in zip(lists, (so_far.neighbour_similarity, so_far.outside_similarity), strict=True):
            mine.gate[:n_earlier] = torch.from_numpy(known[:, -1] + 1).to(device)
    pairs, similarity, n_near = np.empty((0, 2), np.int32), np.empty(0, np.int32), 0
    lefts = range(n_earlier, n, block)
    with exact_float32():
        for done, left in enumerate(lefts, start=1):
            j = torch.arange(left, min(left + block, n), device=device)
            for top in range(0, int(j[-1]) + 1, block):
                i = torch.arange(top, min(top + block, n), device=device)
                products = (x[i] @ x[j].T).int()
                valid = i[:, None] < j[None, :]
                same_clip = clip[i][:, None] == clip[j][None, :]
                relation = torch.where(same_clip, 0, torch.where(patient[i][:, None] == patient[j][None, :], 1, 2))
                bins = (torch.div(products, BIN_WIDTH, rounding_mode="floor") + N_BINS // 2).clamp(0, N_BINS - 1)
                counts += torch.bincount((relation * N_BINS + bins)[valid], minlength=3 * N_BINS)
                for mine, allowed in zip(lists, (valid, valid & ~same_clip), strict=True):
                    mine.offer(i, j, products, allowed)
                    mine.offer(j, i, products.T, allowed.T)
                close = (valid & (products >= near)).nonzero()
                n_near += len(close)
                if len(close) and most:
                    value = products[close[:, 0], close[:, 1]]
                    if len(close) > most:  # ties at the last place are settled below
                        least = value.sort(descending=True).values[most - 1]
                        close, value = close[value >= least], value[value >= least]
                    found = torch.stack([i[close[:, 0]], j[close[:, 1]]], dim=1).int().cpu().numpy()
                    pairs, similarity, _ = first_near_duplicates(
                        np.concatenate([pairs, found]), np.concatenate([similarity, value.cpu().numpy()]), most
                    )
            if progress:
                progress(done, len(lefts), {})
    histograms = counts.reshape(3, N_BINS).cpu().numpy()
    return Panel(
        n_earlier, n, k, near, most, histograms, *lists[0].arrays(), *lists[1].arrays(),
        pairs, similarity, n_near - len(pairs),
    )  # fmt: skip


class _Neighbours:
    """Lists of k neighbours as sorted keys: similarity above, inverted index below, so that greater is nearer."""

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        self.k = k
        self.keys = torch.full((n, k), NO_SIMILARITY << 32, dtype=torch.int64, device=device)
        self.gate = torch.full((n,), NO_SIMILARITY, dtype=torch.int32, device=device)

    def offer(self, rows: torch.Tensor, others: torch.Tensor, products: torch.Tensor, allowed: torch.Tensor) -> None:
        """Take candidates (rows, others) into the lists of `rows`; rows without any are not sorted."""
        if not self.k:
            return
        takes = allowed & (products >= self.gate[rows][:, None])
        some = takes.any(dim=1).nonzero()[:, 0]
        for part in some.split(1024):  # keys take 8 bytes a pair
            keys = torch.where(
                takes[part], (products[part].long() << 32) | (_INDICES - others)[None, :], NO_SIMILARITY << 32
            )
            frames = rows[part]
            best = torch.cat([self.keys[frames], keys], dim=1).topk(self.k, dim=1).values
            self.keys[frames] = best
            self.gate[frames] = torch.maximum(self.gate[frames], (best[:, -1] >> 32).int())

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        keys = self.keys.cpu().numpy()
        return (_INDICES - (keys & _INDICES)).astype(np.uint32).view(np.int32), (keys >> 32).astype(np.int32)
