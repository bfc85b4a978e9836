"""The rule `random`: by chance, as a hash of seed and frame decides it, so that growth of the pool never reshuffles it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.ranking.order import NOT_COMPARED, Ranking, checked_start
from enrich_assets.method.ranking.quota import Quota
from enrich_assets.method.ranking.rules.base import Candidates, Rule, Similarity

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, dict[str, float]], None]


def random_order(frame_ids: Sequence[str] | NDArray[np.generic], seed: int) -> NDArray[np.int64]:
    """Frames in the order of sha256("<seed>:<frame_id>").

    Parameters
    ----------
    frame_ids : (n,) str
        The order of any two frames hangs on nothing but their ids, so growth of the pool never reshuffles it.
    seed : int

    Returns
    -------
    (n,) int64
    """
    keys = [hashlib.sha256(f"{seed}:{frame_id}".encode()).digest() for frame_id in frame_ids]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


class Random(Rule):
    """The start set, then all others by chance. Needs frame ids and nothing else."""

    name = "random"
    compares_frames = False

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
        if candidates.frame_ids is None:
            raise ValueError("the random rule orders by frame_ids; give them")
        chosen = checked_start(start, budget, len(candidates.frame_ids))
        shuffled = random_order(candidates.frame_ids, seed)
        rest = shuffled[~np.isin(shuffled, chosen)]
        if candidates.quota is not None:
            rest = _layer_by_layer(rest, chosen, candidates.quota)
        order = np.concatenate([chosen, rest])[:budget]
        return Ranking(order, np.full(budget, NOT_COMPARED, np.int64))


def _layer_by_layer(frames: NDArray[np.int64], chosen: NDArray[np.int64], quota: Quota) -> NDArray[np.int64]:
    """The frames in their order, those of a later layer of the quota after those of an earlier one."""
    used = np.bincount(quota.patients[chosen], minlength=int(quota.patients.max(initial=-1)) + 1)
    layer = np.empty(len(frames), np.int64)
    for at, patient in enumerate(quota.patients[frames]):
        layer[at] = used[patient] // quota.most
        used[patient] += 1
    return frames[np.argsort(layer, kind="stable")]
