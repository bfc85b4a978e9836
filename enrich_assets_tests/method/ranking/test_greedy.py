"""The ranking: each next frame is the least similar to all chosen before it; lazy or plain, the order is the same."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.ranking import greedy as ranking
from enrich_assets.method.ranking import lazy as lazy_ranking
from enrich_assets.method.ranking.greedy import rank, rank_by_max_similarity, rank_by_max_similarity_matrix
from enrich_assets.method.ranking.order import NOT_COMPARED
from enrich_assets_tests.method import slow_reference as slow

few = settings(max_examples=40, derandomize=True, deadline=None)
NOTHING = np.empty(0, np.int32)


def authors_example() -> np.ndarray:
    upper = [
        .16, .15, .14, .10, .004, .07, .50, .13, .12, .08, .06, .133, .20, .11,
        .09, .21, .22, .23, .71, .06, .18, .19, .24, .25, .06, .44, .42, .001,
    ]  # fmt: skip
    matrix = np.eye(8)
    matrix[np.triu_indices(8, 1)] = upper
    return np.maximum(matrix, matrix.T)


def test_the_authors_worked_example() -> None:
    order = rank_by_max_similarity_matrix(authors_example(), [0, 1], 8)
    assert "".join("ABCDEFGH"[i] for i in order) == "ABFDCGHE"


@st.composite
def cases(draw: Any) -> tuple[np.ndarray, np.ndarray, int]:
    n, seed = draw(st.integers(1, 120)), draw(st.integers(0, 2**31))
    q = slow.pool(draw(st.sampled_from(slow.KINDS)), n, draw(st.integers(1, 40)), seed)
    start = np.random.default_rng(seed).choice(n, draw(st.integers(0, min(n, 12))), replace=False)
    return q, start, draw(st.integers(len(start), n))


@few
@given(cases(), st.integers(1, 3), st.sampled_from([1, 2, 5, 17, 256]))
def test_every_way_gives_the_order_of_the_definition(case: Any, threads: int, width: int) -> None:
    q, start, budget = case
    order, values = slow.k_centre(slow.products(q), start, budget)
    if not len(start) and values:
        values[0] = NOT_COMPARED  # nothing was chosen before it
    known = [*[NOT_COMPARED] * len(start), *values]
    plain = rank(q, start, budget)
    assert plain.order.tolist() == order
    assert plain.similarity_to_chosen.tolist() == known
    lazy = lazy_ranking.rank(q, start, budget, NOTHING, threads=threads, width=width)
    assert lazy[0].tolist() == order
    assert lazy[1].tolist() == known
    assert rank_by_max_similarity_matrix(slow.products(q), start, budget).tolist() == order


@pytest.mark.parametrize("kind", slow.KINDS)
def test_thousands_of_frames_are_ranked_as_by_the_plain_rule(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    q, start = slow.pool(kind, 2600, 16, 1), np.array([7, 2599, 64])
    lazy = rank(q, start, 2600)
    monkeypatch.setattr(ranking, "SMALL", 10**9)
    plain = rank(q, start, 2600)
    np.testing.assert_array_equal(lazy.order, plain.order)
    np.testing.assert_array_equal(lazy.similarity_to_chosen, plain.similarity_to_chosen)


def test_threads_do_not_matter_where_there_is_work_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_ranking, "WORTH_A_THREAD", 1)
    q, start = slow.pool("clips", 1500, 20, 4), np.arange(0, 1500, 100)
    orders = [lazy_ranking.rank(q, start, 1500, NOTHING, threads=t)[0] for t in (1, 2, 3)]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], orders[2])


@few
@given(cases(), st.integers(0, 120))
def test_a_ranking_is_extended_by_starting_from_its_prefix(case: Any, at: int) -> None:
    q, start, budget = case
    whole = rank(q, start, budget)
    cut = min(max(at, len(start)), budget)
    assert rank(q, whole.order[:cut], budget).order.tolist() == whole.order.tolist()


@pytest.mark.parametrize("small", [0, 10**9])
def test_what_is_known_of_old_frames_need_not_be_found_again(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "SMALL", small)
    q = slow.pool("clips", 200, 12, 6)
    start = np.array([3, 50, 77])
    known = slow.products(q)[:150, start].max(axis=1).astype(np.int32)
    np.testing.assert_array_equal(rank(q, start, 90, greatest=known).order, rank(q, start, 90).order)


def test_prefixes_nest() -> None:
    q = slow.pool("clips", 100, 12, 2)
    assert rank_by_max_similarity(q, [4], 30).tolist() == rank_by_max_similarity(q, [4], 100)[:30].tolist()


def test_the_start_stands_first_as_given_and_has_no_similarity() -> None:
    ranked = rank(slow.pool("gauss", 40, 8, 0), [9, 2, 30], 10)
    assert ranked.order[:3].tolist() == [9, 2, 30]
    assert np.isnan(ranked.cosine_to_chosen()[:3]).all()
    assert (np.diff(ranked.cosine_to_chosen()[3:]) >= 0).all()  # the least of ever greater values


@pytest.mark.parametrize(
    ("start", "budget", "reason"),
    [
        ([1, 2], 1, "budget"),
        ([1], 11, "budget"),
        ([1, 1], 5, "twice"),
        ([10], 5, "outside"),
        ([-1], 5, "outside"),
        ([0.5], 5, "indices"),
    ],
)
def test_a_wrong_start_or_budget_is_refused(start: list[int], budget: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        rank_by_max_similarity(slow.pool("gauss", 10, 4, 0), start, budget)


@pytest.mark.parametrize("small", [0, 10**9])
def test_progress_reaches_the_budget(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "SMALL", small)
    reports: list[tuple[int, int]] = []
    rank(slow.pool("gauss", 300, 8, 0), [0], 200, progress=lambda done, total, _: reports.append((done, total)))
    assert reports[-1] == (200, 200)
