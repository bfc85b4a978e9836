"""Fixed point: a dot product of two embeddings is the same integer wherever and however it is summed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from enrich_assets.method.embeddings.fixed_point import (
    EXACT,
    MAX_DIMENSIONS,
    SCALE,
    checked,
    least_product,
    to_cosine,
    to_fixed_point,
)

few = settings(max_examples=60, derandomize=True, deadline=None)


def test_a_vector_becomes_its_direction_times_4000() -> None:
    assert to_fixed_point(np.array([[3.0, 4.0], [-2.0, 0.0]])).tolist() == [[2400, 3200], [-4000, 0]]


def test_halves_round_to_the_even_neighbour() -> None:
    x = np.array([[0.5, np.sqrt(SCALE**2 - 0.5**2)], [1.5, np.sqrt(SCALE**2 - 1.5**2)]])
    assert to_fixed_point(x)[:, 0].tolist() == [0, 2]


@few
@given(arrays(np.float64, (3, 128), elements=st.floats(-1e30, 1e30)).filter(lambda x: x.any(axis=1).all()))
def test_no_partial_sum_of_a_dot_product_reaches_two_to_the_24(x: np.ndarray) -> None:
    q = to_fixed_point(x).astype(np.int64)
    assert np.abs(q[:, None] * q[None]).sum(axis=2).max() < EXACT  # more than any partial sum, in any order


def test_the_bound_holds_up_to_the_dimension_that_is_refused() -> None:
    assert (SCALE + np.sqrt(MAX_DIMENSIONS) / 2) ** 2 < EXACT <= (SCALE + np.sqrt(MAX_DIMENSIONS + 1) / 2) ** 2
    with pytest.raises(ValueError, match="36864 dimensions"):
        to_fixed_point(np.ones((1, MAX_DIMENSIONS + 1)))


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_float32_products_are_exact_in_any_order(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    q = to_fixed_point(rng.standard_normal((8, d)))
    x, shuffled = q.astype(np.float32), rng.permutation(d)
    exact = q.astype(np.int64) @ q.astype(np.int64).T
    assert (x @ x.T == exact).all()
    assert (x[:, shuffled] @ x[:, shuffled].T == exact).all()


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_length_does_not_matter(scale: float) -> None:
    x = np.random.default_rng(0).standard_normal((5, 16))
    assert (to_fixed_point(x * scale) == to_fixed_point(x)).all()


@pytest.mark.parametrize(
    ("bad", "message"), [(0.0, "row 2 is zero"), (np.nan, "row 2 is not finite"), (np.inf, "row 2")]
)
def test_a_vector_without_direction_is_named(bad: float, message: str) -> None:
    x = np.ones((4, 3))
    x[2] = bad
    with pytest.raises(ValueError, match=message):
        to_fixed_point(x)


def test_what_did_not_come_from_fixed_point_is_refused() -> None:
    with pytest.raises(ValueError, match="int16"):
        checked(np.ones((2, 3)))
    with pytest.raises(ValueError, match="row 1 is longer"):
        checked(np.array([[4000, 0], [4000, 4000]], np.int16))


@few
@given(st.floats(-1.2, 1.2), st.booleans())
def test_the_least_product_of_a_cosine_is_where_float64_comparison_turns(cosine: float, above: bool) -> None:
    at = least_product(cosine, above=above)
    reached = to_cosine([at - 1, at]) > cosine if above else to_cosine([at - 1, at]) >= cosine
    if abs(at) <= SCALE**2:
        assert reached.tolist() == [False, True]
    else:
        assert reached[0] == reached[1] == (at < 0)


def test_the_edges_that_matter_are_whole_products() -> None:
    assert [least_product(x) for x in (0.5, 0.7, 0.9)] == [8_000_000, 11_200_000, 14_400_000]
