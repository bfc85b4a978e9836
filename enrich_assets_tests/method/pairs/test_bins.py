"""A look into the tables tells how many thresholds a product reaches, wherever they lie."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.pairs.bins import bin_tables

few = settings(max_examples=25, derandomize=True, deadline=None)
inside = st.integers(1 - 2**24, 2**24 - 1)


@few
@given(st.sets(inside | st.integers(-300, 300), max_size=40), st.lists(inside, max_size=20))
def test_a_product_reaches_the_thresholds_that_are_not_above_it(thresholds: set[int], others: list[int]) -> None:
    at = np.array(sorted(thresholds), np.int64)
    products = np.unique(np.concatenate([at, at - 1, at + 1, np.array(others, np.int64)]).clip(1 - 2**24, 2**24 - 1))
    tables = bin_tables(at)
    assert sorted(np.concatenate([table.places for table in tables]).tolist()) == list(range(len(at)))
    reached = sum(table.reached(products) for table in tables)
    np.testing.assert_array_equal(reached, np.searchsorted(at, products, side="right"))


def test_thresholds_a_bin_of_one_percent_apart_need_one_table() -> None:
    assert len(bin_tables(np.arange(-99, 100) * 160_000)) == 1
    assert len(bin_tables(np.array([0, 1, 2]))) == 3
