"""A home opened (`home`), studies ingested into it (`ingest`, `drops`), and what is there, read (`catalogue` and its values)."""

from enrich_assets.archive.home import Archive, ForeignHome

__all__ = ["Archive", "ForeignHome"]
