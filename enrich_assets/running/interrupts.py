"""Signals that end a run, heard however it was started and whatever Dagster does with its handlers.

While a Dagster run goes on in this process, Dagster handles SIGINT and SIGTERM; afterwards it gives SIGTERM the handler that SIGINT
had, and of a run that was interrupted it says only that it failed. A script starts us in the background with SIGINT ignored.
So: both signals get Python's own handler before the first run, and a wake-up pipe notes every signal past all handlers.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ENDING = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Which signals came since it began to listen.

    Parameters
    ----------
    reading
        File descriptor of the wake-up pipe; None: nothing is heard.
    """

    def __init__(self, reading: int | None) -> None:
        self._reading = reading
        self._heard: set[int] = set()

    def check(self) -> None:
        """Raise if a signal to end came, also one that somebody else has dealt with.

        Raises
        ------
        KeyboardInterrupt
        """
        if self.heard():
            raise KeyboardInterrupt

    def heard(self) -> set[int]:
        """Numbers of the signals to end that came so far."""
        if self._reading is not None:
            with suppress(BlockingIOError):
                self._heard |= {number for number in os.read(self._reading, 4096) if number in ENDING}
        return self._heard


@contextmanager
def listening() -> Iterator[Interrupts]:
    """Hear SIGINT and SIGTERM until the end of the context. Off the main thread nothing is heard."""
    if threading.current_thread() is not threading.main_thread():
        yield Interrupts(None)
        return
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield Interrupts(reading)
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
