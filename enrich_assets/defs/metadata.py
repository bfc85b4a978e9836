"""What the UI shows of a cell: plain values, tables, pictures and links as Dagster's metadata."""

import base64
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pandas as pd

from enrich_assets.core.step import FilePath, Link, Markdown, Picture
from enrich_assets.store.published.schema import TABLES, column_schema
from enrich_assets.store.receipts import Receipt

WAS_FRESH = "was_fresh"  # of a cell that held what it should: nothing was made
SQL_TYPES = {"VARCHAR": "string", "BIGINT": "int", "DOUBLE": "float", "BOOLEAN": "bool", "TIMESTAMP": "timestamp"}


def metadata_of(receipt: Receipt, more: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata that every asset has, then its own.

    Parameters
    ----------
    receipt
        How much the cell holds, what it is called by content.
    more
        Of the step, by title: what `as_metadata` knows.
    """
    numbers = {name: value for name, value in receipt.metrics.items() if isinstance(value, (int, float, str, bool))}
    own = {name: as_metadata(value) for name, value in more.items()}
    return {**numbers, "digest": receipt.digest, "receipt": receipt.name, "files": len(receipt.files), **own}


def as_metadata(value: Any) -> Any:
    """One of `core.step`'s small types, or a table, as Dagster shows it."""
    if isinstance(value, pd.DataFrame):
        return markdown_table(value)
    if isinstance(value, Picture):
        return dg.MetadataValue.md(f"![{value.title}](data:image/png;base64,{base64.b64encode(value.png).decode()})")
    if isinstance(value, Markdown):
        return dg.MetadataValue.md(value.text)
    if isinstance(value, Link):
        return dg.MetadataValue.url(value.url)
    if isinstance(value, FilePath):
        return dg.MetadataValue.path(value.path)
    return value


def markdown_table(table: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """A table as the UI shows it, all of its rows."""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    lines += [
        "| " + " | ".join(str(v).replace("|", "\\|") for v in row) + " |" for row in table.itertuples(index=False)
    ]
    return dg.MetadataValue.md("\n".join(lines))


def code_reference(function: Callable[..., Any]) -> dg.CodeReferencesMetadataValue:
    """Where the function of a step stands, for the UI's link to the code."""
    function = inspect.unwrap(function)
    source = inspect.getsourcefile(function) or ""
    line = inspect.getsourcelines(function)[1]
    reference = dg.LocalFileCodeReference(file_path=source, line_number=line, label=function.__qualname__)
    return dg.CodeReferencesMetadataValue(code_references=[reference])


def published_schemas() -> dict[str, dg.TableSchema]:
    """Column schemas of the published tables, from their one declaration: metadata of the asset `results`."""
    return {f"schema/{table.name}": _schema(table.name) for table in TABLES}


def _schema(table: str) -> dg.TableSchema:
    columns = [
        dg.TableColumn(
            name, SQL_TYPES.get(kind, kind), comment, constraints=dg.TableColumnConstraints(nullable=not required)
        )
        for name, kind, comment, required in column_schema(table)
    ]
    return dg.TableSchema(columns=columns)
