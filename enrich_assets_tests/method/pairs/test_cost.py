"""Estimates cover the truth as often as they say; forecasts follow the counts they are made of."""

import math

import numpy as np
import pytest

from enrich_assets.method.pairs.cost import (
    Rates,
    calibrate,
    estimate_redundancy,
    foretell_pairs,
    foretell_ranking,
    wilson,
)
from enrich_assets.method.pairs.similarity import all_pairs
from enrich_assets_tests.method import slow_reference as slow

RATES = Rates(plain_pairs=1e6, plain_ranking=2e6, compiled=1e8)


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


def test_a_small_batch_costs_its_own_pairs() -> None:
    whole, batch = foretell_pairs(45_000, 45_000, RATES), foretell_pairs(450, 45_000, RATES)
    assert whole.pairs == math.comb(45_000, 2)
    assert batch.pairs == whole.pairs - math.comb(44_550, 2)
    assert batch.seconds == pytest.approx(batch.pairs / 1e8)
    assert foretell_pairs(1000, 1000, RATES).seconds == pytest.approx(math.comb(1000, 2) / 1e6)
    assert foretell_pairs(45_000, 45_000, RATES, dimensions=256).seconds > whole.seconds


def test_memory_grows_with_frames_not_with_pairs() -> None:
    one, ten = (foretell_pairs(n, n, RATES).bytes for n in (100_000, 1_000_000))
    assert ten < 11 * one
    assert foretell_ranking(1_000_000, 1000, 100, RATES).bytes < 2e9


def test_a_forecast_of_products_is_near_what_a_ranking_makes() -> None:
    from enrich_assets.method.ranking import lazy as lazy_ranking

    for kind in ("gauss", "clips"):
        q = slow.pool(kind, 3000, 32, 0)
        for budget in (600, 3000):
            made = lazy_ranking.rank(q, np.arange(60), budget, np.empty(0, np.int32))[2]["products"]
            assert 0.5 < foretell_ranking(3000, budget, 60, RATES).pairs / made < 2


def test_calibration_reads_the_clock_it_is_given() -> None:
    ticks = iter(range(1000))
    rates = calibrate(lambda: float(next(ticks)), frames=500)
    assert rates.plain_pairs == math.comb(1024, 2)  # each measurement takes a second of this clock
    assert rates.plain_ranking == 200 * 1024
    assert math.isnan(rates.compiled)
