"""Figures 2b and 2c: score by number of labelled frames, arm against arm and against everything. Drawing only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from enrich_assets.report import numbers
from enrich_assets.report.figures.style import (
    GREEN,
    INK,
    LARGE,
    MEDIUM,
    PAPER,
    SMALL,
    WIDTH,
    ArmStyle,
    arm_styles,
    fit_together,
    legend_above,
    new_figure,
    nothing,
    plain_axes,
)

ENRICH, RANDOM = "enrich", "random"
PANELS = 4  # side by side, where each arm has one
BEYOND = 0.03  # of the axis of a share, above 1 and below 0


def curves_figure(evaluations: pd.DataFrame, comparisons: pd.DataFrame) -> Figure:
    """Mean and standard deviation by budget for each arm of one task, each run as a dot, everything as a band.

    Many arms have a panel each, with random beside.

    A star in an arm's colour: better than random over patients and seeds, after correction; a triangle below: worse. A ring: shown
    equivalent to everything. Dots and means link to their frames in the page of frames.

    Parameters
    ----------
    evaluations, comparisons : pandas.DataFrame
        Rows of the published tables, of one task; either may be empty.

    Returns
    -------
    matplotlib.figure.Figure
    """
    runs = numbers.current(evaluations).dropna(subset=["value"])
    if runs.empty:
        return nothing("no evaluations yet")
    arms = sorted(set(runs["arm"]) - {"all"}, key=numbers.arm_order)
    if not fit_together(arms):
        return _each_by_itself(runs, comparisons, arms)
    figure = new_figure(WIDTH, 5.4)
    axes = figure.subplots()
    _draw_arms(axes, runs, comparisons, arms, arm_styles(arms))
    _keep_to_shares(axes, runs)
    axes.set_ylabel(numbers.metric_label(runs["metric"].iloc[0]), fontsize=LARGE)
    legend_above(axes)
    return figure


def _each_by_itself(runs: pd.DataFrame, comparisons: pd.DataFrame, arms: list[str]) -> Figure:
    """A panel for each of many arms, with the random one and everything in each; all on one scale."""
    reference = [arm for arm in arms if arm == RANDOM]
    own = [arm for arm in arms if arm != RANDOM]
    rows = -(-len(own) // PANELS)
    figure = new_figure(WIDTH, 0.7 + 2.5 * rows)
    panels = figure.subplots(rows, PANELS, sharex=True, sharey=True, squeeze=False)
    for panel in panels.flat[len(own) :]:
        panel.set_visible(False)
    for number, arm in enumerate(own):
        axes = panels.flat[number]
        styles = arm_styles(reference) | {arm: arm_styles([ENRICH])[ENRICH]}
        _draw_arms(axes, runs, comparisons, [*reference, arm], styles, size=0.6)
        axes.set_title(numbers.arm_name(arm), fontsize=SMALL, color=INK, loc="left")
        axes.set_xlabel("labelled frames" if number + PANELS >= len(own) else "", fontsize=SMALL)
        axes.tick_params(labelbottom=number + PANELS >= len(own), labelsize=SMALL)
    _keep_to_shares(panels.flat[0], runs)  # and with it all the others
    figure.supylabel(numbers.metric_label(runs["metric"].iloc[0]), fontsize=LARGE, color=INK)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    shared = [(h, label) for h, label in zip(handles, labels, strict=True) if label != numbers.arm_name(own[0])]
    figure.legend(
        [h for h, _ in shared],
        ["in each panel: " * (k == 0) + label for k, (_, label) in enumerate(shared)],
        loc="outside upper left",
        ncols=len(shared),
        fontsize=MEDIUM,
        frameon=False,
        labelcolor=INK,
    )
    return figure


def _draw_arms(
    axes: Axes,
    runs: pd.DataFrame,
    comparisons: pd.DataFrame,
    arms: list[str],
    styles: dict[str, ArmStyle],
    size: float = 1.0,
) -> None:
    """Arms and everything. `size`: of markers and lines."""
    plain_axes(axes)
    summary = numbers.results_table(runs)
    budgets = sorted({int(b) for b in runs.loc[runs["arm"] != "all", "budget"]})
    log = bool(budgets) and max(budgets) > 6 * min(budgets)
    for i, arm in enumerate(arms):
        move = partial(_aside, budgets=budgets, log=log, i=i, n=len(arms))
        _draw_arm(axes, runs, summary, arm, styles[arm], move, size)
        if len(comparisons):
            _draw_marks(
                axes,
                summary[summary["arm"] == arm],
                comparisons[comparisons["arm"] == arm],
                styles[arm],
                move,
            )
    if budgets:
        _budget_axis(axes, budgets, log)
    _draw_everything(axes, runs, comparisons, bool(budgets))
    axes.margins(y=0.16)


def _keep_to_shares(axes: Axes, runs: pd.DataFrame) -> None:
    """Of a share no score lies beyond, though a deviation may."""
    if runs["value"].between(0, 1).all():
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -BEYOND), min(high, 1 + BEYOND))


def _aside(budget: Any, budgets: list[int], log: bool, i: int, n: int) -> Any:
    """Arm i of n stands a little beside its budget, so that error bars do not cover one another."""
    step = 0.012 * (i - (n - 1) / 2)
    if log:
        return budget * np.exp(step * np.log(max(budgets) / min(budgets)))
    return budget + step * (max(budgets) - min(budgets) or max(budgets))


def _draw_arm(
    axes: Axes,
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    arm: str,
    style: ArmStyle,
    move: Callable[[Any], Any],
    size: float,
) -> None:
    of_arm = runs[runs["arm"] == arm]
    dots = axes.scatter(
        move(of_arm["budget"].to_numpy(dtype=float)),
        of_arm["value"],
        s=26 * size,
        color=style.color,
        alpha=0.4,
        linewidths=0,
        zorder=3,
    )
    if "evaluation_id" in of_arm:
        dots.set_urls([numbers.frames_link(numbers.anchor(e)) for e in of_arm["evaluation_id"]])
    means = summary[summary["arm"] == arm]
    targets = axes.scatter(  # where a mean is clicked: lines have no links of their own
        move(means["budget"].to_numpy(dtype=float)),
        means["mean"],
        s=260 * size,
        color=style.color,
        alpha=0,
        linewidths=0,
        zorder=2.9,  # below the dots
    )
    if "task" in of_arm:
        targets.set_urls(
            [numbers.frames_link(numbers.group_anchor(of_arm["task"].iloc[0], arm, b)) for b in means["budget"]]
        )
    axes.errorbar(
        move(means["budget"].to_numpy(dtype=float)),
        means["mean"],
        yerr=means["sd"].fillna(0),
        color=style.color,
        marker=style.marker,
        markersize=10 * size,
        linewidth=2.6 * size,
        linestyle=style.dash,
        elinewidth=2 * size,
        capsize=5 * size,
        capthick=2 * size,
        markeredgecolor=PAPER,
        markeredgewidth=1.2,
        zorder=5,
        label=numbers.arm_name(arm),
    )


def _draw_marks(
    axes: Axes, summary: pd.DataFrame, comparisons: pd.DataFrame, style: ArmStyle, move: Callable[[Any], Any]
) -> None:
    """Stars, triangles and rings of the comparisons of one arm."""
    means = summary.set_index("budget")
    for row in comparisons.itertuples():
        if row.budget not in means.index or numbers.is_missing(means["mean"][row.budget]):
            continue
        x, mean = move(float(row.budget)), float(means["mean"][row.budget])
        spread = 0.0 if numbers.is_missing(means["sd"][row.budget]) else float(means["sd"][row.budget])
        if row.reference == "all" and not numbers.is_missing(row.equivalent) and bool(row.equivalent):
            axes.plot(
                [x],
                [mean],
                marker="o",
                markersize=21,
                markerfacecolor="none",
                linestyle="none",
                markeredgecolor=style.color,
                markeredgewidth=2.2,
                zorder=6,
            )
        elif row.reference == "random" and not numbers.is_missing(row.p_both_holm) and row.p_both_holm <= row.alpha:
            up = 1 if row.difference > 0 else -1
            axes.annotate(
                "★" if up > 0 else "▼",
                (x, mean + up * spread),
                xytext=(0, 9 * up),
                color=style.color,
                textcoords="offset points",
                ha="center",
                va="bottom" if up > 0 else "top",
                fontsize=LARGE + 2,
                zorder=7,
            )


def _draw_everything(axes: Axes, runs: pd.DataFrame, comparisons: pd.DataFrame, others: bool) -> None:
    """The whole pool: its mean as a line, its standard deviation as a band, the margin of equivalence dotted."""
    full = runs[runs["arm"] == "all"]
    if full.empty:
        return
    full = full[full["budget"] == full["budget"].max()]
    mean, sd = float(full["value"].mean()), float(full["value"].std()) if len(full) > 1 else 0.0
    axes.axhspan(mean - sd, mean + sd, color=GREEN, alpha=0.16, linewidth=0, zorder=1)
    label = f"everything: {numbers.count(full['budget'].iloc[0])} labels, {numbers.score(mean)}"
    axes.axhline(mean, color=GREEN, linewidth=2.2, zorder=2, label=label)
    margins = comparisons["margin"].dropna() if len(comparisons) else pd.Series(dtype=float)
    if len(margins):
        axes.axhline(mean - float(margins.iloc[0]), color=GREEN, linewidth=1.6, linestyle=(0, (1, 2.5)), zorder=2)
    if not others:
        axes.scatter([0.5] * len(full), full["value"], s=40, color=GREEN)
        axes.set_xticks([])


def _budget_axis(axes: Axes, budgets: list[int], log: bool) -> None:
    if log:
        axes.set_xscale("log")
    ticks = budgets
    if len(budgets) > 2:  # leave out labels that would run into each other
        place = np.log(budgets) if log else np.array(budgets, dtype=float)
        least, ticks = (place[-1] - place[0]) / 11, [budgets[0]]
        for budget, here in zip(budgets[1:], place[1:], strict=True):
            if here - (np.log(ticks[-1]) if log else ticks[-1]) >= least:
                ticks.append(budget)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda b, _: numbers.count(b)))
    axes.set_xlabel("labelled frames" + (" (logarithmic)" if log else ""), fontsize=LARGE)
