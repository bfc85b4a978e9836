"""The panel: what one pass over the pairs of a batch with itself and every earlier batch finds, and how panels add up.

Here: the record, what is asked for, its sum, and the fine bins. How the pass is made stands in `similarity` and what it
calls; how a panel is kept on disk, in `store`. numpy only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.embeddings.fixed_point import EXACT, SCALE, to_cosine

RELATIONS = ("within clip", "within patient", "between patients")  # rows of `Panel.histograms`
SIDES = ("train", "test")  # of the split, as codes 0 and 1
SIDE_PAIRS = ("train-train", "train-test", "test-test")  # by the sum of two codes: first axis of `Panel.by_sides`
N_SIDE_PAIRS = len(SIDE_PAIRS)
N_BINS = 200
BIN_EDGES: NDArray[np.float64] = np.arange(-N_BINS // 2, N_BINS // 2 + 1) / (N_BINS // 2)  # -1, -0.99 ... 1, as cosines
BIN_WIDTH = SCALE**2 // (N_BINS // 2)  # of a bin, as an integer product
NO_NEIGHBOUR = -1
NO_SIMILARITY = -2 * EXACT  # of a neighbour that is not there; no product is as small
SETTINGS = ("n_neighbours", "near_duplicate", "max_near_duplicates")  # fields in which panels that add up agree


@dataclass(frozen=True)
class Panel:
    """Pairs (i, j), i < j, with `n_earlier` <= j < `n`: the frames of a batch with themselves and all earlier ones.

    Similarities are exact integer products (`fixed_point.to_cosine` makes cosines). Neighbours are sorted by similarity,
    greatest first, ties by lower index, among the pairs of this panel: for a frame of the batch all that came before it
    and its batch; for an earlier frame those of the batch alone, so that the sum of panels has everybody's neighbours.
    """

    n_earlier: int
    n: int
    n_neighbours: int  # k, asked for
    near_duplicate: int  # least product of a near-duplicate pair
    max_near_duplicates: int
    histograms: NDArray[np.int64]  # (3, N_BINS) pairs by RELATIONS and [BIN_EDGES[b], BIN_EDGES[b + 1]), last closed
    neighbours: NDArray[np.int32]  # (n, k) index, NO_NEIGHBOUR where there are fewer
    neighbour_similarity: NDArray[np.int32]  # (n, k) product, NO_SIMILARITY where there are fewer
    outside_neighbours: NDArray[np.int32]  # (n, k) the same, frames of the own clip left out
    outside_similarity: NDArray[np.int32]
    near_duplicates: NDArray[np.int32]  # (p, 2) i < j; most similar first, then lower i, then lower j
    near_duplicate_similarity: NDArray[np.int32]  # (p,) product
    near_duplicates_left_out: int  # pairs as near that found no room among `max_near_duplicates`
    by_sides: NDArray[np.int64] | None = None  # (3, 3, N_BINS) `histograms` by SIDE_PAIRS, where sides were given
    near_by_sides: NDArray[np.int64] | None = (
        None  # (3, 3) all pairs as near, by SIDE_PAIRS and RELATIONS, listed or not
    )

    @property
    def n_pairs(self) -> int:
        """How many pairs the panel is made of."""
        m = self.n - self.n_earlier
        return self.n_earlier * m + m * (m - 1) // 2

    def share_over(self, edge: float, relation: str | None = None) -> float:
        """Share of pairs whose cosine is at least `edge`.

        Parameters
        ----------
        edge : float
            One of BIN_EDGES.
        relation : str, optional
            One of RELATIONS; without it all pairs.

        Returns
        -------
        float
            NaN without pairs.

        Raises
        ------
        ValueError
            For another edge.
        """
        where = np.flatnonzero(edge == BIN_EDGES)
        if not len(where):
            raise ValueError(f"{edge} is not among BIN_EDGES, the multiples of {1 / (N_BINS // 2)} from -1 to 1")
        counts = self.histograms.sum(axis=0) if relation is None else self.histograms[RELATIONS.index(relation)]
        total = int(counts.sum())
        return float(counts[int(where[0]) :].sum() / total) if total else float("nan")

    def cosines(self, name: str) -> NDArray[np.float64]:
        """`neighbour_similarity`, `outside_similarity` or `near_duplicate_similarity` as cosines, NaN where none is."""
        products = getattr(self, name)
        return np.where(products == NO_SIMILARITY, np.nan, to_cosine(products))

    def arrays(self) -> dict[str, NDArray[np.int64] | NDArray[np.int32]]:
        """Every field that there is as an array, for keeping; `from_arrays` is its inverse."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.asarray(value) for name, value in given.items() if value is not None}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> Panel:
        """The panel whose `arrays` these are."""
        return Panel(**{
            field.name: arrays[field.name] if arrays[field.name].ndim else int(arrays[field.name])  # type: ignore[arg-type]
            for field in fields(Panel) if field.name in arrays
        })  # fmt: skip


@dataclass(frozen=True)
class PairLists:
    """What a panel lists beside its counts."""

    neighbours: int = 10  # of each frame, over all and outside its own clip
    near_duplicate: float = 0.98  # cosine from which a pair is listed
    max_near_duplicates: int = 100_000  # so many are listed, the nearest; the others are counted
    between_patients: bool = False  # list only near-duplicates of two patients; those of one are only counted

    def __post_init__(self) -> None:
        if self.neighbours < 0 or self.max_near_duplicates < 0:
            raise ValueError("neighbours and max_near_duplicates must not be negative")


@dataclass(frozen=True)
class PanelRequest:
    """What is asked of a pass, checked by `similarity.all_pairs`: the fields are those of `Panel`."""

    n_earlier: int
    n_neighbours: int
    near_duplicate: int  # least product
    max_near_duplicates: int
    so_far: Panel | None = (
        None  # the sum of all earlier panels: list of earlier frames only neighbours nearer than these
    )
    sides: NDArray[np.int32] | None = None  # (n,) codes of SIDES: count by them, too
    between_patients: bool = False  # whether only near-duplicates of two patients are listed

    def settings(self) -> dict[str, int]:
        """The fields that the panel repeats."""
        return {name: getattr(self, name) for name in ("n_earlier", *SETTINGS)}


@dataclass(frozen=True)
class Counted:
    """What a pass has counted, as a panel holds it."""

    histograms: NDArray[np.int64]
    by_sides: NDArray[np.int64] | None
    near_by_sides: NDArray[np.int64] | None
    n_near: int  # near-duplicates of the kind that is listed

    @classmethod
    def of(cls, request: PanelRequest, counts: NDArray[np.int64], near: NDArray[np.int64]) -> Counted:
        """From (k, N_BINS) pairs and (k,) near-duplicates, k = 3 by RELATIONS, or 9 by SIDE_PAIRS and RELATIONS."""
        by_sides, of_near = counts.reshape(-1, len(RELATIONS), N_BINS), near.reshape(-1, len(RELATIONS))
        n_near = int(of_near[:, -1].sum() if request.between_patients else of_near.sum())
        if request.sides is None:
            return cls(by_sides[0], None, None, n_near)
        return cls(by_sides.sum(axis=0), by_sides, of_near, n_near)


def sum_panels(panels: Iterable[Panel]) -> Panel:
    """The sum: exactly the panel of one pass over all their batches.

    Parameters
    ----------
    panels : iterable of Panel
        In any order. They follow on one another without gap or overlap (an empty batch's panel is fine) and were made
        with the same settings.

    Raises
    ------
    ValueError
        Naming the panels that do not.
    """
    parts = sorted(panels, key=lambda p: (p.n_earlier, p.n))
    if not parts:
        raise ValueError("no panels to add up")
    _check_adjacent(parts)
    first, n = parts[0], parts[-1].n
    if len(parts) == 1:
        return first
    nearest = no_neighbours(n, first.n_neighbours)
    outside = no_neighbours(n, first.n_neighbours)
    for part in parts:
        nearest = _nearest(nearest, (part.neighbours, part.neighbour_similarity))
        outside = _nearest(outside, (part.outside_neighbours, part.outside_similarity))
    pairs, similarity, left_out = first_near_duplicates(
        np.concatenate([p.near_duplicates for p in parts]),
        np.concatenate([p.near_duplicate_similarity for p in parts]),
        first.max_near_duplicates,
    )
    return replace(
        first,
        n=n,
        histograms=np.sum([p.histograms for p in parts], axis=0),
        neighbours=nearest[0],
        neighbour_similarity=nearest[1],
        outside_neighbours=outside[0],
        outside_similarity=outside[1],
        near_duplicates=pairs,
        near_duplicate_similarity=similarity,
        near_duplicates_left_out=left_out + sum(p.near_duplicates_left_out for p in parts),
        by_sides=_added([p.by_sides for p in parts]),
        near_by_sides=_added([p.near_by_sides for p in parts]),
    )


def _added(counts: list[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    there = [one for one in counts if one is not None]
    return np.sum(there, axis=0) if there else None


def _check_adjacent(parts: list[Panel]) -> None:
    for before, after in itertools.pairwise(parts):
        if before.n != after.n_earlier:
            raise ValueError(
                f"a panel ends with frame {before.n}, the next one begins with {after.n_earlier}: not adjacent"
            )
        for name in SETTINGS:
            if getattr(before, name) != getattr(after, name):
                raise ValueError(
                    f"panels were made with different {name}: {getattr(before, name)}, {getattr(after, name)}"
                )
        if (before.by_sides is None) != (after.by_sides is None):
            raise ValueError("of these panels some count pairs by the sides of the split, and some do not")


Neighbours = tuple[NDArray[np.int32], NDArray[np.int32]]  # (n, k) indices and products


def no_neighbours(n: int, k: int) -> Neighbours:
    """Lists of k places for n frames, all empty."""
    return np.full((n, k), NO_NEIGHBOUR, np.int32), np.full((n, k), NO_SIMILARITY, np.int32)


def sorted_neighbours(index: NDArray[np.int32], similarity: NDArray[np.int32], k: int) -> Neighbours:
    """Each row's k best of (n, c) candidates: greatest similarity first, ties by lower index, absent ones last."""
    absent_last = np.where(index == NO_NEIGHBOUR, np.iinfo(np.int32).max, index)
    order = np.lexsort((absent_last, -similarity.astype(np.int64)), axis=1)[:, :k]
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(similarity, order, axis=1)


def _nearest(some: Neighbours, more: Neighbours) -> Neighbours:
    """Best of two lists per frame, in place of `some`; `more` may know fewer frames."""
    m, k = more[0].shape
    for at in range(0, m, 65536):  # bounded scratch
        part = slice(at, min(at + 65536, m))
        index = np.concatenate([some[0][part], more[0][part]], axis=1)
        similarity = np.concatenate([some[1][part], more[1][part]], axis=1)
        some[0][part], some[1][part] = sorted_neighbours(index, similarity, k)
    return some


def first_near_duplicates(
    pairs: NDArray[np.int32], similarity: NDArray[np.int32], most: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """The `most` nearest of (p, 2) pairs with their (p,) products, and how many were left out.

    Most similar first, then lower i, then lower j: a total order, so that the nearest of a union are the nearest of its
    parts' nearest.
    """
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -similarity.astype(np.int64)))[:most]
    return pairs[order], similarity[order], len(pairs) - len(order)
