"""All pairs on an accelerator, by torch: the same panel as `compiled` and `plain`, block by block on the device.

Float32 products of fixed-point vectors are exact integers as long as the device computes in float32: `exact_float32`
makes sure of that. Runs on any torch device, which is how it is tested; it is meant for CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from enrich_assets.method.pairs.panel import (
    BIN_WIDTH,
    N_BINS,
    N_SIDE_PAIRS,
    NO_SIMILARITY,
    Counted,
    Panel,
    PanelRequest,
    first_near_duplicates,
)

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
    q: NDArray[np.int16],
    thresholds: NDArray[np.int64],
    device: torch.device,
    progress: Progress | None = None,
    *,
    block: int = BLOCK,
) -> NDArray[np.int64]:
    """Pairs by product: (t - 1,) counts of thresholds[b] <= product < thresholds[b + 1]; (t,) int64, never decreasing."""
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
    q: NDArray[np.int16],
    clips: NDArray[np.int32],
    patients: NDArray[np.int32],
    request: PanelRequest,
    device: torch.device,
    progress: Progress | None = None,
    *,
    block: int = BLOCK,
) -> Panel:
    """The panel; arguments as `similarity.all_pairs` has checked them."""
    n, n_earlier, k = len(q), request.n_earlier, request.n_neighbours
    x = torch.from_numpy(q).to(device).float()
    clip, patient = (torch.from_numpy(codes.astype(np.int64)).to(device) for codes in (clips, patients))
    sides = np.zeros(n, np.int64) if request.sides is None else request.sides.astype(np.int64)
    side = torch.from_numpy(sides).to(device)
    n_kinds = 3 if request.sides is None else 3 * N_SIDE_PAIRS
    counts = torch.zeros(n_kinds * N_BINS, dtype=torch.int64, device=device)
    n_near = torch.zeros(n_kinds, dtype=torch.int64, device=device)
    everywhere, outside = _Neighbours(n, k, device), _Neighbours(n, k, device)
    if request.so_far and k:
        everywhere.ask_for_nearer(request.so_far.neighbour_similarity)
        outside.ask_for_nearer(request.so_far.outside_similarity)
    near = _NearDuplicates(request.near_duplicate, request.max_near_duplicates)
    lefts = range(n_earlier, n, block)
    with exact_float32():
        for done, left in enumerate(lefts, start=1):
            j = torch.arange(left, min(left + block, n), device=device)
            for top in range(0, int(j[-1]) + 1, block):
                i = torch.arange(top, min(top + block, n), device=device)
                products = (x[i] @ x[j].T).int()
                is_pair = i[:, None] < j[None, :]
                same_clip = clip[i][:, None] == clip[j][None, :]
                same_patient = patient[i][:, None] == patient[j][None, :]
                relation = torch.where(same_clip, 0, torch.where(same_patient, 1, 2))
                kind = relation + 3 * (side[i][:, None] + side[j][None, :])
                bins = (torch.div(products, BIN_WIDTH, rounding_mode="floor") + N_BINS // 2).clamp(0, N_BINS - 1)
                counts += torch.bincount((kind * N_BINS + bins)[is_pair], minlength=n_kinds * N_BINS)
                n_near += torch.bincount(kind[is_pair & (products >= request.near_duplicate)], minlength=n_kinds)
                for lists, allowed in ((everywhere, is_pair), (outside, is_pair & ~same_clip)):
                    lists.offer(i, j, products, allowed)
                    lists.offer(j, i, products.T, allowed.T)
                near.offer(i, j, products, is_pair & ~same_patient if request.between_patients else is_pair)
            if progress:
                progress(done, len(lefts), {})
    nearest, nearest_outside = everywhere.arrays(), outside.arrays()
    counted = Counted.of(request, counts.reshape(n_kinds, N_BINS).cpu().numpy(), n_near.cpu().numpy())
    return Panel(
        **request.settings(),
        n=n,
        histograms=counted.histograms,
        neighbours=nearest[0],
        neighbour_similarity=nearest[1],
        outside_neighbours=nearest_outside[0],
        outside_similarity=nearest_outside[1],
        near_duplicates=near.pairs,
        near_duplicate_similarity=near.similarity,
        near_duplicates_left_out=near.n - len(near.pairs),
        by_sides=counted.by_sides,
        near_by_sides=counted.near_by_sides,
    )


class _NearDuplicates:
    """The nearest pairs of at least a product, at most `most` of them, and how many there are."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most, self.n = least, most, 0
        self.pairs, self.similarity = np.empty((0, 2), np.int32), np.empty(0, np.int32)

    def offer(self, i: torch.Tensor, j: torch.Tensor, products: torch.Tensor, is_pair: torch.Tensor) -> None:
        close = (is_pair & (products >= self.least)).nonzero()
        self.n += len(close)
        if not len(close) or not self.most:
            return
        value = products[close[:, 0], close[:, 1]]
        if len(close) > self.most:  # ties at the last place are settled below
            last = value.sort(descending=True).values[self.most - 1]
            close, value = close[value >= last], value[value >= last]
        pairs = torch.stack([i[close[:, 0]], j[close[:, 1]]], dim=1).int().cpu().numpy()
        self.pairs, self.similarity, _ = first_near_duplicates(
            np.concatenate([self.pairs, pairs]), np.concatenate([self.similarity, value.cpu().numpy()]), self.most
        )


class _Neighbours:
    """Lists of k neighbours as sorted keys: similarity above, inverted index below, so that greater is nearer."""

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        self.k = k
        self.keys = torch.full((n, k), NO_SIMILARITY << 32, dtype=torch.int64, device=device)
        self.gate = torch.full((n,), NO_SIMILARITY, dtype=torch.int32, device=device)

    def ask_for_nearer(self, known: NDArray[np.int32]) -> None:
        """Take for the first frames only what is nearer than the k-th of those known, (m, k) products."""
        self.gate[: len(known)] = torch.from_numpy(known[:, -1] + 1).to(self.gate.device)

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
