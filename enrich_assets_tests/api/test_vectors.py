"""`import enrich_assets as ea`: floats in, positions and cosines out, by the same exact integers as the platform's own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import enrich_assets as ea
from enrich_assets.method.embeddings.fixed_point import SCALE, to_fixed_point

vectors = hnp.arrays(
    np.float64, st.tuples(st.integers(2, 24), st.just(6)), elements=st.integers(-9, 9).map(float)
).filter(lambda x: bool((np.abs(x).max(axis=1) > 0).all()))


def cosines(x: np.ndarray) -> np.ndarray:
    q = to_fixed_point(x).astype(np.int64)
    return np.clip(q @ q.T / SCALE**2, -1, 1)


def test_importing_it_brings_nothing_heavy() -> None:
    code = (
        "import sys, enrich_assets as ea, numpy as np; ea.rank(np.eye(4), 2); ea.redundancy(np.eye(4)); ea.KCenterSelector;"
        "print(sorted({'torch', 'dagster', 'mlflow', 'duckdb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_component_is_still_found_where_dg_looks() -> None:
    assert "EnrichArchive" in dir(ea)
    with pytest.raises(AttributeError, match="no attribute 'rnak'"):
        _ = ea.rnak  # type: ignore[attr-defined]


@given(vectors)
@settings(max_examples=40, deadline=None)
def test_each_next_row_is_the_least_similar_to_all_before_it(x: np.ndarray) -> None:
    similarity, order = cosines(x), [0]
    while len(order) < len(x):
        left = [row for row in range(len(x)) if row not in order]
        order.append(min(left, key=lambda row: (similarity[row, order].max(), row)))
    assert ea.rank(x, len(x)).tolist() == order


@given(vectors, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_every_pair_is_counted_once(x: np.ndarray, random: object) -> None:
    groups = np.arange(len(x)) % 3
    table = ea.redundancy(x, groups)
    n = len(x)
    pairs = table.groupby("relation")["pairs"].sum()
    within = sum(int(k * (k - 1) / 2) for k in np.bincount(groups))
    assert pairs["all"] == n * (n - 1) // 2
    assert pairs["within group"] == within
    assert pairs["between groups"] == pairs["all"] - within
    upper = cosines(x)[np.triu_indices(n, 1)]
    over = table[(table["relation"] == "all") & (table["lower"] >= 0.5)]["pairs"].sum()
    assert over == int((upper >= 0.5).sum())


@given(vectors, st.sampled_from([0.5, 0.9, 0.98, 1.0]))
@settings(max_examples=40, deadline=None)
def test_near_duplicates_are_the_pairs_that_reach_the_threshold(x: np.ndarray, threshold: float) -> None:
    similarity = cosines(x)
    expected = {(i, j) for i in range(len(x)) for j in range(i + 1, len(x)) if similarity[i, j] >= threshold}
    table = ea.near_duplicates(x, threshold)
    assert set(zip(table["first"], table["second"], strict=True)) == expected
    assert table["similarity"].is_monotonic_decreasing
    assert np.array_equal(table["similarity"], similarity[table["first"], table["second"]])
    assert table.attrs["left_out"] == 0


def test_more_near_duplicates_than_are_listed_are_counted() -> None:
    table = ea.near_duplicates(np.ones((5, 3)), 0.9, most=4)
    assert (len(table), table.attrs["left_out"]) == (4, 6)


def test_what_a_choice_leaves_out() -> None:
    x = np.array([[1.0, 0], [0, 1], [3, 4], [-1, 0]])
    table = ea.coverage(x, [0, 1])
    assert table["left_out"].tolist() == [2, 3]
    assert table["nearest"].tolist() == [1, 1]
    assert table["similarity"].round(6).tolist() == [0.8, 0.0]


def test_a_table_of_vectors_is_taken_as_it_is() -> None:
    x = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    frame = pd.DataFrame(x, index=[f"image {i}" for i in range(30)])
    assert ea.rank(frame, 10).tolist() == ea.rank(x, 10).tolist()
    with pytest.raises(ValueError, match="leave out columns of names"):
        ea.rank(frame.assign(name="a"), 3)


def test_errors_name_the_parameter_that_is_wrong() -> None:
    x = np.eye(3)
    with pytest.raises(ValueError, match=r"n must lie between the rows of start \(1\) and all rows \(3\), not 4"):
        ea.rank(x, 4, start=[2])
    with pytest.raises(ValueError, match="chosen must be a vector of positions"):
        ea.coverage(x, ["a", "b"])


def test_a_start_comes_first_and_every_rule_can_be_asked_for() -> None:
    x = np.random.default_rng(0).standard_normal((30, 5))
    assert ea.rank(x, 6, start=[7, 3])[:2].tolist() == [7, 3]
    for rule in ("mean", "facility-location", "random"):
        order = ea.rank(x, 30, start=[7, 3], rule=rule)
        assert sorted(order) == list(range(30))
    assert ea.rank(x, 30, rule="random", seed=1).tolist() != ea.rank(x, 30, rule="random").tolist()


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.array([[1.0, 2], [0, 0]]), "row 1 is zero"),
        (np.array([[1.0, np.nan]]), "row 0 is not finite"),
        (np.ones(4), r"must be \(n, d\)"),
    ],
)
def test_vectors_without_direction_are_refused_by_row(x: np.ndarray, says: str) -> None:
    for call in (lambda: ea.rank(x, 1), lambda: ea.redundancy(x), lambda: ea.near_duplicates(x)):
        with pytest.raises(ValueError, match=says):
            call()


def test_one_group_for_each_row() -> None:
    with pytest.raises(ValueError, match="one value per row"):
        ea.redundancy(np.eye(3), groups=[1, 2])
