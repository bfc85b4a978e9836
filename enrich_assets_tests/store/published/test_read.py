"""Reading what was published: at one moment, read only, and never in the way."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from enrich_assets.store.published import publish, query, read_tables, reading
from enrich_assets.store.published.schema import BY_NAME
from enrich_assets_tests.store.published.rows import COHERENT, generation


def test_all_tables_read_back_at_once(tmp_path: Path) -> None:
    publish(generation(2), tmp_path / "enrich.duckdb")
    tables = read_tables(tmp_path / "enrich.duckdb")
    assert list(tables) == list(BY_NAME)
    assert (len(tables["evaluations"]), len(tables["labels"])) == (52, 0)
    assert list(read_tables(tmp_path / "enrich.duckdb", ["curves"])) == ["curves"]


def test_a_connection_in_our_own_process_neither_blocks_nor_hides_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "enrich.duckdb"
    publish(generation(1), path)
    with reading(path) as old, duckdb.connect(str(path)) as writable:
        publish(generation(2), path)
        assert old.execute(COHERENT).fetchall()[0][0] == 1
        assert writable.execute(COHERENT).fetchall()[0][0] == 1
        assert query(path, COHERENT).rows[0] == 2


def test_a_query_before_anything_is_published_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="enrich run"):
        query(tmp_path / "enrich.duckdb", "SELECT 1")


def test_the_published_file_is_read_only_to_queries(tmp_path: Path) -> None:
    publish(generation(1), tmp_path / "enrich.duckdb")
    with pytest.raises(duckdb.Error, match="read-only"):
        query(tmp_path / "enrich.duckdb", "DELETE FROM frames")
