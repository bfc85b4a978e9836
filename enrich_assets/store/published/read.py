"""Reading the published file: always read only, never in the way of a publish. How it is written: `write.py`."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from enrich_assets.store.published.schema import BY_NAME, identifier


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the file as it is now; later publishes do not reach it.

    Parameters
    ----------
    path : str or Path
        The published file.

    Yields
    ------
    duckdb.DuckDBPyConnection
        Closed at the end.

    Raises
    ------
    FileNotFoundError
        If nothing has been published yet.

    Notes
    -----
    Opened through a link of its own, because within one process DuckDB hands out the database it already has
    open at a path, even after the file there was replaced, and would replay a log that a read-write shell
    left beside it. Where such a shell holds the lock, a copy is read instead.
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
            link.unlink(missing_ok=True)
            shutil.copyfile(source, link)
            connection = duckdb.connect(str(link), read_only=True)
    finally:
        if link != source:
            link.unlink(missing_ok=True)
    try:
        yield connection
    finally:
        connection.close()


def query(path: str | Path, sql: str, parameters: Sequence[Any] | None = None) -> pd.DataFrame:
    """The result of one SQL query on the published file.

    Parameters
    ----------
    path : str or Path
        The published file.
    sql : str
        One statement; it can change nothing.
    parameters : sequence, optional
        Values for its `?`.

    Returns
    -------
    pandas.DataFrame
        Integers with NULLs come as Int64.

    Raises
    ------
    FileNotFoundError
        If nothing has been published yet.
    duckdb.Error
        If the statement is wrong, or would write.
    """
    with reading(path) as connection:
        return _frame(connection.execute(sql, parameters))


def read_tables(
    path: str | Path, names: Collection[str] | None = None, columns: Mapping[str, Sequence[str]] | None = None
) -> dict[str, pd.DataFrame]:
    """Published tables as they stood at one moment.

    Parameters
    ----------
    path : str or Path
        The published file.
    names : collection of str, optional
        Tables or views; all tables where not given.
    columns : mapping of str to sequence of str, optional
        Of a table: only these columns are read.

    Returns
    -------
    dict of str to pandas.DataFrame
        By name, in the order asked for.

    Raises
    ------
    FileNotFoundError
        If nothing has been published yet.
    """
    wanted = list(BY_NAME) if names is None else list(names)
    with reading(path) as connection:
        return {name: _frame(connection.execute(_select(name, (columns or {}).get(name)))) for name in wanted}


def _select(name: str, columns: Sequence[str] | None) -> str:
    wanted = "*" if columns is None else ", ".join(map(identifier, columns))
    return f"SELECT {wanted} FROM {identifier(name)}"  # nosec B608: quoted


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
