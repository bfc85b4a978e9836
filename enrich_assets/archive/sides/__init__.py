"""Which side of the split each patient stands on, how many that makes, and what is to be said of it."""

from enrich_assets.archive.sides.drawing import (
    STRATA,
    VERSION,
    Decided,
    LastTime,
    draw_sides,
    keep_migrated_sides,
    sides_now,
    split_settings,
)

__all__ = [
    "STRATA",
    "VERSION",
    "Decided",
    "LastTime",
    "draw_sides",
    "keep_migrated_sides",
    "sides_now",
    "split_settings",
]
