"""Rows as text: complete numbers, empty for NULL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enrich_assets.store.published import format_rows, publish, query


def test_rows_are_printed_in_full_and_null_is_empty(tmp_path: Path) -> None:
    publish({}, tmp_path / "enrich.duckdb")
    sql = """
        SELECT * FROM (VALUES ('a,"b"', 1, 0.1::DOUBLE + 0.2, TIMESTAMP '2026-01-02 03:04:05', true),
                              (NULL, NULL, NULL, NULL, NULL)) AS t(text, n, x, time, yes)
    """
    rows = query(tmp_path / "enrich.duckdb", sql)
    assert json.loads(format_rows(rows, "json")) == [
        {"text": 'a,"b"', "n": 1, "x": 0.30000000000000004, "time": "2026-01-02T03:04:05", "yes": True},
        {"text": None, "n": None, "x": None, "time": None, "yes": None},
    ]
    assert format_rows(rows, "csv") == (
        'text,n,x,time,yes\n"a,""b""",1,0.30000000000000004,2026-01-02T03:04:05,True\n,,,,'
    )
    assert format_rows(rows[["text", "n"]]) == 'text   n\n-----  -\na,"b"  1\n\n(2 rows)'
    with pytest.raises(ValueError, match="table, csv or json"):
        format_rows(rows, "yaml")
