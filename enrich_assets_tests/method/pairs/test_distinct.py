"""Near-duplicates left out in a given order: the fast way against the definition, for equality."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.embeddings.fixed_point import SCALE, to_fixed_point
from enrich_assets.method.pairs import distinct
from enrich_assets.method.pairs.distinct import first_of_near_duplicates


def by_definition(vectors: np.ndarray, least: int) -> list[int]:
    """One row after the other against all kept so far, in whole numbers."""
    kept: list[int] = []
    for row in range(len(vectors)):
        if all(int(vectors[row].astype(np.int64) @ vectors[other].astype(np.int64)) < least for other in kept):
            kept.append(row)
    return kept


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([0.3, 0.7, 0.9, 0.999]))
def test_kept_rows_are_those_of_the_definition_whatever_the_blocks(seed: int, n: int, cosine: float) -> None:
    rng = np.random.default_rng(seed)
    around = rng.normal(size=(5, 6))
    vectors = to_fixed_point(around[rng.integers(0, 5, n)] + 0.3 * rng.normal(size=(n, 6)))
    least = round(cosine * SCALE**2)
    before = distinct._BLOCK
    try:
        for block in (1, 7, 512):
            distinct._BLOCK = block
            assert first_of_near_duplicates(vectors, least).tolist() == by_definition(vectors, least)
    finally:
        distinct._BLOCK = before


def test_no_two_kept_rows_are_near_and_every_other_has_a_kept_one_before_it() -> None:
    rng = np.random.default_rng(1)
    vectors = to_fixed_point(np.repeat(rng.normal(size=(300, 8)), 5, axis=0) + 0.02 * rng.normal(size=(1500, 8)))
    least = round(0.98 * SCALE**2)
    kept = first_of_near_duplicates(vectors, least)
    products = vectors.astype(np.int64) @ vectors.astype(np.int64).T
    of_kept = products[np.ix_(kept, kept)]
    assert (of_kept[~np.eye(len(kept), dtype=bool)] < least).all()
    for row in set(range(len(vectors))) - set(kept.tolist()):
        assert (products[row, kept[kept < row]] >= least).any()


def test_of_no_rows_none_is_kept() -> None:
    assert first_of_near_duplicates(np.empty((0, 4), np.int16), 1).tolist() == []
