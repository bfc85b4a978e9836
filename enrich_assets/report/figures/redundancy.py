"""Figure 1: how similar two frames of a pool are, by kind of pair. Drawing only; counting: `method/pairs`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from enrich_assets.report import numbers
from enrich_assets.report.figures.style import (
    BLUE,
    INK,
    LARGE,
    MEDIUM,
    MUTED,
    PAPER,
    SMALL,
    WIDTH,
    new_figure,
    nothing,
    plain_axes,
)

RELATIONS = ("all", "within clip", "within patient", "between patients")
RELATION_NAMES = {
    "all": "all pairs",
    "within clip": "within a clip",
    "within patient": "within a patient",
    "between patients": "between patients",
}
THRESHOLDS = (0.5, 0.7, 0.9)
ZONE_OPACITY = (0.22, 0.42, 0.68, 1.0)  # below, between and above the thresholds


RANGE = 0.05  # width of a bar, in cosine similarity
SHARE_AT, SHARE_STEP = 1.11, 0.17  # where the shares stand beside the bars, in widths of the axes


def sum_of_panels(panel_redundancy: pd.DataFrame) -> pd.DataFrame:
    """The redundancy of the whole pool from that of its batches.

    Parameters
    ----------
    panel_redundancy : pandas.DataFrame
        Rows of the table `panel_redundancy`, of one task.

    Returns
    -------
    pandas.DataFrame
        Columns relation, lower, upper, pairs, is_estimate, share.
    """
    summed = panel_redundancy.groupby(["relation", "lower", "upper"], as_index=False).agg(
        pairs=("pairs", "sum"), is_estimate=("is_estimate", "any")
    )
    total = summed.groupby("relation")["pairs"].transform("sum")
    return summed.assign(share=summed["pairs"] / total.clip(lower=1))


def redundancy_shares(redundancy: pd.DataFrame) -> pd.DataFrame:
    """Share of each relation's pairs over 0.5, 0.7, 0.9.

    Parameters
    ----------
    redundancy : pandas.DataFrame
        Rows of the table `redundancy`, of one task.

    Returns
    -------
    pandas.DataFrame
        A row per relation that has pairs: relation, pairs, is_estimate, over_0.5, over_0.7, over_0.9.

    Notes
    -----
    From the counts, not by adding up shares: a quotient of whole numbers is the same here and in SQL, to the last bit.
    """
    rows = []
    for relation in RELATIONS:
        bins = redundancy[redundancy["relation"] == relation]
        pairs = int(bins["pairs"].sum())
        if pairs == 0:
            continue
        row: dict[str, object] = {
            "relation": relation,
            "pairs": pairs,
            "is_estimate": bool(bins["is_estimate"].any()),
        }
        row |= {f"over_{k}": int(bins.loc[bins["lower"] >= k - 1e-9, "pairs"].sum()) / pairs for k in THRESHOLDS}
        rows.append(row)
    return pd.DataFrame(rows, columns=["relation", "pairs", "is_estimate", *(f"over_{k}" for k in THRESHOLDS)])


def redundancy_figure(redundancy: pd.DataFrame) -> Figure:
    """Share of pairs per range of similarity, a row per relation, all on one scale.

    Beside each row stand the shares over 0.5, 0.7 and 0.9.

    Parameters
    ----------
    redundancy : pandas.DataFrame
        Rows of the table `redundancy`, of one task.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shares = redundancy_shares(redundancy)
    if shares.empty:
        return nothing("no pairs yet")
    height = 1.0 + 1.1 * len(shares)
    figure = new_figure(WIDTH, height, arranged=False)
    figure.subplots_adjust(left=0.19, right=0.72, top=1 - 0.3 / height, bottom=0.7 / height, hspace=0.12)
    rows = figure.subplots(len(shares), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    coarse = {r: _coarse(redundancy[redundancy["relation"] == r]) for r in shares["relation"]}
    top = max(heights.max() for _, heights in coarse.values())
    lowest = min(float(edges[:-1][heights > 5e-4].min(initial=1.0)) for edges, heights in coarse.values())
    for axes, summary in zip(rows, shares.to_dict("records"), strict=True):
        edges, heights = coarse[summary["relation"]]
        _draw_bars(axes, edges, heights)
        _name_relation(axes, summary["relation"], summary["pairs"], summary["is_estimate"])
        _mark_peak(axes, edges, heights, gap=top * 0.05)
        _write_shares(axes, [summary[f"over_{k}"] for k in THRESHOLDS])
    _head_shares(rows[0])
    rows[0].set_ylim(0, top * 1.28)
    rows[0].set_xlim(np.floor(lowest * 10) / 10 if lowest > -RANGE else lowest - RANGE, 1.0)
    estimate = ", estimated from sampled pairs" if shares["is_estimate"].any() else ""
    rows[-1].set_xlabel(f"cosine similarity of two frames{estimate}", fontsize=MEDIUM)
    return figure


def _coarse(bins: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fine bins added up to ranges of 0.05: edges (k + 1,), shares (k,)."""
    edges = np.round(np.arange(-1.0, 1.0001, RANGE), 2)
    place = np.clip(np.floor((bins["lower"].to_numpy(dtype=float) + 1 + 1e-9) / RANGE), 0, len(edges) - 2)
    heights = np.bincount(place.astype(int), bins["share"].to_numpy(dtype=float), minlength=len(edges) - 1)
    return edges, heights.astype(float)


def _draw_bars(axes: Axes, edges: NDArray[np.float64], heights: NDArray[np.float64]) -> None:
    """A bar per range that holds pairs, the darker the more thresholds it lies above."""
    filled = heights > 0
    zones = (edges[:-1, None] >= np.array(THRESHOLDS) - 1e-9).sum(axis=1)[filled]
    colors = [to_rgba(BLUE, ZONE_OPACITY[zone]) for zone in zones]
    axes.bar(edges[:-1][filled], heights[filled], RANGE, align="edge", color=colors, edgecolor=PAPER, linewidth=1)
    plain_axes(axes, grid="")
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])


def _name_relation(axes: Axes, relation: str, pairs: int, is_estimate: bool) -> None:
    """To the left of the bars: the kind of pair, and how many there are."""
    place: dict[str, Any] = {"x": -0.015, "transform": axes.transAxes, "ha": "right"}
    axes.text(y=0.42, s=RELATION_NAMES[relation], va="bottom", fontsize=MEDIUM, color=INK, weight="bold", **place)
    count = f"{'about ' if is_estimate else ''}{numbers.count(pairs)} pairs"
    axes.text(y=0.34, s=count, va="top", fontsize=SMALL, color=MUTED, **place)


def _mark_peak(axes: Axes, edges: NDArray[np.float64], heights: NDArray[np.float64], gap: float) -> None:
    """The share of the highest bar, above it."""
    peak = int(heights.argmax())
    axes.text(
        edges[peak] + RANGE / 2,
        heights[peak] + gap,
        numbers.share(heights[peak]),
        ha="center",
        va="bottom",
        fontsize=SMALL,
        color=MUTED,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
    )


def _write_shares(axes: Axes, shares: list[float]) -> None:
    """To the right of the bars: the share over each threshold; in the bars a line at each."""
    for i, (threshold, value) in enumerate(zip(THRESHOLDS, shares, strict=True)):
        axes.text(
            SHARE_AT + SHARE_STEP * i,
            0.34,
            numbers.share(value),
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=LARGE,
            color=INK,
            weight="bold" if threshold == THRESHOLDS[-1] else "normal",
        )
        axes.axvline(threshold, color=MUTED, linewidth=1, linestyle=(0, (2, 3)), zorder=0)


def _head_shares(axes: Axes) -> None:
    """Above the shares: the threshold that each is over."""
    for i, threshold in enumerate(THRESHOLDS):
        axes.text(
            SHARE_AT + SHARE_STEP * i,
            1.02,
            f"over {threshold}",
            transform=axes.transAxes,
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=MUTED,
        )
