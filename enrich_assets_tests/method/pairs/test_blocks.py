"""A panel cut into row ranges is the panel of one pass, wherever the cuts lie and wherever the work was interrupted."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.pairs.blocks import n_pairs, panel_in_blocks, row_ranges, so_far_of_block
from enrich_assets.method.pairs.panel import PairLists, Panel, sum_panels
from enrich_assets.method.pairs.similarity import SMALL, all_pairs

LISTS = PairLists(neighbours=3, near_duplicate=0.6, max_near_duplicates=40)


def frames(n: int, seed: int, dimensions: int = 6) -> dict[str, np.ndarray]:
    """Vectors in few dimensions, many of them equal, so that ties between neighbours occur; clips of five, patients of two clips."""
    rng = np.random.default_rng(seed)
    vectors = to_fixed_point(rng.integers(-2, 3, (n, dimensions)) + 0.1)
    clips = np.arange(n) // 5
    return {"embeddings": vectors, "clips": clips, "patients": clips // 2, "sides": clips // 2 % 2}


def first(of: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    return {name: values[:n] for name, values in of.items()}


def same(one: Panel, other: Panel) -> bool:
    arrays, others = one.arrays(), other.arrays()
    return arrays.keys() == others.keys() and all(
        np.array_equal(arrays[k], others[k]) and arrays[k].dtype == others[k].dtype for k in arrays
    )


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 12))
def test_ranges_follow_on_one_another_and_share_the_work(a: int, b: int, count: int) -> None:
    n_earlier, n = sorted((a, b))
    ranges = row_ranges(n_earlier, n, count)
    assert (ranges[0][0], ranges[-1][1]) == (n_earlier, n)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges))
    assert len(ranges) <= count
    assert sum(n_pairs(*one) for one in ranges) == n_pairs(n_earlier, n)
    if n > n_earlier:
        assert all(begin < end for begin, end in ranges)
        assert max(n_pairs(*one) for one in ranges) <= n_pairs(n_earlier, n) / count + 2 * n


@given(st.integers(2, 60), st.integers(0, 59), st.integers(1, 6), st.integers(0, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_blocks_in_order_are_one_pass(n: int, n_earlier: int, blocks: int, seed: int, with_known: bool) -> None:
    of, n_earlier = frames(n, seed), min(n_earlier, n)
    known = all_pairs(**first(of, n_earlier), lists=LISTS) if with_known and n_earlier else None
    whole = all_pairs(**of, n_earlier=n_earlier, lists=LISTS, so_far=known)
    assert same(panel_in_blocks(**of, n_earlier=n_earlier, lists=LISTS, so_far=known, blocks=blocks), whole)


@given(st.integers(2, 60), st.integers(0, 59), st.integers(1, 6), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_blocks_apart_add_up_to_one_pass(n: int, n_earlier: int, blocks: int, seed: int) -> None:
    """As a cluster makes them: no block knows of another."""
    of, n_earlier = frames(n, seed), min(n_earlier, n)
    known = all_pairs(**first(of, n_earlier), lists=LISTS) if n_earlier else None
    whole = all_pairs(**of, n_earlier=n_earlier, lists=LISTS, so_far=known)
    apart = [
        all_pairs(**first(of, b), n_earlier=a, lists=LISTS, so_far=so_far_of_block(known, a))
        for a, b in row_ranges(n_earlier, n, blocks)
    ]
    assert same(sum_panels(apart), whole)


@given(st.integers(2, 60), st.integers(0, 59), st.integers(2, 6), st.integers(0, 5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_blocks_of_other_machines_are_one_pass_also_after_an_interruption(
    n: int, n_earlier: int, blocks: int, seed: int, with_known: bool
) -> None:
    of, n_earlier = frames(n, seed), min(n_earlier, n)
    known = all_pairs(**first(of, n_earlier), lists=LISTS) if with_known and n_earlier else None
    whole = all_pairs(**of, n_earlier=n_earlier, lists=LISTS, so_far=known)

    def elsewhere(function: Any, shared: Any, items: Any) -> Iterator[Panel]:
        function, shared = pickle.loads(pickle.dumps((function, shared)))
        made = {item: function(shared, *item) for item in reversed(items)}
        return (made[item] for item in items)

    kept: list[bytes] = []
    how: dict[str, Any] = {
        "n_earlier": n_earlier,
        "lists": LISTS,
        "so_far": known,
        "blocks": blocks,
        "spread": elsewhere,
    }
    assert same(panel_in_blocks(**of, **how, save=kept.append), whole)
    for where_it_stood in kept:
        assert same(panel_in_blocks(**of, **how, resume=where_it_stood), whole)


def test_the_compiled_pass_is_cut_alike() -> None:
    of = frames(SMALL + 900, seed=1, dimensions=32)
    n_earlier = 1700
    known = all_pairs(**first(of, n_earlier), lists=LISTS)
    whole = all_pairs(**of, n_earlier=n_earlier, lists=LISTS, so_far=known)
    assert same(panel_in_blocks(**of, n_earlier=n_earlier, lists=LISTS, so_far=known, blocks=3), whole)


def test_an_interrupted_panel_goes_on_with_the_next_block() -> None:
    of, kept = frames(90, seed=2), []
    whole = all_pairs(**of, lists=LISTS)
    assert same(panel_in_blocks(**of, lists=LISTS, blocks=4, save=kept.append), whole)
    assert len(kept) == 3
    for at, content in enumerate(kept):
        pairs: list[int] = []

        def note(done: int, total: int, values: dict[str, float], pairs: list[int] = pairs) -> None:
            pairs.append(done)

        resumed = panel_in_blocks(**of, lists=LISTS, blocks=2, resume=content, progress=note)
        assert same(resumed, whole)
        assert min(pairs) > math.comb(90, 2) * (at + 0.9) / 4  # nothing before it is compared again
        assert pairs[-1] == math.comb(90, 2)


def test_blocks_of_another_panel_are_refused() -> None:
    kept: list[bytes] = []
    panel_in_blocks(**frames(90, seed=2), lists=LISTS, blocks=4, save=kept.append)
    with pytest.raises(ValueError, match="not of a panel of 10"):
        panel_in_blocks(**frames(90, seed=2), n_earlier=10, lists=LISTS, resume=kept[0])
    with pytest.raises(ValueError, match="at least one range"):
        row_ranges(0, 10, 0)
