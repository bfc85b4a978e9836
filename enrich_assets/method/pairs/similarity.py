"""All pairs of a pool: histograms, nearest neighbours, near-duplicates, and the matrix for those who want it.

This is the door: arguments are checked here and handed to whichever pass fits. The record that comes back stands in
`panel`. Nothing here chooses frames (`ranking`), and nothing knows a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.accelerator import accelerator_for
from enrich_assets.method.embeddings.fixed_point import checked, least_product
from enrich_assets.method.pairs import plain as plain_pairs
from enrich_assets.method.pairs.panel import BIN_EDGES, RELATIONS, Panel, sum_panels

if TYPE_CHECKING:
    import torch

__all__ = [
    "BIN_EDGES",
    "RELATIONS",
    "Panel",
    "all_pairs",
    "matrix_blocks",
    "pair_matrix",
    "similarity_histogram",
    "sum_panels",
]

Progress = Callable[[int, int, dict[str, float]], None]
SMALL = 4000  # frames up to which the plain pass is quicker than loading the compiled one


def similarity_histogram(
    embeddings: NDArray[np.int16],
    edges: ArrayLike,
    *,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Pairs of frames by cosine: (len(edges) - 1,) int64 counts over the n (n - 1) / 2 unordered pairs.

    embeddings: (n, d) int16 of `to_fixed_point`.   device: None for CUDA where there is one. The cosine is the integer product / 4000^2, clipped to [-1, 1].
    edges: increasing, as in numpy.histogram: bins are half open, the last one closed, what lies outside is not counted;
    compared as float64, exactly.
    """
    q = checked(embeddings)
    e = np.asarray(edges, dtype=np.float64)
    if e.ndim != 1 or len(e) < 2 or np.isnan(e).any() or (np.diff(e) < 0).any():
        raise ValueError("edges must be a vector of at least two cosines that never decrease, without NaN")
    thresholds = np.array([least_product(x) for x in e[:-1]] + [least_product(e[-1], above=True)], np.int64)
    if accelerator := accelerator_for(len(q), device):
        from enrich_assets.method.pairs import cuda as device_pairs

        return device_pairs.histogram(q, thresholds, accelerator, progress)
    if len(q) <= SMALL:
        return plain_pairs.histogram(q, thresholds, progress)
    from enrich_assets.method.pairs import compiled as pair_sweep

    return pair_sweep.histogram(q, thresholds, progress)


def all_pairs(
    embeddings: NDArray[np.int16],
    *,
    clips: ArrayLike,
    patients: ArrayLike,
    n_earlier: int = 0,
    neighbours: int = 10,
    near_duplicate: float = 0.98,
    max_near_duplicates: int = 100_000,
    so_far: Panel | None = None,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Panel:
    """The panel of the frames from `n_earlier` on: every pair of them, and of each with every earlier frame, once.

    embeddings: (n, d) int16 of `to_fixed_point`.   clips, patients: (n,) integer codes; a clip belongs to one patient.
    neighbours: k per frame, over all and outside the own clip.   near_duplicate: cosine from which a pair is listed, at
    most max_near_duplicates of them (the nearest), the rest counted.   device: None for CUDA where there is one.
    so_far: the sum of all earlier panels, where it is at hand: then neighbours of earlier frames are listed only where
    they come before those known, which is all that a sum needs, and a small batch is quicker and its panel smaller.
    Cost: m (n_earlier + m / 2) products for m new frames; memory O(n (d + k)).
    """
    q = checked(embeddings)
    clip, patient = _codes(clips, len(q), "clips"), _codes(patients, len(q), "patients")
    patient_of = np.zeros(clip.max(initial=-1) + 1, np.int32)
    patient_of[clip] = patient
    torn = np.flatnonzero(patient_of[clip] != patient)
    if len(torn):
        raise ValueError(f"clip {np.asarray(clips)[torn[0]]} holds frames of two patients")
    if not 0 <= n_earlier <= len(q):
        raise ValueError(f"n_earlier must lie in 0..{len(q)}, not {n_earlier}")
    if neighbours < 0 or max_near_duplicates < 0:
        raise ValueError("neighbours and max_near_duplicates must not be negative")
    if so_far and (so_far.n_earlier, so_far.n, so_far.n_neighbours) != (0, n_earlier, neighbours):
        raise ValueError(
            f"so_far must be the sum of all panels up to frame {n_earlier} with {neighbours} neighbours, not of "
            f"{so_far.n_earlier}..{so_far.n} with {so_far.n_neighbours}"
        )
    given = q, clip, patient, n_earlier, neighbours, least_product(near_duplicate), max_near_duplicates
    if accelerator := accelerator_for(len(q), device):
        from enrich_assets.method.pairs import cuda as device_pairs

        return device_pairs.panel(*given, accelerator, progress, so_far=so_far)
    if len(q) <= SMALL:
        return plain_pairs.panel(*given, progress, so_far=so_far)
    from enrich_assets.method.pairs import compiled as pair_sweep

    return pair_sweep.panel(*given, progress, so_far=so_far)


def pair_matrix(a: NDArray[np.int16], b: NDArray[np.int16] | None = None) -> NDArray[np.int32]:
    """Exact products of each row of a (n, d) with each row of b (m, d; a itself by default): (n, m) int32.

    Small sets only: the whole matrix lies in memory. `matrix_blocks` for more.
    """
    left = checked(a).astype(np.float32)
    right = left if b is None else checked(b).astype(np.float32)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"vectors of {left.shape[1]} and of {right.shape[1]} dimensions cannot be compared")
    return (left @ right.T).astype(np.int32)


def matrix_blocks(
    embeddings: NDArray[np.int16], *, n_earlier: int = 0, block: int = 2048
) -> Iterator[tuple[slice, slice, NDArray[np.int32]]]:
    """The panel's similarity matrix block by block, exact products: (rows, columns, (rows, columns) int32).

    Rows are the frames from `n_earlier` on, counted from `n_earlier`; columns are all n frames. Every block of the
    (n - n_earlier, n) matrix comes once, also those above the diagonal, so that a store may write them as they come.
    """
    q = checked(embeddings)
    n = len(q)
    for top in range(n_earlier, n, block):
        rows = q[top : top + block].astype(np.float32)
        for left in range(0, n, block):
            columns = q[left : left + block].astype(np.float32)
            place = slice(top - n_earlier, top - n_earlier + len(rows)), slice(left, left + len(columns))
            yield *place, (rows @ columns.T).astype(np.int32)


def _codes(codes: ArrayLike, n: int, name: str) -> NDArray[np.int32]:
    """Codes 0, 1, 2 ... in the order of the given ones."""
    given = np.asarray(codes)
    if given.shape != (n,):
        raise ValueError(f"{name} must hold one code per frame: ({n},), not {given.shape}")
    return np.unique(given, return_inverse=True)[1].astype(np.int32)
