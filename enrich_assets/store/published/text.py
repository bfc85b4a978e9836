"""Rows as text for a terminal or another program: a table, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pandas as pd


def format_rows(frame: pd.DataFrame, style: str = "table") -> str:
    """The rows as text.

    Parameters
    ----------
    frame : pandas.DataFrame
        What a query returned.
    style : {"table", "csv", "json"}
        JSON is a list of objects.

    Returns
    -------
    str
        Without a final line break. Numbers are written in full (the shortest text that reads back to the same
        number), times as ISO 8601. NULL is empty, in JSON null.

    Raises
    ------
    ValueError
        For another style.
    """
    if style not in ("table", "csv", "json"):
        raise ValueError(f"unknown style {style!r}; use table, csv or json")
    names = [str(name) for name in frame.columns]
    rows = [[_plain(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    if style == "json":
        return json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1, ensure_ascii=False)
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    if style == "csv":
        return _csv(names, texts)
    numeric = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(names))]
    return _aligned(names, texts, numeric)


def _csv(names: Sequence[str], texts: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([names, *texts])
    return buffer.getvalue().rstrip("\n")


def _aligned(names: Sequence[str], texts: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    """Columns under their names, numbers to the right; the number of rows below."""
    widths = [max([len(name), *(len(row[i]) for row in texts)]) for i, name in enumerate(names)]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric, strict=True)]
        return "  ".join(padded).rstrip()

    lines = [line(names), "  ".join("-" * width for width in widths), *(line(row) for row in texts)]
    return "\n".join([*lines, f"({len(texts)} row{'' if len(texts) == 1 else 's'})"])


def _plain(value: Any) -> Any:
    """The value as JSON knows it: None for every kind of missing, ISO text for times, Python numbers for numpy's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple) or type(value).__name__ == "ndarray":
        return [_plain(item) for item in value]
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if hasattr(value, "item") and not isinstance(value, datetime):
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, date | datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool) else str(value)
