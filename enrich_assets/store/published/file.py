"""The published file: one DuckDB, built beside the old one and swapped in whole. Writing it, reading it.

DuckDB lets one process write, and a reader blocks every writer; so nothing ever writes to the file that
people read. `publish` builds a new file in the same folder and renames it over the old: whoever has the old
one open keeps it, whoever opens the path afterwards sees all of the new one, and nobody sees half. What the
tables mean stands in `schema.py`, the views in `views.py`; where rows come from is the caller's affair.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pandas as pd
import pyarrow as pa
from filelock import FileLock

from enrich_assets.store.published.schema import BY_NAME, TABLES, Table, create_table, identifier, literal
from enrich_assets.store.published.views import VIEWS, create_view

Rows: TypeAlias = "pd.DataFrame | pa.Table | str | Path | Sequence[str | Path]"

# The oldest storage DuckDB 2 still writes: DuckDB 1.x (and 0.10) opens it, views and comments included.
STORAGE_VERSION = "v1.0.0"
STALE_LINK_SECONDS = 3600.0


class PublishError(ValueError):
    """Rows that do not fit the published tables: names the table, what is wrong, and an example."""


def publish(tables: Mapping[str, Rows], path: str | Path) -> dict[str, int]:
    """Build the published file from `tables` and swap it in at `path`; returns the number of rows of each
    table.

    A table is a DataFrame, an Arrow table, or the URL(s) of Parquet files (`memory://`, `s3://`, ... through
    fsspec). Tables not given are empty, columns not given NULL; NaN counts as NULL. Two publishers at once
    take turns (a lock file beside the file); one that dies leaves the old file as it was, and the next
    publish clears away what it left. Raises PublishError for an unknown table or column, a missing required
    value, or a key that occurs twice.
    """
    unknown = sorted(set(tables) - set(BY_NAME))
    if unknown:
        raise PublishError(f"unknown tables {unknown}; the published tables are {sorted(BY_NAME)}")
    target = Path(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        _clear_leftovers(target)
        building = target.with_name(f".{target.name}.publishing-{uuid.uuid4().hex}")
        try:
            counts = _build(tables, building)
            _swap_in(building, target)
        finally:
            _remove(building)
            _remove(Path(f"{building}.wal"))
    return counts


def _build(tables: Mapping[str, Rows], path: Path) -> dict[str, int]:
    counts = {}
    with contextlib.closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'")  # times with a zone are published in UTC
        connection.execute(f"ATTACH {literal(str(path))} AS published (STORAGE_VERSION {literal(STORAGE_VERSION)})")
        connection.execute("USE published; BEGIN")
        for table in TABLES:
            connection.execute(create_table(table))
            counts[table.name] = _insert(connection, table, tables[table.name]) if table.name in tables else 0
        for view in VIEWS:
            connection.execute(create_view(view))
        connection.execute("COMMIT; CHECKPOINT; USE memory; DETACH published")
    return counts


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, rows: Rows) -> int:
    source = _source(connection, rows)
    if source is None:
        return 0
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    given = {row[0]: row[1] for row in described}
    strange = [name for name in given if name not in table.column_names]
    if strange:
        raise PublishError(f"{table.name}: unknown columns {strange}; it has {list(table.column_names)}")
    absent = [column.name for column in table.columns if column.required and column.name not in given]
    if absent:
        if connection.execute(f"SELECT count(*) FROM {source}").fetchall() == [(0,)]:
            return 0  # an empty frame often comes without its columns
        raise PublishError(f"{table.name}: columns {absent} are required and were not given")

    def value(name: str, kind: str) -> str:
        if name not in given:
            return f"CAST(NULL AS {kind})"
        column = identifier(name)
        if given[name] == "VARCHAR" and kind != "VARCHAR":  # an empty text is no number, flag or time
            column = f"nullif({column}, '')"
            if kind == "TIMESTAMP":  # a plain cast would drop the zone and keep its clock
                column = f"CAST({column} AS TIMESTAMPTZ)"
        cast = f"CAST({column} AS {kind})"
        return f"nullif({cast}, CAST('nan' AS DOUBLE))" if kind == "DOUBLE" else cast

    columns = ", ".join(value(column.name, column.type) for column in table.columns)
    try:
        connection.execute(f"INSERT INTO {identifier(table.name)} SELECT {columns} FROM {source}")
    except duckdb.ConstraintException as error:
        raise PublishError(f"{table.name}: a required value is missing ({error})") from error
    except duckdb.ConversionException as error:
        raise PublishError(f"{table.name}: a value does not fit its column ({error})") from error
    connection.unregister("given_rows")
    _check_key(connection, table)
    return int(connection.execute(f"SELECT count(*) FROM {identifier(table.name)}").fetchall()[0][0])


def _check_key(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    if not table.key:
        return
    key = ", ".join(identifier(name) for name in table.key)
    twice = connection.execute(
        f"SELECT {key}, count(*) FROM {identifier(table.name)} GROUP BY {key} HAVING count(*) > 1 LIMIT 1"
    ).fetchall()
    if twice:
        *values, n = twice[0]
        named = ", ".join(f"{name}={value!r}" for name, value in zip(table.key, values, strict=True))
        raise PublishError(f"{table.name}: {n} rows have {named}; each should occur once")


def _source(connection: duckdb.DuckDBPyConnection, rows: Rows) -> str | None:
    """What to write after FROM to get the rows; None where there are none and no columns either."""
    if isinstance(rows, pd.DataFrame | pa.Table):
        if rows.shape[1] == 0:
            return None
        frame = pa.Table.from_pandas(rows, preserve_index=False) if isinstance(rows, pd.DataFrame) else rows
        connection.register("given_rows", frame)
        return "given_rows"
    urls = [str(rows)] if isinstance(rows, str | Path) else [str(url) for url in rows]
    if not urls:
        return None
    for protocol in {url.split("://", 1)[0] for url in urls if "://" in url} - {"file"}:
        if not connection.filesystem_is_registered(protocol):
            import fsspec

            connection.register_filesystem(fsspec.filesystem(protocol))
    files = ", ".join(literal(url.removeprefix("file://")) for url in urls)
    return f"read_parquet([{files}], union_by_name = true)"


def _swap_in(building: Path, target: Path) -> None:
    _sync(building)
    # A shell that wrote into the old file and died leaves a log that DuckDB would replay into whatever lies
    # at the path.
    _remove(Path(f"{target}.wal"))
    os.replace(building, target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _clear_leftovers(target: Path) -> None:
    """Under the lock, any file being published is one whose publisher died; links are cleared once surely
    unused."""
    for leftover in target.parent.glob(f".{target.name}.publishing-*"):
        _remove(leftover)
    for link in target.parent.glob(f".{target.name}.reading-*"):
        created = link.name.rsplit("-", 2)[1]
        if created.isdigit() and time.time() - int(created) > STALE_LINK_SECONDS:
            _remove(link)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the file as it is now; later publishes do not reach it.

    Opened through a link of its own, because within one process DuckDB hands out the database it already has
    open at a path, even after the file there was replaced, and would replay a log that a read-write shell
    left beside it. Where such a shell holds the lock, a copy is read instead. Raises FileNotFoundError where
    nothing has been published yet.
    """
    source = Path(path).absolute()
    if not source.exists():
        raise FileNotFoundError(f"{source} is not there: nothing has been published yet (enrich run publishes it)")
    link = source.with_name(f".{source.name}.reading-{int(time.time())}-{uuid.uuid4().hex}")
    try:
        try:
            os.link(source, link)
        except OSError:  # a folder we may not write to, a file system without links
            link = source
        try:
            connection = duckdb.connect(str(link), read_only=True)
        except duckdb.IOException as error:
            if link == source or "lock" not in str(error):
                raise
            _remove(link)
            shutil.copyfile(source, link)
            connection = duckdb.connect(str(link), read_only=True)
    finally:
        if link != source:
            _remove(link)
    try:
        yield connection
    finally:
        connection.close()


def query(path: str | Path, sql: str, parameters: Sequence[Any] | None = None) -> pd.DataFrame:
    """The result of one SQL query on the published file, read only. Integers with NULLs come as Int64."""
    with reading(path) as connection:
        return _frame(connection.execute(sql, parameters))


def _frame(result: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    kinds = [str(column[1]) for column in result.description or ()]
    frame = result.df()
    for position, kind in enumerate(kinds):
        name = frame.columns[position]
        if (
            kind in {"BIGINT", "INTEGER", "HUGEINT", "NUMBER"}
            and frame.dtypes.iloc[position].kind == "f"
            and (frame.iloc[:, position].dropna() % 1 == 0).all()
        ):
            frame[name] = frame[name].astype("Int64")
    return frame


def read_tables(path: str | Path, names: Collection[str] | None = None) -> dict[str, pd.DataFrame]:
    """The published tables (all, or those named; views by name too), as they stood at one moment."""
    wanted = list(BY_NAME) if names is None else list(names)
    with reading(path) as connection:
        return {name: _frame(connection.execute(f"FROM {identifier(name)}")) for name in wanted}


# --- printing -----------------------------------------------------------------------------------------------


def format_rows(frame: pd.DataFrame, style: str = "table") -> str:
    """The rows as text for a terminal: `table`, `csv`, or `json` (a list of objects). NULL is empty, in JSON
    null.

    Numbers are written in full (the shortest text that reads back to the same number), times as ISO 8601.
    """
    names = [str(name) for name in frame.columns]
    rows = [[_plain(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    if style == "json":
        return json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1, ensure_ascii=False)
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    if style == "csv":
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([names, *texts])
        return buffer.getvalue().rstrip("\n")
    if style != "table":
        raise ValueError(f"unknown style {style!r}; use table, csv or json")
    numeric = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(names))]
    widths = [max([len(name), *(len(row[i]) for row in texts)]) for i, name in enumerate(names)]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric, strict=True)]
        return "  ".join(padded).rstrip()

    shown = [line(names), "  ".join("-" * width for width in widths), *(line(row) for row in texts)]
    return "\n".join([*shown, f"({len(rows)} row{'' if len(rows) == 1 else 's'})"])


def _plain(value: Any) -> Any:
    """The value as JSON knows it: None for every kind of missing, ISO text for times, Python numbers for
    numpy's."""
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
