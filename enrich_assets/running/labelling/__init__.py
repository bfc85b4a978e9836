"""A labelling round: frames handed out, to files or to a Label Studio server, and labels that come back.

The door of the room.
"""

from enrich_assets.running.labelling.handing_out import (
    HandedOut,
    NothingToLabel,
    evaluations_of,
    hand_out,
    imported_lines,
    label_next,
)

__all__ = ["HandedOut", "NothingToLabel", "evaluations_of", "hand_out", "imported_lines", "label_next"]
