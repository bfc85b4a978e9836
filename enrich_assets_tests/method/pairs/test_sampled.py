"""Estimates cover the truth as often as they say."""

import numpy as np
import pytest

from enrich_assets.method.pairs.sampled import estimate_redundancy, wilson
from enrich_assets.method.pairs.similarity import all_pairs
from enrich_assets_tests.method import slow_reference as slow


def test_intervals_cover_the_exact_share_about_as_often_as_they_say() -> None:
    q, clips = slow.pool("clips", 210, 8, 0), np.arange(210) // 7
    patients = clips // 3
    exact = all_pairs(q, clips=clips, patients=patients)
    every = np.concatenate([exact.histograms.sum(axis=0, keepdims=True), exact.histograms])
    share = (every / every.sum(axis=1, keepdims=True)).ravel()
    covered, drawn = 0, 0
    for seed in range(25):
        table = estimate_redundancy(q, clips, patients, 2000, seed)
        busy = (share > 0.02) & (share < 0.98)
        inside = (table["ci_low"] <= share) & (share <= table["ci_high"])
        covered, drawn = covered + int(inside[busy].sum()), drawn + int(busy.sum())
    assert 0.92 < covered / drawn < 0.98


def test_pairs_are_drawn_from_the_panel_alone() -> None:
    """With two earlier frames and one new one there are two pairs; the pair of the earlier ones is never drawn."""
    q = slow.pool("gauss", 3, 16, 1)
    table = estimate_redundancy(q, [0, 0, 1], [0, 0, 0], 400, 0, n_earlier=2)
    drawn = table.groupby("relation")["sampled"].sum()
    assert drawn["all"] == 400
    assert drawn["within clip"] == 0
    assert table["is_estimate"].all()
    assert table.loc[table["relation"] == "all", "pairs"].sum() == pytest.approx(2)


def test_an_estimate_says_which_share_it_is_unsure_of() -> None:
    low, high = wilson([0, 5, 10], 10)
    assert low.tolist() == pytest.approx([0, 0.2366, 0.7225], abs=1e-4)  # Wilson 1927, by hand
    assert high.tolist() == pytest.approx([0.2775, 0.7634, 1], abs=1e-4)
    assert [x.tolist() for x in wilson([0], 0)] == [[0], [1]]


def test_the_same_seed_draws_the_same_pairs() -> None:
    q, code = slow.pool("gauss", 50, 8, 0), np.arange(50)
    first, again, other = (estimate_redundancy(q, code, code, 500, seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_panel_of_no_pairs_is_an_estimate_of_nothing() -> None:
    table = estimate_redundancy(slow.pool("gauss", 1, 8, 0), [0], [0], 100, 0)
    assert table["pairs"].sum() == 0
    assert table["share"].isna().all()
