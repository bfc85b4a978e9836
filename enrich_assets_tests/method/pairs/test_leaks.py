"""Near-duplicates of one patient under contradicting labels, and identical pictures of two: what a look at each pair finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.pairs import leaks
from enrich_assets.method.pairs.leaks import contradicting_pairs, identical_pairs, products_of
from enrich_assets_tests.method import slow_reference as slow

few = settings(max_examples=40, derandomize=True, deadline=None)


@few
@given(st.sampled_from(slow.KINDS), st.integers(1, 60), st.integers(0, 10**6), st.integers(0, 30))
def test_contradicting_pairs_are_those_that_a_look_at_each_pair_finds(kind: str, n: int, seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    q, patients, labels = slow.pool(kind, n, 8, seed), rng.integers(0, 5, n), rng.integers(-1, 3, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaks, "BLOCK", 7)
        pairs, products, left_out = contradicting_pairs(q, patients, labels, 0.7, most)
    known = [
        (i, j, s)
        for i, j, s in slow.near_duplicates(q, round(0.7 * 4000**2), 0)
        if patients[i] == patients[j] and labels[i] != labels[j] and min(labels[i], labels[j]) >= 0
    ]
    assert [(i, j, s) for (i, j), s in zip(pairs.tolist(), products.tolist(), strict=True)] == known[:most]
    assert left_out == len(known) - len(pairs)
    assert products_of(q, pairs).tolist() == products.tolist()


@few
@given(st.integers(0, 40), st.integers(0, 10**6))
def test_each_identical_picture_of_several_patients_is_in_a_pair_and_there_are_fewer_pairs_than_frames(
    n: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pictures, patients = rng.integers(0, 12, n), rng.integers(0, 4, n)
    pairs = identical_pairs(pictures, patients)
    assert len(pairs) < max(n, 1)
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    for i, j in pairs:
        assert i < j
        assert pictures[i] == pictures[j]
        assert patients[i] != patients[j]
    shared = {
        frame
        for i, j in itertools.combinations(range(n), 2)
        if pictures[i] == pictures[j] and patients[i] != patients[j]
        for frame in (i, j)
    }
    assert set(pairs.ravel().tolist()) == shared


def test_a_thousand_black_frames_are_a_thousand_pairs_and_not_half_a_million() -> None:
    assert len(identical_pairs(np.zeros(1000, np.int64), np.arange(1000) // 10)) == 999
