"""Python's search for cycles of objects, put off while tens of thousands of receipts are read and compared."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles within: no receipt is in one, and each search would go through all that were read so far."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # the two together: all there is counts as old now, without having been looked at
        if was:
            gc.enable()
