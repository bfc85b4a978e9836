"""How figures look, and how a matplotlib figure becomes an SVG that lives inside a page.

Here: the palette (Okabe and Ito 2008, distinct with any colour vision; every arm has a marker and a dash
of its own as well), fonts and sizes for a projector, and the two ways out: inline SVG whose colours follow
the page's light or dark theme through CSS variables, and PNG for places that show only pictures. Not here:
what is drawn (the modules beside).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Each colour stands for a CSS variable of page.css; a stand-alone picture shows the hexadecimal value.
INK, MUTED, GRID, PAPER = "#1b1f24", "#5b6471", "#dcdfe4", "#fefefe"
BLUE, VERMILLION, GREEN, PURPLE, AMBER, SKY = "#0072b2", "#d55e00", "#009e73", "#b5528b", "#a07800", "#3a8fc4"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    BLUE: "--blue",
    VERMILLION: "--vermillion",
    GREEN: "--green",
    PURPLE: "--purple",
    AMBER: "--amber",
    SKY: "--sky",
}

WIDTH = 11.0  # inches
SMALL, MEDIUM, LARGE = 12, 13.5, 15  # points in a figure 11 inches wide; the page shows it at about 1.4 times
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "enrich",
    "font.family": "DejaVu Sans",
    "font.size": MEDIUM,
    "axes.linewidth": 1.0,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class ArmStyle:
    """Colour, marker and dash of an arm: any one of the three tells it from the others."""

    color: str
    marker: str
    dash: str | tuple[int, tuple[int, ...]]


_KNOWN = {
    "enrich": ArmStyle(BLUE, "o", "-"),
    "random": ArmStyle(VERMILLION, "s", (0, (5, 2))),
    "all": ArmStyle(GREEN, "D", "-"),
}
_OTHERS = (
    ArmStyle(PURPLE, "^", (0, (1, 1))),
    ArmStyle(AMBER, "v", (0, (6, 2, 1, 2))),
    ArmStyle(SKY, "P", (0, (3, 1, 1, 1, 1, 1))),
    ArmStyle(INK, "X", (0, (8, 3))),
)


def arm_styles(arms: list[str]) -> dict[str, ArmStyle]:
    """A style for each arm; the known ones always the same, others in order of name."""
    others = sorted(set(arms) - set(_KNOWN))
    return {a: _KNOWN[a] if a in _KNOWN else _OTHERS[others.index(a) % len(_OTHERS)] for a in arms}


def fit_together(arms: list[str]) -> bool:
    """Whether each arm has a style of its own: more of them in one picture could not be told apart, and would cover one another."""
    return len(set(arms) - set(_KNOWN)) <= len(_OTHERS)


def new_figure(width: float, height: float, *, arranged: bool = True) -> Figure:
    """An empty figure, bound to no window and no global state.

    Parameters
    ----------
    width, height : float
        In inches.
    arranged : bool
        Whether matplotlib finds the margins itself.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained" if arranged else None)
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    return figure


def plain_axes(axes: Axes, *, grid: str = "y") -> None:
    """Axes with as little ink as will do."""
    axes.patch.set_alpha(0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=SMALL, length=4, color=MUTED)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=1)  # type: ignore[arg-type]


def nothing(reason: str) -> Figure:
    """A figure that says in words why there is nothing to draw."""
    figure = new_figure(WIDTH, 1.2)
    figure.text(0.5, 0.5, reason, ha="center", va="center", fontsize=LARGE, color=MUTED)
    return figure


def legend_above(axes: Axes, length: float = 3.2) -> None:
    """The legend above the axes, where no value can lie."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=4,
        fontsize=LARGE,
        frameon=False,
        labelcolor=INK,
        handlelength=length,
        borderaxespad=0.2,
    )


def to_svg(figure: Figure, *, name: str, title: str, titles: dict[str, str] | None = None) -> str:
    """The figure as an `<svg>` element of a page: no prologue, no date, the same bytes for the same figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What was drawn.
    name : str
        Prefix of its ids, different for each figure of a page.
    title : str
        What a screen reader says.
    titles : dict of str to str, optional
        Tooltip of each link in it, by its address.

    Returns
    -------
    str
        SVG whose colours and fonts follow the CSS variables of the page.
    """
    with mpl.rc_context(_SETTINGS):
        out = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        figure.savefig(out, format="svg", metadata=no_metadata)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.S)
    own = set(re.findall(r'\bid="([^"]+)"', svg))
    svg = re.sub(
        r'(\bid="|url\(#|href="#)([^")]+)',
        lambda m: f"{m[1]}{name}-{m[2]}" if m[2] in own else m[0],
        svg,
    )
    svg = re.sub("|".join(VARIABLES), lambda m: f"var({VARIABLES[m[0].lower()]}, {m[0]})", svg, flags=re.I)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--figure-font, sans-serif)", svg)
    svg = re.sub(r"(font: [^;\"']*)'DejaVu Sans'[^;\"]*", r"\1var(--figure-font, sans-serif)", svg)
    # Its only rule reaches the whole page; page.css says the same for figures alone.
    svg = re.sub(r"\s*<style type=\"text/css\">.*?</style>", "", svg, flags=re.S)
    svg = re.sub(r'<svg ([^>]*?)\bwidth="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)\bheight="[^"]*"', r"<svg \1", svg, count=1)
    opening = rf'<svg class="figure" role="img" \1><title>{escape(title)}</title>'
    svg = re.sub(r"<svg ([^>]*)>", opening, svg, count=1)
    svg = svg.replace(' target="_blank"', "")  # its links lead to places of the same page
    for address, text in (titles or {}).items():
        link = f'<a xlink:href="{address}">'
        svg = svg.replace(link, f"{link}<title>{escape(text)}</title>")
    return svg.strip()


def to_png(figure: Figure, *, dpi: int = 110) -> bytes:
    """The figure on white, for Dagster, MLflow and slides."""
    with mpl.rc_context(_SETTINGS):
        out = io.BytesIO()
        figure.patch.set_alpha(1)
        figure.savefig(out, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
        figure.patch.set_alpha(0)
    return out.getvalue()
