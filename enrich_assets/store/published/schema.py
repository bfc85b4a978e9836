"""The schema of the published file: what follows from the declarations of the tables.

Here: CREATE TABLE and COMMENT ON, and the columns as plain tuples for whoever shows them elsewhere (Dagster).
The tables are declared in `tables/`, a module per topic: a table is added by adding a block there, and its comments
are what `DESCRIBE` and a database browser show. Views: `views.py`. Writing the file: `write.py`.
"""

from __future__ import annotations

from enrich_assets.store.published.declaration import Column, Table, declare
from enrich_assets.store.published.tables import BY_NAME, TABLES

__all__ = [
    "BY_NAME",
    "TABLES",
    "Column",
    "Table",
    "column_schema",
    "create_table",
    "declare",
    "identifier",
    "literal",
]


def identifier(name: str) -> str:
    """The name quoted for SQL (`rank`, `class`, `lower` are words of the language)."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text quoted for SQL."""
    return "'" + text.replace("'", "''") + "'"


def column_schema(table: Table | str) -> list[tuple[str, str, str, bool]]:
    """The columns of a table, for tools that show a schema.

    Parameters
    ----------
    table : Table or str
        A declared table, or the name of a published one.

    Returns
    -------
    list of (name, type, comment, required)
        In the order of the table; `type` is the SQL type, `required` means NOT NULL.

    Raises
    ------
    KeyError
        If no published table has that name.
    """
    declared = BY_NAME[table] if isinstance(table, str) else table
    return [(column.name, column.type, column.comment, column.required) for column in declared.columns]


def create_table(table: Table) -> str:
    """CREATE TABLE and the comments on it and its columns, as one script.

    Parameters
    ----------
    table : Table
        The declaration.

    Returns
    -------
    str
        SQL statements, separated by `;`.

    Notes
    -----
    No PRIMARY KEY: DuckDB would build and store an index as large as the column, and check each row by it.
    Keys are checked once, by one aggregation, when publishing.
    """
    name = identifier(table.name)
    columns = ",\n  ".join(
        f"{identifier(column.name)} {column.type}{' NOT NULL' if column.required else ''}" for column in table.columns
    )
    key = f" Key: {', '.join(table.key)}." if table.key else ""
    script = [
        f"CREATE TABLE {name} (\n  {columns}\n)",
        f"COMMENT ON TABLE {name} IS {literal(table.comment + key)}",
    ]
    script += [
        f"COMMENT ON COLUMN {name}.{identifier(column.name)} IS {literal(column.comment)}" for column in table.columns
    ]
    return ";\n".join(script) + ";"
