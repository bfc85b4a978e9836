"""How numbers are written, and the summary that the terminal shows."""

import math

import numpy as np
import pandas as pd
import pytest

from enrich_assets.report import numbers
from enrich_assets_tests.report import archive


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (numbers.score, 0.97126, "0.9713"),
        (numbers.score, None, "–"),
        (numbers.signed, -0.0123, "−0.0123"),
        (numbers.signed, 0.0, "+0.0000"),
        (numbers.p_value, 1.08e-5, "1.1e-05"),
        (numbers.p_value, 0.0499, "0.050"),
        (numbers.p_value, 1.0, "1"),
        (numbers.count, 45000, "45,000"),
        (numbers.count, pd.NA, "–"),
        (numbers.mean_count, 16.666, "16.7"),
        (numbers.mean_count, 30.0, "30"),
        (numbers.share, 0.027, "2.7 %"),
        (numbers.share, 0.00012, "0.012 %"),
        (numbers.share, 0.0, "0.0 %"),
        (numbers.similarity, -0.1234, "−0.123"),
        (numbers.seconds, 0.42, "0.4 s"),
        (numbers.seconds, 59.7, "1 min 00 s"),
        (numbers.seconds, 312, "5 min 12 s"),
        (numbers.seconds, 3599.9, "1 h 00 min"),
        (numbers.seconds, 7500, "2 h 05 min"),
        (numbers.hours, 140, "140 h"),
        (numbers.hours, -0.5, "−30 min"),
        (numbers.hours, math.nan, "–"),
    ],
)
def test_each_kind_of_number_is_written_in_one_way(write, value, text):
    assert write(value) == text


def test_the_summary_is_mean_sd_and_count_of_current_runs():
    runs = pd.DataFrame(
        {
            "task": "view",
            "metric": "auc",
            "arm": ["enrich"] * 4,
            "budget": 100,
            "value": [0.9, 0.92, math.nan, 0.1],
            "current": [True, True, True, False],
        }
    )
    (row,) = numbers.results_table(runs).itertuples()
    assert (row.n, row.mean) == (2, pytest.approx(0.91))
    assert row.sd == pytest.approx(0.02 / math.sqrt(2))


def test_the_terminal_shows_a_block_a_task_and_a_row_a_budget():
    text = numbers.results_text(archive.tables(seeds=2, compared=False)["evaluations"])
    blocks = text.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "chambers: Jaccard, mean ± sd over seeds",
        "view: AUC, mean ± sd over seeds",
    ]
    assert blocks[1].splitlines()[1].split() == ["labels", "ENRICH", "random", "everything"]
    assert len(blocks[1].splitlines()) == 2 + 5
    assert [line.split()[0] for line in blocks[1].splitlines()[2:]] == ["50", "100", "200", "400", "1,178"]
    assert len({len(line) for line in blocks[1].splitlines()[2:-1]}) == 1


def test_no_evaluations_are_reported_in_words():
    assert numbers.results_text(pd.DataFrame()) == "no evaluations yet"


def test_anchors_hold_nothing_an_address_could_trip_over():
    assert numbers.anchor("view/enrich 100:0") == "e-view-enrich-100-0"
    assert numbers.is_missing(np.nan)
    assert not numbers.is_missing(0)
