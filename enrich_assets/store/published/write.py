"""Writing the published file: one DuckDB, built beside the old one and swapped in whole.

DuckDB lets one process write, and a reader blocks every writer; so nothing ever writes to the file that
people read. `publish` builds a new file in the same folder and renames it over the old: whoever has the old
one open keeps it, whoever opens the path afterwards sees all of the new one, and nobody sees half. What the
tables mean is declared in `tables/`, the views in `views.py`; where rows come from is the caller's affair.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import duckdb
import pandas as pd
import pyarrow as pa
from filelock import FileLock

from enrich_assets.store.published.schema import BY_NAME, TABLES, Column, Table, create_table, identifier, literal
from enrich_assets.store.published.views import VIEWS, create_view

Rows: TypeAlias = "pd.DataFrame | pa.Table | str | Path | Sequence[str | Path]"

# The oldest storage DuckDB 2 still writes: DuckDB 1.x (and 0.10) opens it, views and comments included.
STORAGE_VERSION = "v1.0.0"
STALE_LINK_SECONDS = 3600.0
MEMORY = "1GB"  # what DuckDB takes while it builds; beyond it spills beside the file


class PublishError(ValueError):
    """Rows that do not fit the published tables: names the table, what is wrong, and an example."""


def publish(tables: Mapping[str, Rows], path: str | Path) -> dict[str, int]:
    """Build the published file and swap it in.

    Parameters
    ----------
    tables : mapping of str to rows
        Rows by name of table: a DataFrame, an Arrow table, or the URL(s) of Parquet files (`memory://`, `s3://`, ...
        through fsspec). Tables not given are empty, columns not given NULL; NaN counts as NULL.
    path : str or Path
        Where people read. Two publishers at once take turns (a lock file beside it); one that dies leaves the
        old file as it was, and the next publish clears away what it left.

    Returns
    -------
    dict of str to int
        Number of rows of each table.

    Raises
    ------
    OSError
        With ENOSPC, if the disk is full.
    PublishError
        For an unknown table or column, a missing required value, a value that does not fit its column, or a
        key that occurs twice.
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
        except duckdb.Error as error:
            if (full := os.strerror(errno.ENOSPC)) not in str(error):  # DuckDB says it in several ways, by text alone
                raise
            raise OSError(errno.ENOSPC, full, str(target)) from error
        finally:
            for leftover in (building, Path(f"{building}.wal"), _spill(building)):
                _remove(leftover)
    return counts


def _build(tables: Mapping[str, Rows], path: Path) -> dict[str, int]:
    counts = {}
    with contextlib.closing(duckdb.connect()) as connection:
        connection.execute(f"SET memory_limit = {literal(MEMORY)}; SET temp_directory = {literal(str(_spill(path)))}")
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
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # nosec B608: a name of ours
    given = {row[0]: row[1] for row in described}
    strange = [name for name in given if name not in table.column_names]
    if strange:
        raise PublishError(f"{table.name}: unknown columns {strange}; it has {list(table.column_names)}")
    absent = [column.name for column in table.columns if column.required and column.name not in given]
    if absent:
        if connection.execute(f"SELECT count(*) FROM {source}").fetchall() == [(0,)]:  # nosec B608: a name of ours
            return 0  # an empty frame often comes without its columns
        raise PublishError(f"{table.name}: columns {absent} are required and were not given")
    values = ", ".join(_value(column, given.get(column.name)) for column in table.columns)
    try:
        connection.execute(f"INSERT INTO {identifier(table.name)} SELECT {values} FROM {source}")  # nosec B608: quoted
    except duckdb.ConstraintException as error:
        raise PublishError(f"{table.name}: a required value is missing ({error})") from error
    except duckdb.ConversionException as error:
        raise PublishError(f"{table.name}: a value does not fit its column ({error})") from error
    connection.unregister("given_rows")
    _check_key(connection, table)
    counted = connection.execute(f"SELECT count(*) FROM {identifier(table.name)}").fetchall()  # nosec B608: quoted
    return int(counted[0][0])


def _value(column: Column, given_type: str | None) -> str:
    """The SQL expression that brings a given column to its declared type; given_type: None where it was not given."""
    if given_type is None:
        return f"CAST(NULL AS {column.type})"
    expression = identifier(column.name)
    if given_type == "VARCHAR" and column.type != "VARCHAR":  # an empty text is no number, flag or time
        expression = f"nullif({expression}, '')"
        if column.type == "TIMESTAMP":  # a plain cast would drop the zone and keep its clock
            expression = f"CAST({expression} AS TIMESTAMPTZ)"
    cast = f"CAST({expression} AS {column.type})"
    return f"nullif({cast}, CAST('nan' AS DOUBLE))" if column.type == "DOUBLE" else cast


def _check_key(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    if not table.key:
        return
    key = ", ".join(identifier(name) for name in table.key)
    twice = connection.execute(
        f"SELECT {key}, count(*) FROM {identifier(table.name)} GROUP BY {key} HAVING count(*) > 1 LIMIT 1"  # nosec B608: quoted
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
    Path(f"{target}.wal").unlink(missing_ok=True)
    os.replace(building, target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _spill(building: Path) -> Path:
    """Where DuckDB puts what its memory does not hold."""
    return Path(f"{building}.spill")


def _remove(leftover: Path) -> None:
    if leftover.is_dir() and not leftover.is_symlink():
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        leftover.unlink(missing_ok=True)


def _clear_leftovers(target: Path) -> None:
    """Under the lock, any file being published is one whose publisher died; links are cleared once surely unused."""
    for leftover in target.parent.glob(f".{target.name}.publishing-*"):
        _remove(leftover)
    for link in target.parent.glob(f".{target.name}.reading-*"):
        created = link.name.rsplit("-", 2)[1]
        if created.isdigit() and time.time() - int(created) > STALE_LINK_SECONDS:
            link.unlink(missing_ok=True)
