"""How a published table is declared: its columns with type, meaning and whether they are required, and its key.

Here: the notation, no table (`tables/`) and no SQL statement (`schema.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name : str
        As queries write it.
    type : str
        SQL type, one of `TYPES`.
    comment : str
        What a value means, its unit, and which table it joins.
    required : bool
        Whether a row without a value is refused (NOT NULL).
    """

    name: str
    type: str
    comment: str
    required: bool


@dataclass(frozen=True)
class Table:
    """A table: no two rows agree in all columns of `key`, which is empty for tables without one."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = field(default=())

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


TYPES = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "int": "BIGINT",
    "real": "DOUBLE",
    "flag": "BOOLEAN",
    "time": "TIMESTAMP",
}


def declare(name: str, comment: str, columns: str, key: str = "") -> Table:
    """A table from text.

    Parameters
    ----------
    name, comment : str
        Of the table.
    columns : str
        A line per column, `name kind comment`, where kind is one of `TYPES`; `kind!` means NOT NULL.
    key : str
        Names of the key's columns, separated by blanks.

    Returns
    -------
    Table

    Raises
    ------
    KeyError
        If a kind is not in `TYPES`.
    ValueError
        If a column has no comment, or the key names a column that is not there.
    """
    parsed = []
    for line in columns.strip().splitlines():
        column, kind, meaning = line.split(maxsplit=2)
        parsed.append(Column(column, TYPES[kind.removesuffix("!")], meaning.strip(), kind.endswith("!")))
    table = Table(name, comment, tuple(parsed), tuple(key.split()))
    strange = [part for part in table.key if part not in table.column_names]
    if strange:
        raise ValueError(f"{name}: the key names {strange}, which are not columns")
    return table
