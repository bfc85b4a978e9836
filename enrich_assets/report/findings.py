"""The findings in words: a sentence per task, with its reservations.

Here: from the tables `sufficient`, `comparisons`, `evaluations` and `adequacy` to plain sentences, each number passed
through `numbers.py`. A finding against ENRICH is stated as plainly as one for it, and none is stated that the experiment
could not have told. Not here: the statistics themselves (`method/statistics`), layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from enrich_assets.report import numbers

FINDING_TABLES = ("evaluations", "comparisons", "sufficient", "adequacy")


@dataclass(frozen=True)
class Answer:
    """Whether the experiment could tell, in one respect: a question, its answer in words, and what would help."""

    asks: str
    answer: str
    passed: bool
    remedy: str


@dataclass(frozen=True)
class Finding:
    """A task's result: the one sentence, what to add, what limits it, and the numbers to print large."""

    task: str
    metric: str
    headline: str
    details: tuple[str, ...]
    reservations: tuple[str, ...]
    large: tuple[tuple[str, str], ...]  # (number, what it is)
    answers: tuple[Answer, ...] = ()


def finding(
    task: str,
    evaluations: pd.DataFrame,
    comparisons: pd.DataFrame,
    sufficient: pd.DataFrame,
    adequacy: pd.DataFrame,
    seconds_per_label: float | None = None,
) -> Finding:
    """The result of one task.

    Parameters
    ----------
    task : str
        Its name.
    evaluations, comparisons, sufficient, adequacy : pandas.DataFrame
        Rows of the published tables, of this task only; any of them may be empty. Without `adequacy` no claim is made.
    seconds_per_label : float, optional
        Time to label a frame, in seconds.

    Returns
    -------
    Finding
    """
    runs = numbers.current(evaluations)
    if runs.empty:
        return Finding(task, "", "No model has been trained yet.", (), (), ())
    metric = numbers.metric_label(runs["metric"].iloc[0])
    summary = numbers.results_table(runs).set_index(["arm", "budget"])
    arms = sorted(set(runs["arm"]) - {"all"}, key=numbers.arm_order)
    budgets = sorted({int(b) for b in runs.loc[runs["arm"] != "all", "budget"]})
    if not arms or comparisons.empty or sufficient.empty:
        head = f"{numbers.count(len(runs))} models trained; there is nothing to compare them with yet."
        return Finding(task, metric, head, (), (), ())
    arm = arms[0]
    rows = sufficient.set_index("arm")
    against_random = comparisons[(comparisons["arm"] == arm) & (comparisons["reference"] == "random")]
    against_all = comparisons[(comparisons["arm"] == arm) & (comparisons["reference"] == "all")]
    reservations = tuple(_where_random_leads(arm, against_random, metric))
    answers = answers_of(adequacy)
    if against_all.empty:
        head = _best_guess(arm, budgets, summary, metric)
        note = "No model was trained on the whole pool, so no budget can be called sufficient."
        return Finding(task, metric, head, (note,), reservations, (), answers)
    if not answers or not all(answer.passed for answer in answers):
        head = "This experiment cannot tell how few labels suffice."
        return Finding(task, metric, head, (_largest(against_all, metric),), reservations, (), answers)
    budget = rows["budget"].get(arm)
    head, details = (
        _none_suffices(arm, against_all, rows, metric)
        if numbers.is_missing(budget)
        else _suffices(arm, int(budget), rows, against_all, against_random, budgets, metric)
    )
    large = () if numbers.is_missing(budget) else _large(arm, rows, seconds_per_label)
    return Finding(task, metric, head, tuple(details), reservations, large, answers)


def answers_of(adequacy: pd.DataFrame) -> tuple[Answer, ...]:
    """The rows of the table `adequacy` of one task, with what each remedy costs."""
    return tuple(
        Answer(str(row.asks), str(row.answer), bool(row.passed), _remedy(row)) for row in adequacy.itertuples()
    )


def _remedy(row: Any) -> str:
    if row.passed or numbers.is_missing(row.remedy) or not row.remedy:
        return ""
    by = "of training here" if row.question != "test_set" else "of labelling"
    by += " and training" if row.question == "test_set" and "seeds" in row.remedy else ""
    cost = "" if numbers.is_missing(row.cost_seconds) else f" (about {numbers.seconds(row.cost_seconds)} {by})"
    return f"{row.remedy}{cost}"


def closing_lines(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What a run says at its end: of each task the finding, and each answer on whether the experiment could tell.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        The published tables `FINDING_TABLES`.
    """
    lines: list[str] = []
    for task in dict.fromkeys(tables["adequacy"]["task"]):
        of_task = {name: tables[name][tables[name]["task"] == task] for name in FINDING_TABLES}
        found = finding(str(task), **of_task)
        lines.append(f"{task}: {found.headline}")
        for answer in found.answers:
            lines.append(f"  {answer.asks} {answer.answer}")
            if answer.remedy:
                lines.append(f"      would help: {answer.remedy}")
    return lines


def _suffices(
    arm: str,
    budget: int,
    rows: pd.DataFrame,
    against_all: pd.DataFrame,
    against_random: pd.DataFrame,
    budgets: list[int],
    metric: str,
) -> tuple[str, list[str]]:
    row, at = rows.loc[arm], against_all[against_all["budget"] == budget].iloc[0]
    pool = round(budget / float(row["share_of_pool"]))
    head = (
        f"{numbers.count(budget)} labels chosen by {numbers.arm_name(arm)}, {numbers.share(row['share_of_pool'])} of "
        f"{numbers.count(pool)}, train as good a model as labelling everything, within {at['margin']:g} {metric}."
    )
    details = [
        f"{metric} {numbers.score(at['mean'])} against {numbers.score(at['mean_reference'])}, shown equivalent within "
        f"{at['margin']:g} over patients and seeds (p = {numbers.p_value(at['p_equivalence_holm'])} after correction over "
        "the budgets)."
    ]
    if not numbers.is_missing(row["budget_low"]):
        high = (
            f"above {numbers.count(max(budgets))}, the largest tested"
            if numbers.is_missing(row["budget_high"])
            else numbers.count(row["budget_high"])
        )
        details.append(f"95 % interval of that number, an estimate: {numbers.count(row['budget_low'])} to {high}.")
    if arm != "random" and "random" in rows.index:
        details.append(_against_random(budget, row, rows.loc["random", "budget"], max(budgets)))
    for beside in against_random[against_random["budget"] == budget].itertuples():
        details.append(
            f"Beside random choice at {numbers.count(budget)} labels: {numbers.signed(beside.difference)} ({_verdict(beside)})."
        )
    return head, details


def _against_random(budget: int, row: pd.Series, random: object, largest: int) -> str:
    if numbers.is_missing(random):
        more = (
            f": more than {numbers.count(largest - budget)} labels saved compared with it" if largest > budget else ""
        )
        return f"Random choice suffices at no tested budget up to {numbers.count(largest)}{more}."
    needs = int(str(random))
    if needs > budget:
        saved = numbers.count(row["labels_saved_vs_random"])
        return (
            f"Random choice needs {numbers.count(needs)}: {saved} labels, "
            f"{numbers.hours(row['hours_saved_vs_random'])} of labelling, saved compared with it."
        )
    if needs == budget:
        return "Random choice needs as many: nothing is saved compared with it."
    return f"Random choice needs only {numbers.count(needs)}: {numbers.count(budget - needs)} labels fewer."


def _none_suffices(arm: str, against_all: pd.DataFrame, rows: pd.DataFrame, metric: str) -> tuple[str, list[str]]:
    last = against_all.sort_values("budget").iloc[-1]
    head = (
        f"No tested budget of {numbers.arm_name(arm)} was shown to be as good as labelling everything; the largest was "
        f"{numbers.count(last['budget'])} labels."
    )
    details = [_largest(against_all, metric)]
    if arm != "random" and "random" in rows.index and not numbers.is_missing(rows.loc["random", "budget"]):
        details.append(f"Random choice suffices with {numbers.count(rows.loc['random', 'budget'])} labels.")
    return head, details


def _largest(against_all: pd.DataFrame, metric: str) -> str:
    """The largest budget beside everything, as measured."""
    last = against_all.sort_values("budget").iloc[-1]
    interval = (
        "no interval over patients and seeds"
        if numbers.is_missing(last["ci_low"])
        else f"95 % interval over patients and seeds {numbers.signed(last['ci_low'])} to {numbers.signed(last['ci_high'])}"
    )
    return (
        f"With {numbers.count(last['budget'])} labels {metric} is {numbers.score(last['mean'])}, with everything "
        f"{numbers.score(last['mean_reference'])}: {numbers.signed(last['difference'])}, {interval}; margin {last['margin']:g}."
    )


def _best_guess(arm: str, budgets: list[int], summary: pd.DataFrame, metric: str) -> str:
    best = budgets[-1]
    mean = numbers.score(summary["mean"].get((arm, best)))
    return f"With {numbers.count(best)} labels chosen by {numbers.arm_name(arm)}, {metric} is {mean}."


def _where_random_leads(arm: str, against_random: pd.DataFrame, metric: str) -> list[str]:
    behind = against_random[against_random["difference"] < 0].sort_values("budget")
    if behind.empty:
        return []
    budgets = [
        f"at {numbers.count(r.budget)} labels by {numbers.score(-r.difference)} ({_verdict(r)})"
        for r in behind.itertuples()
    ]
    return [f"Random choice was ahead of {numbers.arm_name(arm)} in {metric} {', '.join(budgets)}."]


def _verdict(row: object) -> str:
    p, alpha = row.p_both_holm, row.alpha  # type: ignore[attr-defined]
    if numbers.is_missing(p):
        return "not judged over patients"
    return f"p = {numbers.p_value(p)}" + ("" if p <= alpha else ", not significant")


def _large(arm: str, rows: pd.DataFrame, seconds_per_label: float | None) -> tuple[tuple[str, str], ...]:
    row = rows.loc[arm]
    large = [(numbers.count(row["budget"]), "labels suffice")]
    if not numbers.is_missing(row["labels_saved_vs_all"]):
        each = f" at {seconds_per_label:g} s per frame" if seconds_per_label else ""
        large.append((numbers.count(row["labels_saved_vs_all"]), "fewer than everything"))
        large.append((numbers.hours(row["hours_saved_vs_all"]), f"of labelling saved{each}"))
    if not numbers.is_missing(row["labels_saved_vs_random"]):
        large.append((numbers.count(row["labels_saved_vs_random"]), "fewer than random choice needs"))
    return tuple(large)
