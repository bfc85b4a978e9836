"""Figure 1: how alike two frames of a pool are, by kind of pair. Drawing only; counting: `method/similarity`."""

from __future__ import annotations

import numpy as np
import pandas as pd
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


def redundancy_shares(redundancy: pd.DataFrame) -> pd.DataFrame:
    """Share of each relation's pairs over 0.5, 0.7, 0.9, of one task: relation, pairs, is_estimate, over_0.5, ...

    From the counts, not by adding up shares: a quotient of whole numbers is the same here and in SQL, to the last bit.
    """
    rows = []
    whole = _whole_pool(redundancy)
    for relation in RELATIONS:
        mine = whole[whole["relation"] == relation]
        pairs = int(mine["pairs"].sum())
        if pairs == 0:
            continue
        row: dict[str, object] = {
            "relation": relation,
            "pairs": pairs,
            "is_estimate": bool(mine["is_estimate"].any()),
        }
        row |= {f"over_{k}": int(mine.loc[mine["lower"] >= k - 1e-9, "pairs"].sum()) / pairs for k in THRESHOLDS}
        rows.append(row)
    return pd.DataFrame(rows, columns=["relation", "pairs", "is_estimate", *(f"over_{k}" for k in THRESHOLDS)])


def redundancy_figure(redundancy: pd.DataFrame) -> Figure:
    """Share of pairs per similarity range, a row a relation, on one scale; beside it the shares over 0.5,
    0.7, 0.9.

    redundancy: rows of one task of the table `redundancy`.
    """
    shares = redundancy_shares(redundancy)
    if shares.empty:
        return nothing("no pairs yet")
    whole = _whole_pool(redundancy)
    height = 1.0 + 1.1 * len(shares)
    figure = new_figure(WIDTH, height, arranged=False)
    figure.subplots_adjust(left=0.19, right=0.72, top=1 - 0.3 / height, bottom=0.7 / height, hspace=0.12)
    rows = figure.subplots(len(shares), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    coarse = {r: _coarse(whole[whole["relation"] == r]) for r in shares["relation"]}
    top = max(h.max() for _, h in coarse.values())
    lowest = min(float(e[:-1][h > 5e-4].min(initial=1.0)) for e, h in coarse.values())
    for axes, summary in zip(rows, shares.itertuples(), strict=True):
        edges, heights = coarse[summary.relation]
        seen = heights > 0
        zones = (edges[:-1, None] >= np.array(THRESHOLDS) - 1e-9).sum(axis=1)[seen]
        colors = [to_rgba(BLUE, ZONE_OPACITY[zone]) for zone in zones]
        axes.bar(edges[:-1][seen], heights[seen], 0.05, align="edge", color=colors, edgecolor=PAPER, linewidth=1)
        plain_axes(axes, grid="")
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
        about = "about " if summary.is_estimate else ""
        axes.text(
            -0.015,
            0.42,
            RELATION_NAMES[summary.relation],
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=MEDIUM,
            color=INK,
            weight="bold",
        )
        axes.text(
            -0.015,
            0.34,
            f"{about}{numbers.count(summary.pairs)} pairs",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=SMALL,
            color=MUTED,
        )
        peak = int(heights.argmax())
        axes.text(
            edges[peak] + 0.025,
            heights[peak] + top * 0.05,
            numbers.share(heights[peak]),
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=MUTED,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
        )
        for i, k in enumerate(THRESHOLDS):
            value = numbers.share(getattr(summary, f"_{4 + i}"))
            axes.text(
                1.11 + 0.17 * i,
                0.34,
                value,
                transform=axes.transAxes,
                ha="center",
                va="center",
                fontsize=LARGE,
                color=INK,
                weight="bold" if k == THRESHOLDS[-1] else "normal",
            )
            axes.axvline(k, color=MUTED, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
    for i, k in enumerate(THRESHOLDS):
        rows[0].text(
            1.11 + 0.17 * i,
            1.02,
            f"over {k}",
            transform=rows[0].transAxes,
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=MUTED,
        )
    rows[0].set_ylim(0, top * 1.28)
    rows[0].set_xlim(np.floor(lowest * 10) / 10 if lowest > -0.05 else lowest - 0.05, 1.0)
    estimate = ", estimated from sampled pairs" if shares["is_estimate"].any() else ""
    rows[-1].set_xlabel(f"cosine similarity of two frames{estimate}", fontsize=MEDIUM)
    return figure


def _whole_pool(redundancy: pd.DataFrame) -> pd.DataFrame:
    """The rows of the whole pool; where only panels are given, their sum."""
    whole = redundancy[redundancy["batch"].fillna("") == ""]
    if not whole.empty or redundancy.empty:
        return whole
    summed = redundancy.groupby(["relation", "lower", "upper"], as_index=False).agg(
        pairs=("pairs", "sum"), is_estimate=("is_estimate", "any")
    )
    total = summed.groupby("relation")["pairs"].transform("sum")
    return summed.assign(share=summed["pairs"] / total.clip(lower=1))


def _coarse(rows: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fine bins put together to ranges of 0.05: edges (k + 1,), shares (k,)."""
    edges = np.round(np.arange(-1.0, 1.0001, 0.05), 2)
    place = np.clip(np.floor((rows["lower"].to_numpy(dtype=float) + 1 + 1e-9) / 0.05), 0, len(edges) - 2)
    heights = np.bincount(place.astype(int), rows["share"].to_numpy(dtype=float), minlength=len(edges) - 1)
    return edges, heights.astype(float)
