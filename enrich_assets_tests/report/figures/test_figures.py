"""Figures: drawn from any table, the same bytes each time, following the page's theme, and words where there is nothing."""

import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enrich_assets.method.statistics.comparison import compare
from enrich_assets.report import figures, numbers
from enrich_assets.report.figures.style import VARIABLES, arm_styles
from enrich_assets_tests.method.statistics.by_patients import by_patients
from enrich_assets_tests.report import archive


@pytest.fixture(scope="module")
def tables():
    made = archive.tables(tasks=("view",), seeds=5, patients=12)
    return made | {"redundancy": made["redundancy"].dropna(subset="task")}  # of the pool; the others are drawn alike


def test_shares_over_the_thresholds_are_counts_over_counts(tables):
    table = tables["redundancy"]
    shares = figures.redundancy_shares(table).set_index("relation")
    assert list(shares.index) == ["all", "within clip", "within patient", "between patients"]
    within = table[table.relation == "within clip"]
    assert shares["over_0.7"]["within clip"] == within[within.lower >= 0.7 - 1e-9].pairs.sum() / within.pairs.sum()
    assert shares.pairs["all"] == shares.pairs.drop("all").sum()


def test_the_panels_of_all_batches_sum_to_the_whole_pool(tables):
    whole = tables["redundancy"]
    summed = figures.sum_of_panels(tables["panel_redundancy"])
    pd.testing.assert_frame_equal(figures.redundancy_shares(summed), figures.redundancy_shares(whole))
    np.testing.assert_allclose(summed.groupby("relation").share.sum(), 1.0)
    both = summed.merge(whole, on=["relation", "lower"], suffixes=("", "_of_whole"))
    assert len(both) == len(summed) == len(whole)
    assert (both.share == both.share_of_whole).all()
    assert (both.upper == both.upper_of_whole).all()


def test_a_figure_is_well_formed_and_the_same_each_time(tables):
    svg = figures.redundancy_svg(tables["redundancy"])
    ElementTree.fromstring(svg)
    assert svg == figures.redundancy_svg(tables["redundancy"])
    assert "59." in svg  # text stays text


def test_colours_follow_the_theme_of_the_page(tables):
    svg = figures.curves_svg(tables["evaluations"], tables["comparisons"])
    for variable in ("--blue", "--vermillion", "--green", "--ink"):
        assert f"var({variable}, #" in svg
    for color in VARIABLES:
        assert len(re.findall(color, svg, flags=re.I)) == len(re.findall(rf", {color}\)", svg, flags=re.I))
    assert "<style" not in svg


def test_two_figures_of_one_page_share_no_id(tables):
    one, two = (figures.curves_svg(tables["evaluations"], tables["comparisons"], n) for n in ("a", "b"))
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (one, two)]
    assert not ids[0] & ids[1]


def test_each_dot_links_to_its_frames_and_names_its_value(tables):
    svg = figures.curves_svg(tables["evaluations"], tables["comparisons"])
    for row in tables["evaluations"].query("arm != 'all'").itertuples():
        title = (
            f"{numbers.arm_name(row.arm)}, {row.budget} labels, seed {row.seed}: {numbers.score(row.value)}\nits frames"
        )
        assert f'<a xlink:href="report-frames.html#{numbers.anchor(row.evaluation_id)}"><title>{title}</title>' in svg


def runs_of(levels, seeds=6):
    rng = np.random.default_rng(1)
    rows = [
        ("view", "auc", arm, budget, seed, mean + rng.normal(0, 0.001), f"{arm}-{budget}-{seed}")
        for arm, budget, mean in levels
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["task", "metric", "arm", "budget", "seed", "value", "evaluation_id"])


def test_stars_triangles_and_rings_stand_where_the_tests_say():
    levels = [("enrich", 100, 0.9), ("random", 100, 0.8), ("enrich", 200, 0.95), ("random", 200, 0.97)]
    runs = runs_of([*levels, ("all", 500, 0.952)])
    compared = compare(runs, by_patients(runs), margin=0.01)
    figure = figures.curves_figure(runs, compared)
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.texts if t.get_text() in "★▼"] == ["★", "▼"]
    rings = [line for line in axes.lines if line.get_markersize() == 21]
    assert len(rings) == int(compared.equivalent.fillna(False).sum()) == 1
    assert rings[0].get_ydata()[0] == runs.query("arm == 'enrich' and budget == 200").value.mean()


def test_everything_alone_one_run_and_one_budget_are_drawn():
    nothing = pd.DataFrame()
    for levels in ([("all", 500, 0.9)], [("enrich", 100, 0.9)], [("enrich", 100, 0.9), ("odd arm", 100, 0.8)]):
        ElementTree.fromstring(figures.curves_svg(runs_of(levels, seeds=1), nothing))


def test_every_arm_has_a_colour_a_marker_and_a_dash_of_its_own():
    styles = arm_styles(["enrich", "random", "facility", "mean", "quota"]).values()
    for feature in ("color", "marker", "dash"):
        assert len({str(getattr(style, feature)) for style in styles}) == 5


MANY = ["random", *(f"vae_rule_{k}" for k in range(9))]


def test_of_many_arms_each_has_a_panel_with_random_and_everything_beside_and_none_is_cut_off():
    levels = [(arm, budget, 0.5 + 0.04 * k) for k, arm in enumerate(MANY) for budget in (24, 72)]
    runs = runs_of([*levels, ("all", 500, 0.95)])
    figure = figures.curves_figure(runs, pd.DataFrame())
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [numbers.arm_name(arm) for arm in MANY[1:]]
    for axes, arm in zip(panels, MANY[1:], strict=True):
        low, high = axes.get_ylim()
        assert low < runs["value"].min() < runs["value"].max() < high  # one scale for all
        drawn = {line.get_label() for line in axes.containers}
        assert drawn == {numbers.arm_name("random"), numbers.arm_name(arm)}
    figure.draw_without_rendering()
    for legend in figure.legends:
        assert legend.get_window_extent().x1 <= figure.bbox.x1
    svg = figures.curves_svg(runs, pd.DataFrame())
    assert all(f">{numbers.arm_name(arm)}<" in svg for arm in MANY)


def test_of_many_arms_coverage_has_a_row_each_and_a_panel_for_each_budget():
    rows = [("view", arm, budget, 0, 0.9, 0.7, 0.5, True) for arm in MANY for budget in (24, 72)]
    columns = ["task", "arm", "budget", "seed", "coverage_p50", "coverage_p05", "coverage_min", "current"]
    figure = figures.coverage_figure(pd.DataFrame(rows, columns=columns))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["24 labelled frames", "72 labelled frames"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [numbers.arm_name(arm) for arm in MANY]
    assert all(len(axes.lines) == len(MANY) for axes in figure.axes)


@pytest.mark.parametrize(
    "draw",
    [
        lambda t: figures.redundancy_png(t["redundancy"]),
        lambda t: figures.curves_png(t["evaluations"], t["comparisons"]),
        lambda t: figures.vae_curves_png(archive.meta()["vae_history"]),
    ],
)
def test_a_png_stands_on_white(tables, draw):
    picture = Image.open(io.BytesIO(draw(tables))).convert("RGBA")
    assert picture.getpixel((0, 0)) == (255, 255, 255, 255)


def test_a_figure_of_nothing_says_so(tables):
    assert "no pairs yet" in figures.redundancy_svg(tables["redundancy"].iloc[:0])
    assert "no evaluations yet" in figures.curves_svg(tables["evaluations"].iloc[:0], tables["comparisons"])
    assert "no subsets yet" in figures.coverage_svg(tables["subsets"].iloc[:0])
    assert "no training curve" in figures.vae_curves_svg(pd.DataFrame())
    assert "no sufficient budgets yet" in figures.labelling_time_svg(tables["sufficient"], {}, {}, {})


def test_reconstructions_stand_under_their_frames():
    frames = np.full((3, 32, 32), 10, np.uint8)
    strip = np.asarray(Image.open(io.BytesIO(figures.reconstructions_png(frames, frames + 90))))
    assert strip.shape == (32 + 2 + 32, 3 * 32 + 2 * 2)
    assert (strip[:32, :32] == 10).all()
    assert (strip[34:, -32:] == 100).all()
    with pytest.raises(ValueError, match="alike"):
        figures.reconstructions_png(frames, frames[:2])
