"""How well a subset represents what it leaves out. Drawing only; measured in `method/ranking/coverage`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from enrich_assets.report import numbers
from enrich_assets.report.figures.style import (
    BLUE,
    INK,
    LARGE,
    MEDIUM,
    PAPER,
    SMALL,
    WIDTH,
    arm_styles,
    fit_together,
    legend_above,
    new_figure,
    nothing,
    plain_axes,
)


def coverage_figure(subsets: pd.DataFrame) -> Figure:
    """Similarity of left-out frames to the nearest chosen one, by budget and arm of one task.

    Marker: the median left-out frame; thick bar down to the 5th percentile (both means over seeds); thin line down
    to the worst frame of any seed.

    Parameters
    ----------
    subsets : pandas.DataFrame
        Rows of the table `subsets`, of one task.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = numbers.current(subsets)
    rows = rows[(rows["arm"] != "all") & rows["coverage_p50"].notna()]
    if rows.empty:
        return nothing("no subsets yet")
    table = rows.groupby(["arm", "budget"], as_index=False).agg(
        p50=("coverage_p50", "mean"), p05=("coverage_p05", "mean"), least=("coverage_min", "min")
    )
    arms = sorted(table["arm"].unique(), key=numbers.arm_order)
    budgets = sorted(int(b) for b in table["budget"].unique())
    styles = arm_styles(arms)
    if not fit_together(arms):
        return _arm_below_arm(table, arms, budgets)
    figure = new_figure(WIDTH, 4.4)
    axes = figure.subplots()
    plain_axes(axes)
    for i, arm in enumerate(arms):
        of_arm = table[table["arm"] == arm].sort_values("budget")
        x = np.array([budgets.index(b) for b in of_arm["budget"]]) + (i - (len(arms) - 1) / 2) * 0.16
        color = styles[arm].color
        axes.vlines(x, of_arm["least"], of_arm["p05"], color=color, linewidth=1.6, alpha=0.8)
        axes.scatter(x, of_arm["least"], marker="_", s=110, color=color, linewidths=1.6)
        axes.vlines(x, of_arm["p05"], of_arm["p50"], color=color, linewidth=7, alpha=0.55)
        axes.plot(
            x,
            of_arm["p50"],
            marker=styles[arm].marker,
            markersize=10,
            linestyle="none",
            color=color,
            markeredgecolor=PAPER,
            label=numbers.arm_name(arm),
        )
    axes.set_xticks(range(len(budgets)), [numbers.count(b) for b in budgets])
    axes.set_xlim(-0.6, len(budgets) - 0.4)
    axes.set_xlabel("labelled frames", fontsize=LARGE)
    axes.set_ylabel("similarity to the\nnearest chosen frame", fontsize=MEDIUM)
    legend_above(axes, length=1.0)
    return figure


def _arm_below_arm(table: pd.DataFrame, arms: list[str], budgets: list[int]) -> Figure:
    """The same of many arms: a row each, a panel for each budget."""
    figure = new_figure(WIDTH, 1.3 + 0.34 * len(arms))
    panels = figure.subplots(1, len(budgets), sharex=True, sharey=True, squeeze=False)[0]
    known = arm_styles([arm for arm in arms if arm in ("enrich", "random")])
    for axes, budget in zip(panels, budgets, strict=True):
        plain_axes(axes, grid="x")
        of_budget = table[table["budget"] == budget].set_index("arm")
        for row, arm in enumerate(arms):
            if arm not in of_budget.index:
                continue
            p50, p05, least = of_budget.loc[arm, ["p50", "p05", "least"]]
            color = known[arm].color if arm in known else BLUE
            axes.hlines(row, least, p05, color=color, linewidth=1.6, alpha=0.8)
            axes.hlines(row, p05, p50, color=color, linewidth=7, alpha=0.55)
            axes.plot([p50], [row], marker="o", markersize=9, linestyle="none", color=color, markeredgecolor=PAPER)
        axes.set_title(f"{numbers.count(budget)} labelled frames", fontsize=MEDIUM, color=INK, loc="left")
    panels[0].set_yticks(range(len(arms)), [numbers.arm_name(arm) for arm in arms], fontsize=SMALL)
    panels[0].invert_yaxis()
    figure.supxlabel("similarity to the nearest chosen frame", fontsize=MEDIUM, color=INK)
    return figure
