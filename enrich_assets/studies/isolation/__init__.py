"""Hostile bytes are decoded in child processes with a limit of memory and of time: a file that breaks its decoder costs itself.

The door of the room. `isolated` runs one function on one file in a resident child; `in_order` keeps all children busy. Which bytes
mean what belongs to the readers; nothing here knows of a format. This is a limit to harm by accident and by bombs, not a sandbox: a
child has the rights of its parent.
"""

from enrich_assets.studies.isolation.pool import in_order, isolated

__all__ = ["in_order", "isolated"]
