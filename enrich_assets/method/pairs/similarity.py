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
from enrich_assets.method.pairs import plain
from enrich_assets.method.pairs.panel import BIN_EDGES, RELATIONS, PairLists, Panel, PanelRequest, sum_panels

if TYPE_CHECKING:
    import torch

__all__ = [
    "BIN_EDGES",
    "RELATIONS",
    "PairLists",
    "Panel",
    "all_pairs",
    "matrix_blocks",
    "pair_matrix",
    "similarity_histogram",
    "sum_panels",
]

Progress = Callable[[int, int, dict[str, float]], None]
DEFAULT_LISTS = PairLists()
SMALL = 4000  # frames up to which the plain pass is quicker than loading the compiled one


def similarity_histogram(
    embeddings: NDArray[np.int16],
    edges: ArrayLike,
    *,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Pairs of frames by cosine.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors (`fixed_point.to_fixed_point`).
    edges : (b + 1,) float
        Cosines that never decrease, as in numpy.histogram: bins are half open, the last one closed, what lies outside is
        not counted. Compared as float64, exactly.
    device : str or torch.device, optional
        Without it CUDA, where there is one and the pool is large.
    progress : callable, optional
        Called with (done, of, {}).

    Returns
    -------
    (b,) int64
        Counts of the n (n - 1) / 2 unordered pairs. The cosine is the integer product / 4000^2, clipped to [-1, 1].

    Raises
    ------
    ValueError
        For edges that decrease, or vectors that are none of fixed point.
    """
    q = checked(embeddings)
    e = np.asarray(edges, dtype=np.float64)
    if e.ndim != 1 or len(e) < 2 or np.isnan(e).any() or (np.diff(e) < 0).any():
        raise ValueError("edges must be a vector of at least two cosines that never decrease, without NaN")
    thresholds = np.array([least_product(x) for x in e[:-1]] + [least_product(e[-1], above=True)], np.int64)
    if accelerator := accelerator_for(len(q), device):
        from enrich_assets.method.pairs import cuda

        return cuda.histogram(q, thresholds, accelerator, progress)
    if len(q) <= SMALL:
        return plain.histogram(q, thresholds, progress)
    from enrich_assets.method.pairs import compiled

    return compiled.histogram(q, thresholds, progress)


def all_pairs(  # nine arguments: the door of every pass
    embeddings: NDArray[np.int16],
    *,
    clips: ArrayLike,
    patients: ArrayLike,
    sides: ArrayLike | None = None,
    n_earlier: int = 0,
    lists: PairLists = DEFAULT_LISTS,
    so_far: Panel | None = None,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Panel:
    """The panel of the frames from `n_earlier` on: every pair of them, and of each with every earlier frame, once.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors (`fixed_point.to_fixed_point`).
    clips, patients : (n,) int
        Codes; a clip belongs to one patient.
    sides : (n,) int, optional
        0 for train, 1 for test; with it pairs are counted by the sides of their frames, too (`Panel.by_sides`).
    n_earlier : int
        How many frames came before this batch.
    lists : PairLists
        How many neighbours and near-duplicates are listed.
    so_far : Panel, optional
        The sum of all earlier panels. With it neighbours of earlier frames are listed only where they come before those
        known, which is all that a sum needs: a small batch is quicker and its panel smaller.
    device : str or torch.device, optional
        Without it CUDA, where there is one and the pool is large.
    progress : callable, optional
        Called with (done, of, {}).

    Raises
    ------
    ValueError
        For codes that are not one per frame, a clip of two patients, sides other than 0 and 1, n_earlier outside 0..n, or a `so_far` of other
        frames or another number of neighbours.

    Notes
    -----
    Costs m (n_earlier + m / 2) products for m new frames, and O(n (d + neighbours)) of memory.
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
    if so_far and (so_far.n_earlier, so_far.n, so_far.n_neighbours) != (0, n_earlier, lists.neighbours):
        raise ValueError(
            f"so_far must be the sum of all panels up to frame {n_earlier} with {lists.neighbours} neighbours, not of "
            f"{so_far.n_earlier}..{so_far.n} with {so_far.n_neighbours}"
        )
    near = least_product(lists.near_duplicate)
    side = None if sides is None else _sides(sides, len(q))
    request = PanelRequest(
        n_earlier, lists.neighbours, near, lists.max_near_duplicates, so_far, side, lists.between_patients
    )
    if accelerator := accelerator_for(len(q), device):
        from enrich_assets.method.pairs import cuda

        return cuda.panel(q, clip, patient, request, accelerator, progress)
    if len(q) <= SMALL:
        return plain.panel(q, clip, patient, request, progress)
    from enrich_assets.method.pairs import compiled

    return compiled.panel(q, clip, patient, request, progress)


def pair_matrix(a: NDArray[np.int16], b: NDArray[np.int16] | None = None) -> NDArray[np.int32]:
    """Exact products of each vector of a with each of b, for small sets: `matrix_blocks` for more.

    Parameters
    ----------
    a : (n, d) int16
        Fixed-point unit vectors.
    b : (m, d) int16, optional
        Without it `a` itself.

    Returns
    -------
    (n, m) int32

    Raises
    ------
    ValueError
        If the vectors differ in dimensions.
    """
    left = checked(a).astype(np.float32)
    right = left if b is None else checked(b).astype(np.float32)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"vectors of {left.shape[1]} and of {right.shape[1]} dimensions cannot be compared")
    return (left @ right.T).astype(np.int32)


def matrix_blocks(
    embeddings: NDArray[np.int16], *, n_earlier: int = 0, block: int = 2048
) -> Iterator[tuple[slice, slice, NDArray[np.int32]]]:
    """The panel's similarity matrix block by block, so that a store may write the blocks as they come.

    Parameters
    ----------
    embeddings : (n, d) int16
        Fixed-point unit vectors.
    n_earlier : int
        Rows of the matrix are the frames from here on, columns are all n frames.
    block : int
        Frames to a side of a block.

    Yields
    ------
    rows, columns : slice
        Where the block belongs in the (n - n_earlier, n) matrix; every block comes once, those above the diagonal too.
    products : (rows, columns) int32
        Exact.
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


def _sides(sides: ArrayLike, n: int) -> NDArray[np.int32]:
    given = np.asarray(sides)
    if given.shape != (n,):
        raise ValueError(f"sides must hold one code per frame: ({n},), not {given.shape}")
    if not np.isin(given, (0, 1)).all():
        raise ValueError("sides must be 0 (train) or 1 (test)")
    return given.astype(np.int32)
