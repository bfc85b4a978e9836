"""The published DuckDB file. This is the door: `publish` writes it, `query`, `read_tables` and `reading` read it.

`format_rows` prints what was read. Declarations of tables and views: `schema.py`, `views.py`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enrich_assets.store.published.read import query, read_tables, reading
    from enrich_assets.store.published.text import format_rows
    from enrich_assets.store.published.write import PublishError, publish

__all__ = ["PublishError", "format_rows", "publish", "query", "read_tables", "reading"]

_MODULES = {
    "PublishError": "write",
    "publish": "write",
    "query": "read",
    "read_tables": "read",
    "reading": "read",
    "format_rows": "text",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: whoever needs the schema alone (definitions, at every start of a process) shall
    # not wait for duckdb.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
