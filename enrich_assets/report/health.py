"""The part of the page about embeddings: each by each measure of its health, against chance."""

from __future__ import annotations

from typing import Any

import pandas as pd

from enrich_assets.report import numbers
from enrich_assets.report.figures.grids import Cell, Grid

HEADS = ("embedding", "measure", "", "by chance", "frames (units)", "verdict", "note")


def health_grid(health: pd.DataFrame) -> Grid:
    """A row per embedding and measure, in the order of the table.

    Parameters
    ----------
    health : pandas.DataFrame
        Rows of the table `embedding_health`.
    """
    rows: list[list[Cell | list[Cell]]] = [
        [
            Cell(str(r.embedding)),
            Cell(str(r.measure)),
            Cell(_value(str(r.measure), r.value)),
            Cell(numbers.share(r.chance)),
            Cell(numbers.count(r.n)),
            Cell(str(r.verdict), strong=r.verdict in ("blocks", "overridden", "warning")),
            Cell("" if numbers.is_missing(r.note) else str(r.note)),
        ]
        for r in health.itertuples()
    ]
    return Grid(HEADS, rows, "SELECT * FROM embedding_health", text=2)


def overridden(health: pd.DataFrame) -> list[str]:
    """Names of the embeddings that are used though a check would block them."""
    return sorted(set(health.loc[health["verdict"] == "overridden", "embedding"].astype(str)))


def _value(measure: str, value: Any) -> str:
    if measure == "active units":
        return numbers.count(value)
    if measure.startswith("seconds"):
        return numbers.seconds(value)
    if measure.startswith("cosines"):
        return numbers.similarity(value)
    return numbers.share(value)
