"""The frames behind a number: found by the id of an evaluation or a subset, shown, and taken away as a dataset.

The door of the room.
"""

from enrich_assets.running.frames.chosen import (
    Chosen,
    UnknownFrames,
    chosen_by,
    of_worklist,
    with_test_set,
    without_near_duplicates,
)
from enrich_assets.running.frames.shown import show
from enrich_assets.running.frames.taking_away import export

__all__ = [
    "Chosen",
    "UnknownFrames",
    "chosen_by",
    "export",
    "of_worklist",
    "show",
    "with_test_set",
    "without_near_duplicates",
]
