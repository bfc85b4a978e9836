"""Each kind of number is written in one way, here, for the page and the terminal alike.

Here: text of scores, p-values, counts, shares, similarities, times; the anchors that numbers link to; the
summary of evaluations by arm and budget. A number in the page is the published value passed once through
one of these, so that it can be compared letter by letter with what SQL returns. Not here: sentences
(`findings.py`), layout (`page.html`).
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from enrich_assets.method.kinds import kind_names, kind_of
from enrich_assets.report.names import FRAMES

MISSING = "–"


def is_missing(value: Any) -> bool:
    """None, NaN, NaT and pandas' NA alike."""
    return value is None or bool(pd.isna(value))


def score(value: Any) -> str:
    """A score, or a mean or standard deviation of scores: four decimals."""
    return MISSING if is_missing(value) else f"{float(value):.4f}"


def signed(value: Any) -> str:
    """A difference of scores: four decimals and always its sign."""
    return MISSING if is_missing(value) else f"{float(value):+.4f}".replace("-", "−")


def p_value(value: Any) -> str:
    """Two significant digits; 1 for one."""
    if is_missing(value):
        return MISSING
    p = float(value)
    return "1" if p > 0.995 else f"{p:.2g}" if p < 0.001 else f"{p:.3f}"


def count(value: Any) -> str:
    """A whole number, thousands apart."""
    return MISSING if is_missing(value) else f"{round(float(value)):,}"


def mean_count(value: Any) -> str:
    """A mean of whole numbers: one decimal, none where it is whole."""
    if is_missing(value):
        return MISSING
    return count(value) if float(value).is_integer() else f"{float(value):,.1f}"


def share(value: Any) -> str:
    """A share in per cent: one decimal, or two significant digits below 0.1 %."""
    if is_missing(value):
        return MISSING
    per_cent = 100 * float(value)
    if per_cent != 0 and abs(per_cent) < 0.1:
        return f"{per_cent:.2g} %"
    return f"{per_cent:.1f} %"


def similarity(value: Any) -> str:
    """A cosine: three decimals (its own error is 1e-4)."""
    return MISSING if is_missing(value) else f"{float(value):.3f}".replace("-", "−")


def seconds(value: Any) -> str:
    """A duration: 0.4 s, 34 s, 5 min 12 s, 2 h 05 min, 140 h."""
    if is_missing(value):
        return MISSING
    s = float(value)
    if s < 0:
        return "−" + seconds(-s)
    if s < 10:
        return f"{s:.1f} s"
    if round(s) < 60:
        return f"{round(s)} s"
    if round(s) < 3600:
        return f"{round(s) // 60} min {round(s) % 60:02d} s" if s < 600 else f"{round(s / 60)} min"
    minutes = round(s / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 6000 else f"{round(s / 3600):,} h"


def hours(value: Any) -> str:
    """A duration given in hours."""
    return MISSING if is_missing(value) else seconds(float(value) * 3600)


def metric_label(metric: Any) -> str:
    """How a metric is written in text; the only place of the report that knows metrics by name."""
    if is_missing(metric):
        return MISSING
    labels = {kind.metric: kind.metric_label for kind in map(kind_of, kind_names())}
    return labels.get(str(metric), str(metric))


def anchor(evaluation_id: Any) -> str:
    """The place of an evaluation in the page's appendix."""
    return "e-" + re.sub(r"[^A-Za-z0-9_.-]", "-", str(evaluation_id))


def frames_command(evaluation_id: Any) -> str:
    """What shows the frames that an evaluation's model was trained on."""
    return f"enrich frames {evaluation_id} --out frames.html"


def frames_link(place: str) -> str:
    """The place of an evaluation, or of an arm and budget, in the page of frames."""
    return f"{FRAMES}#{place}"


def group_anchor(task: Any, arm: Any, budget: Any) -> str:
    """The place of all evaluations of a task, arm and budget: what a mean links to."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", f"g-{task}-{arm}-{budget}")


def arm_name(arm: Any) -> str:
    """How an arm is called in text."""
    return {"enrich": "ENRICH", "random": "random", "all": "everything"}.get(str(arm), str(arm))


def current(table: pd.DataFrame) -> pd.DataFrame:
    """The current rows: those marked so, or all where nothing is marked."""
    return table[table["current"].fillna(True).astype(bool)] if "current" in table else table


def results_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """The current evaluations, summarised by task, metric, budget and arm; the same as the view `curves` in SQL.

    Parameters
    ----------
    evaluations : pandas.DataFrame
        Rows of the table `evaluations`.

    Returns
    -------
    pandas.DataFrame
        Columns task, metric, budget, arm, n, mean, sd, unrounded; sd with n - 1, NaN for one run. Missing values are
        not counted.
    """
    columns = ["task", "metric", "budget", "arm", "n", "mean", "sd"]
    rows = current(evaluations)
    if rows.empty:
        return pd.DataFrame(columns=columns)
    grouped = rows.groupby(["task", "metric", "budget", "arm"], sort=True)["value"]
    table = grouped.agg(n="count", mean="mean", sd="std").reset_index()
    return table[columns]


def results_text(evaluations: pd.DataFrame) -> str:
    """The same as lines for a terminal.

    Parameters
    ----------
    evaluations : pandas.DataFrame
        Rows of the table `evaluations`.

    Returns
    -------
    str
        A block per task, in it a row per budget and a column per arm.
    """
    table = results_table(evaluations)
    if table.empty:
        return "no evaluations yet"
    blocks = []
    for (task, metric), rows in table.groupby(["task", "metric"], sort=True):
        arms = sorted(rows["arm"].unique(), key=arm_order)
        cells = {
            (r.budget, r.arm): f"{score(r.mean)} ± {score(r.sd)} (n={r.n})" if r.n else MISSING
            for r in rows.itertuples()
        }
        head = ["labels", *(arm_name(arm) for arm in arms)]
        lines = [head] + [
            [count(budget), *(cells.get((budget, arm), "") for arm in arms)]
            for budget in sorted(rows["budget"].unique())
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        text = "\n".join(
            "  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )
        blocks.append(f"{task}: {metric_label(metric)}, mean ± sd over seeds\n{text}")
    return "\n\n".join(blocks)


def arm_order(arm: Any) -> tuple[int, str]:
    """ENRICH first, then random, then the others by name, everything last."""
    return ({"enrich": 0, "random": 1, "all": 3}.get(str(arm), 2), str(arm))


def saw_labels(arms: pd.DataFrame, evaluations: pd.DataFrame) -> str:
    """A sentence that names the arms that chose by labels; empty where none of those evaluated did."""
    evaluated = arms[arms["arm"].isin(set(evaluations["arm"]))]
    seeing = evaluated[evaluated["sees_labels"].fillna(False).astype(bool)]
    named = [f"{arm_name(row.arm)} (rule {row.rule})" for row in seeing.itertuples()]
    if not named:
        return ""
    verb = "chooses" if len(named) == 1 else "choose"
    return (
        f"{', '.join(named)} {verb} by labels: a network trained on each budget's labels chooses the frames of the next. "
        "The other arms see no label."
    )
