"""Patients that go together: those linked by nearly identical pictures, so that no such pair lies across the split.

Found in the pixels, not by an embedding: a trained embedding needs a split before it. Nothing here decides a side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.pairs.similarity import PairLists, all_pairs

LEAST_CONTRAST = 2.0  # standard deviation in grey levels: what shows less shows nothing, and links nobody
SIDE = 32  # pixels are averaged down to this: what noise and compression change is gone, what a picture shows is not
MOST_PAIRS = 2_000_000


class TooManyPairs(ValueError):
    """More near-duplicates between patients than can be listed: the threshold is too low for these pictures."""


def pixel_vectors(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Pictures as fixed-point unit vectors whose cosine is the correlation of their grey values.

    Parameters
    ----------
    pixels : (n, side, side) uint8
        side is a multiple of 32.

    Returns
    -------
    (n, 1024) int16
        Mean of each block of pixels, less the picture's mean, unit length, in fixed point.

    Raises
    ------
    ValueError
        For pictures of another side, or of one grey value alone, which have no direction.
    """
    sums = _block_sums(pixels)
    centred = (sums * sums.shape[1] - sums.sum(axis=1, keepdims=True)).astype(np.float64)  # whole numbers: exact
    return to_fixed_point(centred)


def _block_sums(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(n, 1024) sums of the pixels of each block."""
    n, height, width = pixels.shape
    if n == 0:
        return np.empty((0, SIDE * SIDE), np.int64)
    if height % SIDE or width != height:
        raise ValueError(f"pictures must be square with a side that is a multiple of {SIDE}, not {height} x {width}")
    block = height // SIDE
    return pixels.reshape(n, SIDE, block, SIDE, block).sum(axis=(2, 4), dtype=np.int64).reshape(n, -1)


def shows_something(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n,) whether a picture, (side, side) uint8, has any contrast to speak of: a black frame is nobody's in particular."""
    per_block = (pixels.shape[1] // SIDE) ** 2
    return _block_sums(pixels).std(axis=1) >= LEAST_CONTRAST * per_block


def linked_patients(
    pixels: NDArray[np.uint8], patients: ArrayLike, *, n_earlier: int, near_duplicate: float
) -> NDArray[np.int64]:
    """Which patients are linked by a pair of nearly identical pictures, one of them at least of this batch.

    Parameters
    ----------
    pixels : (n, side, side) uint8
        Earlier frames, then those of the batch.
    patients : (n,) int
        Codes.
    n_earlier : int
        How many frames came before the batch.
    near_duplicate : float
        Correlation of the grey values from which two pictures link their patients.

    Returns
    -------
    (p, 2) int64
        Codes, the lower first; each pair of patients once, in ascending order.

    Raises
    ------
    TooManyPairs
        If not all such pairs could be listed, so that a link might be missed.
    """
    contrasts = shows_something(pixels)
    patient, n_earlier = np.asarray(patients)[contrasts], int(contrasts[:n_earlier].sum())
    lists = PairLists(0, near_duplicate, MOST_PAIRS, between_patients=True)
    panel = all_pairs(
        pixel_vectors(pixels[contrasts]), clips=patient, patients=patient, n_earlier=n_earlier, lists=lists
    )
    if panel.near_duplicates_left_out:
        n_pairs = len(panel.near_duplicates) + panel.near_duplicates_left_out
        raise TooManyPairs(
            f"{n_pairs:,} pairs of frames of different patients correlate by {near_duplicate} or more: that is how these "
            "pictures are, and no sign of one patient under two ids; raise similarity.near_duplicate, or leave "
            "split.keep_together out"
        )
    links = np.sort(patient[panel.near_duplicates].reshape(-1, 2), axis=1)
    return np.unique(links, axis=0).astype(np.int64)


def groups_together(patients: Sequence[str], links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Patients by group: whoever is linked, directly or through others, is of one group.

    Parameters
    ----------
    patients : sequence of str
        All of them, each once.
    links : iterable of (str, str)
        Pairs of patients.

    Returns
    -------
    dict
        Patient -> name of the group: its first patient in alphabetical order, so that it does not depend on the order of
        patients or links. A patient without links is a group of its own.

    Raises
    ------
    KeyError
        For a link of a patient that is not named.
    """
    names = sorted(patients)
    place = {name: at for at, name in enumerate(names)}
    ends = np.array([(place[one], place[other]) for one, other in links], np.int64).reshape(-1, 2)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components  # late: a third of a second

    adjacency = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    _, group = connected_components(adjacency, directed=False)
    first: dict[int, str] = {}
    return {name: first.setdefault(int(of), name) for name, of in zip(names, group, strict=True)}
