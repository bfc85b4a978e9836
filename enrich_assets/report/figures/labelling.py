"""Labelling time until a model is as good as with everything. Drawing only."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from enrich_assets.report import numbers
from enrich_assets.report.figures.style import (
    GREEN,
    INK,
    LARGE,
    MEDIUM,
    PAPER,
    WIDTH,
    arm_styles,
    new_figure,
    nothing,
    plain_axes,
)


def labelling_time_figure(
    sufficient: pd.DataFrame,
    pools: Mapping[str, int],
    seconds_per_label: Mapping[str, float],
    largest_tested: Mapping[str, int],
) -> Figure:
    """Hours of labelling until the model is as good as with everything: a bar per arm, a panel per task.

    An arm of which no tested budget sufficed gets an open bar from the largest of them to everything: the answer
    lies in there.

    Parameters
    ----------
    sufficient : pandas.DataFrame
        The published table.
    pools : mapping of str to int
        Frames of each task's pool, in the order to draw.
    seconds_per_label : mapping of str to float
        Time to label a frame, by task.
    largest_tested : mapping of str to int
        The largest budget trained, by task.

    Returns
    -------
    matplotlib.figure.Figure
    """
    tasks = [t for t in pools if t in set(sufficient["task"]) and t in seconds_per_label]
    if not tasks:
        return nothing("no sufficient budgets yet")
    counts = [int((sufficient["task"] == t).sum()) + 1 for t in tasks]
    figure = new_figure(WIDTH, 0.9 * len(tasks) + 0.62 * sum(counts))
    panels = figure.subplots(len(tasks), 1, squeeze=False, gridspec_kw={"height_ratios": counts})[:, 0]
    for axes, task in zip(panels, tasks, strict=True):
        _draw_hours(
            axes,
            task,
            sufficient[sufficient["task"] == task],
            pools[task],
            seconds_per_label[task],
            largest_tested.get(task, 0),
        )
    return figure


def _draw_hours(axes: Axes, task: str, rows: pd.DataFrame, pool: int, each: float, largest: int) -> None:
    unit, size = ("hours", 3600.0) if pool * each > 7200 else ("minutes", 60.0)
    scale = each / size
    arms = sorted(rows["arm"], key=numbers.arm_order)
    styles = arm_styles([*arms, "all"])
    plain_axes(axes, grid="x")
    axes.spines["left"].set_visible(False)
    for y, arm in enumerate(arms):
        row = rows[rows["arm"] == arm].iloc[0]
        if numbers.is_missing(row["budget"]):
            _open_bar(axes, y, largest * scale, pool * scale, styles[arm].color)
            label = f"more than {numbers.count(largest)} labels, {numbers.seconds(largest * each)}"
            _beside(axes, label, largest * scale, y, before=largest > 0.35 * pool, color=INK)
            continue
        budget = int(row["budget"])
        axes.barh(y, budget * scale, 0.56, color=styles[arm].color)
        if not numbers.is_missing(row["budget_low"]):
            high = pool if numbers.is_missing(row["budget_high"]) else int(row["budget_high"])
            reach = [int(row["budget_low"]) * scale, high * scale]
            axes.plot(reach, [y + 0.36] * 2, color=INK, linewidth=1.8, marker="|", markersize=7)
        label = f"{numbers.count(budget)} labels, {numbers.seconds(budget * each)}"
        inside = budget > 0.6 * pool
        _beside(axes, label, budget * scale, y, before=inside, color=PAPER if inside else INK)
    axes.barh(len(arms), pool * scale, 0.56, color=GREEN)
    label = f"{numbers.count(pool)} labels, {numbers.seconds(pool * each)}"
    _beside(axes, label, pool * scale, len(arms), before=True, color=PAPER)
    axes.set_yticks(range(len(arms) + 1), [*(numbers.arm_name(a) for a in arms), "everything"], fontsize=MEDIUM)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, pool * scale * 1.02)
    axes.set_xlabel(f"{unit} of labelling at {each:g} s per frame", fontsize=MEDIUM)
    axes.set_title(task, loc="left", fontsize=LARGE, weight="bold", color=INK)


def _open_bar(axes: Axes, y: float, left: float, right: float, color: str) -> None:
    """The answer lies somewhere between."""
    axes.barh(y, right - left, 0.56, left=left, facecolor="none", hatch="//", edgecolor=color, linewidth=1.6)


def _beside(axes: Axes, label: str, x: float, y: float, *, before: bool, color: str) -> None:
    """Words just before or just after a point; over a hatched bar they keep a ground of their own."""
    axes.annotate(
        label,
        (x, y),
        xytext=(-9 if before else 9, 0),
        textcoords="offset points",
        ha="right" if before else "left",
        va="center",
        fontsize=MEDIUM,
        weight="bold",
        color=color,
        bbox=None if before else {"facecolor": PAPER, "edgecolor": "none", "pad": 2},
    )
