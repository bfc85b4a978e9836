"""The sentence at the top: for ENRICH, against it, and where there is nothing to report."""

import numpy as np
import pandas as pd
import pytest

from enrich_assets.method.statistics.adequacy import Facts, adequacy, reasons, withhold
from enrich_assets.method.statistics.comparison import compare
from enrich_assets.method.statistics.resampling import Bootstrap
from enrich_assets.method.statistics.sufficient import smallest_sufficient_budget
from enrich_assets.report.findings import closing_lines, finding
from enrich_assets_tests.method.statistics.by_patients import by_patients

NOTHING = pd.DataFrame(columns=["asks", "answer", "passed", "remedy", "question", "cost_seconds"])


def concluded(enrich, random, full=0.95, seeds=8, noise=0.001, each=60.0, patients=200):
    """What is published of runs whose mean is given by budget, with tight noise and a margin of 0.01."""
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
    runs["value_at_half"] = runs["value"]
    tested = by_patients(runs, patients)
    facts = Facts({"A4C": patients, "NT": patients}, patients, 10 * patients, [0.01] * seeds, each)
    answers = adequacy(runs, tested, facts, margin=0.01)
    why = reasons(answers)
    compared = withhold(compare(runs, tested, margin=0.01), why)
    enough = smallest_sufficient_budget(
        runs, compared, tested, seconds_per_label=each, withheld=why, bootstrap=Bootstrap(draws=100)
    )
    return {"evaluations": runs, "comparisons": compared, "sufficient": enough, "adequacy": answers}


def finding_of(enrich, random, each=60.0, **more):
    """The finding for such runs."""
    return finding("view", **concluded(enrich, random, each=each, **more), seconds_per_label=each)


def test_fewer_labels_than_random_are_a_saving():
    result = finding_of({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.95})
    assert result.headline == (
        "100 labels chosen by ENRICH, 10.0 % of 1,000, train as good a model as labelling everything, within 0.01 AUC."
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
    assert against.startswith("Random choice was ahead of ENRICH in AUC at 100 labels by 0.1498 (p = ")
    assert float(against.split("(p = ")[1].split(")")[0]) < 0.001


def test_as_many_as_random_saves_nothing():
    result = finding_of({100: 0.8, 200: 0.95}, {100: 0.8, 200: 0.95})
    assert "Random choice needs as many: nothing is saved compared with it." in result.details


def test_where_nothing_suffices_the_shortfall_is_reported():
    result = finding_of({100: 0.8, 200: 0.85}, {100: 0.7, 200: 0.95})
    assert result.headline.startswith("No tested budget of ENRICH was shown to be as good")
    assert "margin 0.01" in result.details[0]
    assert result.details[1] == "Random choice suffices with 200 labels."
    assert result.large == ()


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_too_few_runs_are_an_answer_and_no_claim(seeds):
    result = finding_of({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.9}, seeds=seeds)
    assert result.headline == "This experiment cannot tell how few labels suffice."
    of_seeds = result.answers[-1]
    assert not of_seeds.passed
    assert of_seeds.answer.startswith(f"No: {seeds} seed{'s' if seeds > 1 else ''}, exact test over seeds can reach p")
    assert of_seeds.remedy.startswith("about 5 seeds")
    assert result.large == ()


def test_too_few_test_patients_are_no_claim_though_every_budget_is_as_good():
    """AUC alike to the third decimal over eight seeds, four test patients: what was called "as good as everything"."""
    result = finding_of({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.95}, patients=4)
    assert result.headline == "This experiment cannot tell how few labels suffice."
    assert result.large == ()
    assert not result.answers[0].passed
    assert "4 test patients" in result.answers[0].answer
    assert result.details[0].startswith("With 200 labels AUC is 0.9")
    assert "95 % interval over patients and seeds" in result.details[0]


def test_where_it_was_not_asked_whether_the_experiment_could_tell_nothing_is_claimed():
    tables = concluded({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.95})
    assert finding("view", **tables).headline.startswith("100 labels chosen by ENRICH")
    assert finding("view", **{**tables, "adequacy": NOTHING}).headline.startswith("This experiment cannot tell")


def test_a_run_ends_with_the_finding_the_answers_and_what_would_help():
    tables = concluded({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.95}, seeds=3)
    lines = closing_lines({name: table.assign(task="view") for name, table in tables.items()})
    assert lines[0] == "view: This experiment cannot tell how few labels suffice."
    assert [line.split("? ")[1].split(":")[0] for line in lines if "?" in line] == ["Yes", "Yes", "Yes", "No"]
    assert lines[-1].startswith("      would help: about 5 seeds")


def test_without_everything_nothing_is_called_sufficient():
    result = finding_of({100: 0.95, 200: 0.95}, {100: 0.8, 200: 0.9}, full=None)
    assert result.headline.startswith("With 200 labels chosen by ENRICH, AUC is 0.9")
    assert result.details == ("No model was trained on the whole pool, so no budget can be called sufficient.",)


def test_no_runs_are_no_finding():
    nothing = pd.DataFrame(columns=["task", "metric", "arm", "budget", "seed", "value"])
    assert finding("view", nothing, nothing, nothing, NOTHING).headline == "No model has been trained yet."
