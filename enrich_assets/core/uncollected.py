"""Python's search for cycles of objects, kept away from tens of thousands of receipts that are read and compared."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles within, nor later through what was read: no receipt is in one, and all stay as long as the run."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
