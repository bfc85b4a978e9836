"""The sentence at the top: for ENRICH, against it, and when nothing can be said."""

import numpy as np
import pandas as pd
import pytest

from enrich_assets.method.statistics.comparison import compare, smallest_sufficient_budget
from enrich_assets.report.findings import finding


def told(enrich, random, full=0.95, seeds=8, noise=0.001, each=60.0):
    """The finding for runs whose mean is given by budget, with tight noise and a margin of 0.01."""
    rng = np.random.default_rng(0)
    level = {("enrich", b): m for b, m in enrich.items()} | {("random", b): m for b, m in random.items()}
    if full is not None:
        level["all", 1000] = full
    rows = [
        ("view", "auc", arm, budget, seed, mean + rng.normal(0, noise))
        for (arm, budget), mean in level.items()
        for seed in range(seeds)
    ]
    runs = pd.DataFrame(rows, columns=["task", "metric", "arm", "budget", "seed", "value"])
    compared = compare(runs, margin=0.01)
    enough = smallest_sufficient_budget(runs, margin=0.01, seconds_per_label=each, n_boot=100)
    return finding("view", runs, compared, enough, each)


def test_fewer_labels_than_random_are_a_saving():
    said = told({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.95})
    assert said.headline == (
        "100 labels chosen by ENRICH, 10.0 % of 1,000, train as good a model as labelling everything."
    )
    assert "Random choice needs 200: 100 labels, 1 h 40 min of labelling, saved against it." in said.details
    assert said.large == (
        ("100", "labels suffice"),
        ("900", "fewer than everything"),
        ("15 h 00 min", "of labelling saved at 60 s a frame"),
        ("100", "fewer than random choice needs"),
    )
    assert not any("100 labels" in r for r in said.reservations)


def test_more_labels_than_random_are_a_loss_and_said_as_one():
    said = told({100: 0.8, 200: 0.95}, {100: 0.95, 200: 0.95})
    assert "Random choice needs only 100: 100 labels fewer." in said.details
    (against,) = said.reservations
    assert against.startswith("Random choice was ahead of ENRICH in AUC at 100 labels by 0.1498 (p = 0.00031),")


def test_as_many_as_random_saves_nothing():
    said = told({100: 0.95, 200: 0.95}, {100: 0.95, 200: 0.95})
    assert "Random choice needs as many: nothing is saved against it." in said.details


def test_where_nothing_suffices_the_shortfall_is_told():
    said = told({100: 0.8, 200: 0.85}, {100: 0.7, 200: 0.95})
    assert said.headline.startswith("No tested budget of ENRICH was shown to be as good")
    assert "margin 0.01" in said.details[0]
    assert said.details[1] == "Random choice suffices with 200 labels."
    assert said.large == ()


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_too_few_runs_are_a_reservation(seeds):
    said = told({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.9}, seeds=seeds)
    assert any(f"With {seeds} run" in r and "missing stars mean nothing" in r for r in said.reservations)


def test_without_everything_nothing_is_called_sufficient():
    said = told({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.9}, full=None)
    assert said.headline.startswith("With 200 labels chosen by ENRICH, AUC is 0.9")
    assert said.details == ("Everything was not trained, so no budget can be called sufficient.",)


def test_no_runs_are_no_finding():
    nothing = pd.DataFrame(columns=["task", "metric", "arm", "budget", "seed", "value"])
    assert finding("view", nothing, nothing, nothing).headline == "Nothing has been trained yet."
