"""Signals that end a run, heard however it was started and whatever Dagster does with its handlers.

While a Dagster run goes on in this process, Dagster handles SIGINT and SIGTERM; afterwards it gives SIGTERM the handler that SIGINT
had, and of a run that was interrupted it says only that it failed. A script starts us in the background with SIGINT ignored.
So: both signals get a handler of ours before the first run, and a wake-up pipe brings every signal, past all handlers, to a thread: it
says at once that we stop, and ends the process where that takes too long. Whatever is cut off there was never current, and the
next run makes it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)
SECONDS_TO_END = 8.0  # from the first signal to the end of the process, where it does not end in order before
SECONDS_OF_ONE_WISH = 1.0  # signals so close to the first one are the same wish; a later one ends the process at once
PR_SET_PDEATHSIG = 1


class Interrupts:
    """Which signals came since it began to listen.

    Parameters
    ----------
    say
        Gets a line when the first one comes.
    """

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self._say = say
        self._heard: list[int] = []
        self._raised = False

    def check(self) -> None:
        """Raise if a signal to end came, also one that somebody else has dealt with.

        Raises
        ------
        KeyboardInterrupt
        """
        if self._heard:
            self._raised = True
            raise KeyboardInterrupt

    def heard(self) -> set[int]:
        """Numbers of the signals to end that came so far."""
        return set(self._heard)

    @property
    def status(self) -> int:
        """Exit status of a process that such a signal ended."""
        return 128 + (self._heard[0] if self._heard else signal.SIGINT)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals: it interrupts once. What ends in order is not to be interrupted again."""
        if number not in self._heard:  # the thread may not have been there yet
            self._heard.append(number)
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def watch(self, reading: int) -> None:
        """Read the wake-up pipe until it brings a 0; ends the process when a signal was not followed in time."""
        first = 0.0
        timer: threading.Timer | None = None
        while True:
            for number in os.read(reading, 4096):
                if number == 0:
                    if timer is not None:
                        timer.cancel()
                    return
                if number not in ENDING:
                    continue
                if number not in self._heard:
                    self._heard.append(number)
                if timer is None:
                    first = time.monotonic()
                    timer = threading.Timer(SECONDS_TO_END, self._leave)
                    timer.daemon = True
                    timer.start()
                    self._tell("enrich: stopping ...")
                elif time.monotonic() - first > SECONDS_OF_ONE_WISH:
                    self._leave()

    def _leave(self) -> None:
        self._tell("enrich: stopped; what is finished is kept, `enrich run` continues")
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(self.status)  # workers end with us: `end_with_parent`

    def _tell(self, line: str) -> None:
        if self._say is not None:
            with suppress(Exception):  # a closed terminal must not keep us
                self._say(line)


@contextmanager
def listening(say: Callable[[str], None] | None = None) -> Iterator[Interrupts]:
    """Hear SIGINT and SIGTERM until the end of the context. Off the main thread nothing is heard.

    Parameters
    ----------
    say
        Gets a line as soon as one comes.
    """
    interrupts = Interrupts(say)
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watcher = threading.Thread(target=interrupts.watch, args=(reading,), daemon=True, name="signals")
    watcher.start()
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        signal.signal(number, interrupts.handle)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield interrupts
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():  # who was told to end is not told again on the last steps
            signal.signal(number, signal.SIG_IGN if interrupts.heard() else handler)
        os.write(writing, b"\0")
        watcher.join()
        os.close(reading)
        os.close(writing)


def end_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Let Linux send this process a signal when its parent ends, however that ends. Elsewhere nothing is done.

    Parameters
    ----------
    parent
        Its process id: if that is no longer our parent, we end now.
    number
        The signal.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
