"""A table from a CSV or Parquet file as text cells, each row with its line, whichever program wrote it.

Delimiters, encodings, what programs write for nothing. What the columns mean belongs to `manifest`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence

import pandas as pd
import pyarrow as pa

from enrich_assets.parquet import arrow_table
from enrich_assets.studies.contents import read_bytes
from enrich_assets.studies.errors import ManifestError, UnreadableFile

PARQUET = (".parquet", ".pq")

_NOTHING = ("nan", "NaN", "NAN", "<NA>", "NaT", "null", "NULL")
_DELIMITERS = ",;\t|"
_MOST_COLUMNS = 1000


def read_cells(url: str, column_name: Callable[[str], str], expected: str) -> tuple[pd.DataFrame, list[int]]:
    """The cells of a table, all of them text, '' where empty.

    Parameters
    ----------
    url : str
        A CSV (comma, semicolon, tab or bar; UTF-8, UTF-16 or Windows-1252) or Parquet file.
    column_name : callable
        What a column is called, given its header as the file has it.
    expected : str
        A column that tells the right delimiter from others.

    Returns
    -------
    table : DataFrame
        Nothing is read as a number: "007" stays "007".
    lines : list of int
        The line of each row in the file (the header is line 1); in Parquet, the row counted from 1.

    Raises
    ------
    ManifestError
        It is not such a file, has a column twice, or a row longer than its header.
    """
    is_parquet = url.lower().endswith(PARQUET)
    table, lines = _read_parquet(url, column_name) if is_parquet else _read_csv(url, column_name, expected)
    for column in table.columns:
        table[column] = _tidied(table[column])
    return table, lines


def _tidied(cells: pd.Series) -> pd.Series:
    """What a program wrote for nothing is nothing; and a column of whole numbers that it wrote as 12.0 is one of 12."""
    cells = cells.where(~cells.isin(_NOTHING), "")
    filled = cells[cells != ""]
    whole = len(filled) > 0 and bool(filled.str.fullmatch(r"-?\d+\.0+").all())
    return cells.str.replace(r"\.0+$", "", regex=True) if whole else cells


def _decode(content: bytes, url: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")  # what Excel writes for "CSV" on Western Windows
    if "\0" in text:
        raise ManifestError(url, "is not a text file", "save the table as CSV (UTF-8) or as .parquet")
    return text


def _delimiter(text: str, column_name: Callable[[str], str], expected: str) -> str:
    """The delimiter by which the header holds the expected column, else the one that cuts it into most cells."""
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    headers = {d: next(csv.reader([header_line], delimiter=d), []) for d in _DELIMITERS}
    return max(_DELIMITERS, key=lambda d: (expected in map(column_name, headers[d]), len(headers[d])))


def _read_csv(url: str, column_name: Callable[[str], str], expected: str) -> tuple[pd.DataFrame, list[int]]:
    text = _decode(_content(url), url)
    skipped = 0
    if text[:4].lower() == "sep=":  # Excel's own first line
        _, _, text = text.partition("\n")
        skipped = 1
    delimiter = _delimiter(text, column_name, expected)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] = []
    cells: list[list[str]] = []
    lines: list[int] = []
    last = 0
    try:
        for row in reader:
            line, last = last + 1 + skipped, reader.line_num
            row = [cell.strip() for cell in row]
            if not any(row):
                continue
            if not header:
                header = [column_name(name) for name in row]
                _refuse_doubled_columns(header, url)
                continue
            if len(row) > len(header) and any(row[len(header) :]):
                raise ManifestError(
                    url,
                    f"has {len(row)} cells where the header has {len(header)}",
                    f"put cells that hold a {delimiter!r} between double quotes",
                    line,
                )
            cells.append((row + [""] * (len(header) - len(row)))[: len(header)])
            lines.append(line)
    except csv.Error:
        raise ManifestError(
            url,
            "holds a cell that cannot be parsed",
            "look for a double quote that is never closed",
            last + 1 + skipped,
        ) from None
    return pd.DataFrame(cells, columns=header, dtype="str"), lines


def _read_parquet(url: str, column_name: Callable[[str], str]) -> tuple[pd.DataFrame, list[int]]:
    try:
        table = arrow_table(_content(url))
    except (pa.ArrowInvalid, OSError):
        raise ManifestError(url, "is not a readable Parquet file", "write it again, or save it as CSV") from None
    columns: dict[str, list[str]] = {}
    _refuse_doubled_columns([column_name(name) for name in table.column_names], url)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if re.fullmatch(r"__index_level_\d+__", name):
            continue
        try:
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            values = column.cast(pa.string()).to_pylist()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ManifestError(
                url, f"holds values of type {column.type}", "use text, numbers or dates", column=name
            ) from None
        columns[column_name(name)] = ["" if value is None else value.strip() for value in values]
    return pd.DataFrame(columns, dtype="str"), list(range(1, table.num_rows + 1))


def _content(url: str) -> bytes:
    """The file's bytes. Raises ManifestError where they cannot be had: it is a folder, a FIFO, may not be read."""
    try:
        return read_bytes(url)
    except UnreadableFile as refusal:
        raise ManifestError(url, refusal.reason, refusal.remedy) from None


def _refuse_doubled_columns(header: Sequence[str], url: str) -> None:
    if len(header) > _MOST_COLUMNS:
        raise ManifestError(
            url, f"has {len(header):,} columns", f"a manifest has at most {_MOST_COLUMNS:,}; leave the others out"
        )
    for name, count in Counter(header).items():
        if name and count > 1:
            raise ManifestError(url, "has this column twice", "rename or remove one of them", column=name)
