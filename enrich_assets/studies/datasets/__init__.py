"""Frames taken away as a dataset that other programs read. The door of the room."""

from enrich_assets.studies.datasets.items import Item
from enrich_assets.studies.datasets.writing import FORMATS, write_dataset

__all__ = ["FORMATS", "Item", "write_dataset"]
