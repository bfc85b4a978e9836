"""The part of the report about one task: its figures, tables and pictures, from the rows of the published tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from enrich_assets.report import figures, numbers
from enrich_assets.report.figures.grids import Grid, comparison_grid, redundancy_grid, representation_grid, score_grid
from enrich_assets.report.findings import Finding, finding
from enrich_assets.report.gallery import Gallery, Pictures, gallery

BY_EMBEDDING = ("redundancy", "panel_redundancy", "neighbours", "near_duplicates")


@dataclass(frozen=True)
class TaskPart:
    """All that the page shows of one task."""

    name: str
    anchor: str
    finding: Finding
    saw_labels: str
    redundancy: Markup | None
    redundancy_shares: Grid
    embedding: str
    other_embeddings: list[tuple[str, Grid]]
    arms: str
    is_estimate: bool
    curves: Markup | None
    scores: Grid
    comparison: Grid
    has_marks: bool  # a star or a triangle in it
    represented: Grid
    coverage: Markup | None
    gallery: Gallery | None
    n_near_duplicates: int
    near_left_out: int
    advice: str
    margin: str
    alpha: str


def task_part(
    task: str,
    known: dict[str, pd.DataFrame],
    about: dict[str, Any],
    seconds_per_label: dict[str, float],
    pictures: Pictures,
) -> TaskPart:
    whole = {name: _of(known, name, task) if "task" in table else table for name, table in known.items()}
    default = _default_embedding(whole, about)
    of_task = {name: _by(table, default) if name in BY_EMBEDDING else table for name, table in whole.items()}
    others = [str(one) for one in whole["redundancy"]["embedding"].dropna().unique() if one != default]
    ways = (about.get("arms") or {}).get(task, {})
    evaluations, comparisons, subsets = of_task["evaluations"], of_task["comparisons"], of_task["subsets"]
    redundancy, source = of_task["redundancy"], "redundancy"
    if redundancy.empty:  # the batches were compared, but not summed yet
        redundancy, source = figures.sum_of_panels(of_task["panel_redundancy"]), "panel_redundancy"
    margins, comparison = comparisons["margin"].dropna(), comparison_grid(task, comparisons)
    return TaskPart(
        name=task,
        anchor=f"task-{task}",
        finding=finding(
            task, evaluations, comparisons, of_task["sufficient"], of_task["adequacy"], seconds_per_label.get(task)
        ),
        saw_labels=numbers.saw_labels(of_task["arms"], evaluations),
        redundancy=inline(figures.redundancy_svg(redundancy, f"f1-{task}")) if len(redundancy) else None,
        redundancy_shares=redundancy_grid(
            {"task": task, **({"embedding": default} if others else {})}, redundancy, source
        ),
        embedding=default,
        other_embeddings=[
            (one, redundancy_grid({"task": task, "embedding": one}, _by(whole["redundancy"], one)))
            for one in sorted(others)
        ],
        arms="; ".join(f"{numbers.arm_name(arm)}: {way}" for arm, way in ways.items()),
        is_estimate=bool(redundancy["is_estimate"].fillna(False).astype(bool).any()),
        curves=inline(figures.curves_svg(evaluations, comparisons, f"f2-{task}")) if len(evaluations) else None,
        scores=score_grid(task, evaluations),
        comparison=comparison,
        has_marks=any(mark in str(comparison.rows) for mark in "★▼"),
        represented=representation_grid(task, subsets),
        coverage=_coverage(task, subsets),
        gallery=gallery(task, of_task, pictures, budget=_budget_to_show(of_task["sufficient"])),
        n_near_duplicates=len(of_task["near_duplicates"]),
        near_left_out=int((about.get("near_duplicates_left_out") or {}).get(task, 0)),
        advice=str((about.get("advice") or {}).get(task, "")),
        margin=f"{margins.iloc[0]:g}" if len(margins) else "",
        alpha=f"{comparisons['alpha'].iloc[0]:g}" if len(comparisons) else "0.05",
    )


def _of(known: dict[str, pd.DataFrame], name: str, task: str) -> pd.DataFrame:
    return known[name][known[name]["task"] == task]


def _default_embedding(of_task: dict[str, pd.DataFrame], about: dict[str, Any]) -> str:
    """The embedding of figure 1: the profile's first, else the first that has rows; vae where no row names one."""
    named = [str(name) for table in BY_EMBEDDING for name in of_task[table]["embedding"].dropna().unique()]
    given = str(about.get("embedding") or "")
    return given if given in named or not named else named[0]


def _by(table: pd.DataFrame, embedding: str) -> pd.DataFrame:
    """Rows of one embedding; those that name none are taken as its rows."""
    return table[table["embedding"].isna() | (table["embedding"] == embedding)]


def _budget_to_show(sufficient: pd.DataFrame) -> int | None:
    """The sufficient budget of the first arm, ENRICH where there is one; None where none was."""
    arms = sorted(sufficient["arm"].dropna().unique(), key=numbers.arm_order)
    if not arms:
        return None
    budget = sufficient.set_index("arm")["budget"][arms[0]]
    return None if numbers.is_missing(budget) else int(budget)


def inline(text: str) -> Markup:
    return Markup(text)  # nosec B704: made by matplotlib from our own tables, names in it are escaped there


def _coverage(task: str, subsets: pd.DataFrame) -> Markup | None:
    rows = numbers.current(subsets)
    drawn = rows[(rows["arm"] != "all") & rows["coverage_p50"].notna()] if len(rows) else rows
    return inline(figures.coverage_svg(subsets, f"coverage-{task}")) if len(drawn) else None
