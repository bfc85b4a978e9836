"""From published predictions to a claim, or none: whoever has the database can compute each interval again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enrich_assets.method.kinds import kind_of
from enrich_assets.method.statistics.by_patient import any_left_out
from enrich_assets.method.statistics.two_sources import variance_components
from enrich_assets.report.findings import FINDING_TABLES, closing_lines
from enrich_assets.store.published import read_tables
from enrich_assets_tests.made_home import opened, receipt, sql, verdict


def test_an_experiment_that_cannot_tell_makes_no_claim_anywhere(small: Path) -> None:
    """Four and five test patients, twelve steps of training: table, budgets, advice, page and closing lines agree."""
    archive = opened(small)
    answers = sql(archive, "SELECT * FROM adequacy")
    assert set(answers["task"]) == {"view", "chambers"}
    assert (
        answers.groupby("task")["question"].apply(list).map(lambda asked: asked[:4]).tolist()
        == [["test_set", "convergence", "rise", "seeds"]] * 2
    )
    failed = answers[~answers["passed"].astype(bool)]
    assert set(failed["task"]) == {"view", "chambers"}
    assert failed["reason"].str.len().gt(0).all()
    assert failed["remedy"].str.len().gt(0).all()
    assert sql(archive, "SELECT * FROM sufficient WHERE budget IS NOT NULL").empty
    assert sql(archive, "SELECT note FROM sufficient")["note"].str.startswith("no claim is made: ").all()
    assert sql(archive, "SELECT * FROM comparisons WHERE equivalent").empty
    for task in ("view", "chambers"):
        advice = receipt(archive, f"{task}/worklist").metrics["advice"]
        assert not any(word in advice for word in ("Stop", "Probably stop", "Go on"))
    lines = "\n".join(closing_lines(read_tables(str(archive.published), FINDING_TABLES)))
    page = archive.report.read_text(encoding="utf-8")
    assert page.count("This experiment cannot tell how few labels suffice.") == lines.count("cannot tell how few") == 2
    assert "as good a model as labelling everything" not in page
    for row in answers.itertuples():
        assert row.answer in lines
        assert row.asks in page


def test_an_interval_can_be_computed_again_from_the_published_predictions(small: Path) -> None:
    archive = opened(small)
    rows = sql(
        archive,
        "SELECT e.arm, e.budget, e.seed, e.value, p.*, f.patient_id FROM evaluations e JOIN predictions p USING (evaluation_id) "
        "JOIN frames f USING (frame_id) WHERE e.task = 'view' AND e.current",
    )
    kind = kind_of("classification")
    values: dict[tuple[str, int], list[float]] = {}
    outs: dict[tuple[str, int], list[np.ndarray]] = {}
    for (arm, budget, _), of_training in rows.groupby(["arm", "budget", "seed"]):

        def value_without(stays: np.ndarray, predictions: pd.DataFrame = of_training) -> float:
            return kind.value_of(predictions[stays])

        values.setdefault((arm, budget), []).append(of_training["value"].iloc[0])
        slow = any_left_out(value_without, of_training["patient_id"].to_numpy(dtype=object))
        outs.setdefault((arm, budget), []).append(slow.values)
    published = sql(archive, "SELECT * FROM comparisons WHERE task = 'view'")
    assert len(published)
    pool = max(budget for arm, budget in values if arm == "all")
    for row in published.itertuples():
        other = ("all", pool) if row.reference == "all" else (row.reference, row.budget)
        a, b = (row.arm, row.budget), other
        cases = math.nan if pd.isna(row.cases) else row.cases
        found = variance_components(values[a], values[b], outs[a], outs[b], cases)
        assert row.difference == pytest.approx(found.difference)
        assert (row.ci_low, row.ci_high) == pytest.approx(found.interval(), nan_ok=True)
        assert row.se == pytest.approx(found.error, nan_ok=True)


def test_the_comparison_follows_the_test_set_and_the_worklist_the_comparison(small: Path) -> None:
    archive = opened(small)
    assert verdict(archive, "view/comparison").is_fresh
    assert {"view/test_set", "view/all/model[all|0]"} <= set(receipt(archive, "view/comparison").read)
    assert "view/comparison" in receipt(archive, "view/worklist").read
