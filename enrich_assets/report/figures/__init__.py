"""The figures of the report: a table in, a picture out, as inline SVG (`*_svg`) or PNG (`*_png`).

This is the door of the room. Each figure is drawn in a module of its own; how all look is in `style.py`; which
tables feed a figure is in `page.py`, its caption in `page.html`. A figure of nothing says so in words.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from enrich_assets.report import numbers
from enrich_assets.report.figures.coverage import coverage_figure
from enrich_assets.report.figures.curves import curves_figure
from enrich_assets.report.figures.labelling import labelling_time_figure
from enrich_assets.report.figures.redundancy import (
    RELATION_NAMES,
    THRESHOLDS,
    redundancy_figure,
    redundancy_shares,
    sum_of_panels,
)
from enrich_assets.report.figures.style import to_png, to_svg
from enrich_assets.report.figures.vae import reconstructions_png, vae_curves_figure

__all__ = [
    "RELATION_NAMES", "THRESHOLDS", "coverage_figure", "coverage_svg", "curves_figure", "curves_png",
    "curves_svg", "labelling_time_figure", "labelling_time_svg", "reconstructions_png",
    "redundancy_figure", "redundancy_png", "redundancy_shares", "redundancy_svg", "sum_of_panels", "to_png", "to_svg",
    "vae_curves_figure", "vae_curves_png", "vae_curves_svg",
]  # fmt: skip


def redundancy_svg(redundancy: pd.DataFrame, name: str = "redundancy") -> str:
    return to_svg(redundancy_figure(redundancy), name=name, title="Share of pairs per range of similarity")


def redundancy_png(redundancy: pd.DataFrame) -> bytes:
    return to_png(redundancy_figure(redundancy))


def curves_svg(evaluations: pd.DataFrame, comparisons: pd.DataFrame, name: str = "curves") -> str:
    titles = {
        numbers.frames_link(numbers.anchor(r.evaluation_id)): (
            f"{numbers.arm_name(r.arm)}, {numbers.count(r.budget)} labels, seed {r.seed}: {numbers.score(r.value)}\n"
            "its frames"
        )
        for r in evaluations.itertuples()
    }
    titles |= {
        numbers.frames_link(numbers.group_anchor(task, arm, budget)): (
            f"{numbers.arm_name(arm)}, {numbers.count(budget)} labels: the frames of each seed"
        )
        for task, arm, budget in evaluations[["task", "arm", "budget"]].drop_duplicates().itertuples(index=False)
    }
    figure = curves_figure(evaluations, comparisons)
    return to_svg(figure, name=name, title="Score by number of labelled frames", titles=titles)


def curves_png(evaluations: pd.DataFrame, comparisons: pd.DataFrame) -> bytes:
    return to_png(curves_figure(evaluations, comparisons))


def labelling_time_svg(
    sufficient: pd.DataFrame,
    pools: Mapping[str, int],
    seconds_per_label: Mapping[str, float],
    largest_tested: Mapping[str, int],
    name: str = "time",
) -> str:
    figure = labelling_time_figure(sufficient, pools, seconds_per_label, largest_tested)
    return to_svg(figure, name=name, title="Hours of labelling until a model is as good as with everything")


def coverage_svg(subsets: pd.DataFrame, name: str = "coverage") -> str:
    return to_svg(coverage_figure(subsets), name=name, title="Similarity of left-out frames to the nearest chosen one")


def vae_curves_svg(history: pd.DataFrame, name: str = "vae") -> str:
    return to_svg(vae_curves_figure(history), name=name, title="Training of the VAE")


def vae_curves_png(history: pd.DataFrame) -> bytes:
    return to_png(vae_curves_figure(history))
