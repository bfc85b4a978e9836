"""The sentence at the top: for ENRICH, against it, and where there is nothing to report."""

import numpy as np
import pandas as pd
import pytest

from enrich_assets.method.statistics.comparison import Bootstrap, compare, smallest_sufficient_budget
from enrich_assets.report.findings import finding


def finding_of(enrich, random, full=0.95, seeds=8, noise=0.001, each=60.0):
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
    enough = smallest_sufficient_budget(runs, margin=0.01, seconds_per_label=each, bootstrap=Bootstrap(draws=100))
    return finding("view", runs, compared, enough, each)


def test_fewer_labels_than_random_are_a_saving():
    result = finding_of({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.95})
    assert result.headline == (
        "100 labels chosen by ENRICH, 10.0 % of 1,000, train as good a model as labelling everything."
    )
    assert "Random choice needs 200: 100 labels, 1 h 40 min of labelling, saved compared with it." in result.details
    assert result.large == (
        ("100", "labels suffice"),
        ("900", "fewer than everything"),
        ("15 h 00 min", "of labelling saved at 60 s per frame"),
        ("100", "fewer than random choice needs"),
    )
    assert not any("100 labels" in r for r in result.reservations)


def test_more_labels_than_random_are_a_loss_and_reported_as_one():
    result = finding_of({100: 0.8, 200: 0.95}, {100: 0.95, 200: 0.95})
    assert "Random choice needs only 100: 100 labels fewer." in result.details
    (against,) = result.reservations
    assert against.startswith("Random choice was ahead of ENRICH in AUC at 100 labels by 0.1498 (p = 0.00031),")


def test_as_many_as_random_saves_nothing():
    result = finding_of({100: 0.95, 200: 0.95}, {100: 0.95, 200: 0.95})
    assert "Random choice needs as many: nothing is saved compared with it." in result.details


def test_where_nothing_suffices_the_shortfall_is_reported():
    result = finding_of({100: 0.8, 200: 0.85}, {100: 0.7, 200: 0.95})
    assert result.headline.startswith("No tested budget of ENRICH was shown to be as good")
    assert "margin 0.01" in result.details[0]
    assert result.details[1] == "Random choice suffices with 200 labels."
    assert result.large == ()


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_too_few_runs_are_a_reservation(seeds):
    result = finding_of({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.9}, seeds=seeds)
    assert any(
        f"With {seeds} run{'s' if seeds > 1 else ''} per arm no difference can reach significance" in r
        and "missing stars mean nothing" in r
        for r in result.reservations
    )


def test_without_everything_nothing_is_called_sufficient():
    result = finding_of({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.9}, full=None)
    assert result.headline.startswith("With 200 labels chosen by ENRICH, AUC is 0.9")
    assert result.details == ("No model was trained on the whole pool, so no budget can be called sufficient.",)


def test_no_runs_are_no_finding():
    nothing = pd.DataFrame(columns=["task", "metric", "arm", "budget", "seed", "value"])
    assert finding("view", nothing, nothing, nothing).headline == "No model has been trained yet."
