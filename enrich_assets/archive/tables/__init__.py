"""The published tables, put together from what the store holds. Their columns and meaning: `store.published`."""

from enrich_assets.archive.tables.everything import all_tables

__all__ = ["all_tables"]
