"""Forecasts follow the counts they are made of."""

import math

import numpy as np
import pytest

from enrich_assets.method.pairs.cost import Rates, calibrate, forecast_pairs, forecast_ranking
from enrich_assets.method.ranking import lazy
from enrich_assets_tests.method import slow_reference as slow

RATES = Rates(plain_pairs=1e6, plain_ranking=2e6, compiled=1e8)


def test_a_small_batch_costs_its_own_pairs() -> None:
    whole, batch = forecast_pairs(45_000, 45_000, RATES), forecast_pairs(450, 45_000, RATES)
    assert whole.pairs == math.comb(45_000, 2)
    assert batch.pairs == whole.pairs - math.comb(44_550, 2)
    assert batch.seconds == pytest.approx(batch.pairs / 1e8)
    assert forecast_pairs(1000, 1000, RATES).seconds == pytest.approx(math.comb(1000, 2) / 1e6)
    assert forecast_pairs(45_000, 45_000, RATES, dimensions=256).seconds > whole.seconds


def test_memory_grows_with_frames_not_with_pairs() -> None:
    one, ten = (forecast_pairs(n, n, RATES).bytes for n in (100_000, 1_000_000))
    assert ten < 11 * one
    assert forecast_ranking(1_000_000, 1000, 100, RATES).bytes < 2e9


def test_a_forecast_of_products_is_near_what_a_ranking_makes() -> None:
    for kind in ("gauss", "clips"):
        q = slow.pool(kind, 3000, 32, 0)
        for budget in (600, 3000):
            made = lazy.rank(q, np.arange(60), budget, np.empty(0, np.int32))[2]["products"]
            assert 0.5 < forecast_ranking(3000, budget, 60, RATES).pairs / made < 2


def test_calibration_reads_the_clock_it_is_given() -> None:
    ticks = iter(range(1000))
    rates = calibrate(lambda: float(next(ticks)), frames=500)
    assert rates.plain_pairs == math.comb(1024, 2)  # each measurement takes a second of this clock
    assert rates.plain_ranking == 200 * 1024
    assert math.isnan(rates.compiled)
