"""The declared tables: all published, every column explained, keys and types as declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrich_assets.store.published import publish, query
from enrich_assets.store.published.schema import BY_NAME, TABLES, column_schema, create_table, declare
from enrich_assets.store.published.views import VIEWS


def test_tables_not_given_are_there_and_empty(tmp_path: Path) -> None:
    counts = publish({}, tmp_path / "enrich.duckdb")
    assert counts == {table.name: 0 for table in TABLES}
    for table in TABLES:
        empty = query(tmp_path / "enrich.duckdb", f"DESCRIBE {table.name}")
        assert list(empty["column_name"]) == list(table.column_names)
        assert list(empty["column_type"]) == [column.type for column in table.columns]
    for view in VIEWS:
        assert len(query(tmp_path / "enrich.duckdb", f"FROM {view.name}")) == 0


def test_every_table_view_and_column_carries_a_comment(tmp_path: Path) -> None:
    publish({}, tmp_path / "enrich.duckdb")
    silent = """
        SELECT table_name AS name FROM duckdb_tables() WHERE coalesce(comment, '') = ''
        UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal AND coalesce(comment, '') = ''
        UNION ALL SELECT table_name || '.' || column_name FROM duckdb_columns()
                  WHERE NOT internal AND coalesce(comment, '') = ''
    """
    assert list(query(tmp_path / "enrich.duckdb", silent)["name"]) == []
    described = query(
        tmp_path / "enrich.duckdb", "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    )
    for view in VIEWS:
        assert list(described.loc[described.table_name == view.name, "column_name"]) == list(view.columns)


def test_the_contract_names_are_published() -> None:
    promised = "studies clips frames labels redundancy neighbours rankings subsets subset_frames evaluations"
    assert {*promised.split(), "predictions", "comparisons"} <= set(BY_NAME)
    assert "lineage" in {view.name for view in VIEWS}


def test_the_schema_of_a_table_is_its_declaration(tmp_path: Path) -> None:
    small = declare("visits", "One row per visit.", "visit id! the visit\nseconds real how long", key="visit")
    assert column_schema(small) == [
        ("visit", "VARCHAR", "the visit", True),
        ("seconds", "DOUBLE", "how long", False),
    ]
    publish({}, tmp_path / "enrich.duckdb")
    in_file = """
        SELECT column_name, data_type, comment, NOT is_nullable FROM duckdb_columns()
        WHERE table_name = 'evaluations' ORDER BY column_index
    """
    assert column_schema("evaluations") == [
        tuple(row) for row in query(tmp_path / "enrich.duckdb", in_file).itertuples(index=False, name=None)
    ]
    with pytest.raises(KeyError):
        column_schema("no such table")


def test_a_key_is_made_of_columns() -> None:
    with pytest.raises(ValueError, match=r"visits: the key names \['patient'\]"):
        declare("visits", "One row per visit.", "visit id! the visit", key="visit patient")
    assert "Key: whole, task, embedding, relation, lower, is_estimate." in create_table(BY_NAME["redundancy"])
    assert "Key: whole, task, embedding, batch, relation, lower, is_estimate." in create_table(
        BY_NAME["panel_redundancy"]
    )


def test_the_whole_pool_and_its_batches_are_two_tables() -> None:
    """In one table, the shares of a task and relation would add up to 2."""
    whole, panels = (BY_NAME[name].column_names for name in ("redundancy", "panel_redundancy"))
    assert "batch" not in whole
    assert set(panels) == {"batch", *whole}
