"""What the children of the tests do: nothing good."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers import Pictures, read_pictures


def double(number: int) -> int:
    return 2 * number


def my_process() -> int:
    return os.getpid()


def refuse(path: str) -> None:
    raise UnreadableFile(path, "is no picture", "draw one")


def read_or_die(path: str, *arguments: Any) -> Pictures:
    """As `read_pictures`, but that files of some names bring the decoder down."""
    if "crash" in path:
        end_by(signal.SIGSEGV)
    if "hoard" in path:
        hoard(64 << 30)
    return read_pictures(path, *arguments)


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)


def hoard(n_bytes: int) -> int:
    return int(np.ones(n_bytes, np.uint8).sum())


def compute_for_ever() -> int:
    return sum(i for i in iter(int, 1))


def wait_for_ever(fifo: str) -> bytes:
    """Say who waits, into the file beside the FIFO, then wait for a writer that never comes."""
    with open(f"{fifo}.waits", "w") as file:
        file.write(str(os.getpid()))
    signal.pause()
    return b""
