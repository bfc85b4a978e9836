"""Resident children, and one task at a time for each. A child that dies is replaced, and costs the file it was at.

Each has a connection of its own: no lock is shared with a process that may be killed at any time. (Libraries: when one process
dies, `concurrent.futures` and loky give up all waiting work; pebble 5.2.3 shares a pipe and its locks among its processes, and its
pool breaks when an idle one is killed.)
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.isolation.child import OUT_OF_MEMORY

MEMORY = 4 << 30  # bytes that one child may hold; `studies.budget` lets nothing begin that needs more
CPU_SECONDS = 120.0  # of one file, whatever else the machine does
SECONDS = 600.0  # of one file, waiting for a disk or a network included
_LATER = 5.0  # that much after the child's own clock the parent ends it

T = TypeVar("T")
R = TypeVar("R")


class Ended(RuntimeError):
    """The children were ended while this task ran: an interrupt, not the file's fault."""


class _Child:
    """One process. `ask` is called by one thread at a time."""

    def __init__(self, memory: int) -> None:
        ours, theirs = socket.socketpair()
        code = f"from enrich_assets.studies.isolation.child import main; main({theirs.fileno()}, {memory})"
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.process = subprocess.Popen(  # nosec B603 - our own interpreter, our own module, no word of a user
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # decoders quote the header, in their own words
            pass_fds=(theirs.fileno(),),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), **one_thread},
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.was_ended = False

    def ask(self, function: Callable[..., Any], arguments: tuple[Any, ...], cpu: float, seconds: float) -> Any:
        """Whether it went well, and what the function gave or raised there.

        EOFError: the child died. TimeoutError: it was at it for too long.
        """
        self.connection.send((function.__module__, function.__name__, arguments, cpu, seconds))
        if not self.connection.poll(seconds + _LATER):
            raise TimeoutError
        return self.connection.recv()

    def end(self) -> int:
        """End it, now; returns its exit status."""
        self.process.kill()
        status = self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        return status


class Decoders:
    """Children that are started when they are first needed and stay.

    Parameters
    ----------
    slots
        How many at a time.
    memory
        Bytes that each may hold.
    cpu_seconds, seconds
        That one task may take: of the processor, and by the clock.
    """

    def __init__(
        self, slots: int, memory: int = MEMORY, cpu_seconds: float = CPU_SECONDS, seconds: float = SECONDS
    ) -> None:
        self.slots, self.memory, self.cpu_seconds, self.seconds = slots, memory, cpu_seconds, seconds
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._lock = threading.Lock()
        self._free = threading.Semaphore(slots)

    def run(self, path: str, function: Callable[..., R], *arguments: Any) -> R:
        """A function's result, computed in a child.

        Parameters
        ----------
        path
            The file, for messages.
        function
            Of a module (it is looked up by its name there); arguments and result are pickled.

        Raises
        ------
        UnreadableFile
            The child died or was ended; or the function said so itself.
        Ended
            `end` was called meanwhile.
        """
        with self._free:
            child = self._take()
            try:
                went_well, value = child.ask(function, arguments, self.cpu_seconds, self.seconds)
            except (EOFError, OSError) as broken:
                status = self._drop(child)
                if child.was_ended:
                    raise Ended("decoding was interrupted") from broken
                raise UnreadableFile(path, self._cause(status, isinstance(broken, TimeoutError)), _SMALLER) from None
            except BaseException:
                self._drop(child)
                raise
            if isinstance(value, MemoryError):
                self._drop(child)  # what it still holds is anyone's guess
                raise UnreadableFile(path, f"needs more than {self.memory >> 20:,} MiB to be decoded", _SMALLER)
            self._give_back(child)
        if not went_well:
            raise value
        result: R = value
        return result

    def end(self) -> None:
        """End every child, busy or not. The next task starts new ones."""
        with self._lock:
            children = [*self._idle, *self._busy]
            self._idle.clear()
            for child in self._busy:
                child.was_ended = True
        for child in children:
            child.process.kill()
        for child in children:
            child.end()

    def _take(self) -> _Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.process.poll() is None:
                    break
                child.end()
            else:
                child = _Child(self.memory)
            self._busy.add(child)
            return child

    def _give_back(self, child: _Child) -> None:
        with self._lock:
            self._busy.discard(child)
            if not child.was_ended:
                self._idle.append(child)

    def _drop(self, child: _Child) -> int:
        """Forget a child that broke, and end it if it still runs; its exit status."""
        with self._lock:
            self._busy.discard(child)
        try:
            status = child.process.wait(0.2)  # it closed its side: it is about to end, and why counts
        except subprocess.TimeoutExpired:
            status = 0
        child.end()
        child.connection.close()
        return status

    def _cause(self, status: int, timed_out: bool) -> str:
        if timed_out or status in (-signal.SIGALRM, -signal.SIGPROF):
            return f"was not decoded within {self.cpu_seconds:.0f} s"
        if status in (-signal.SIGKILL, OUT_OF_MEMORY):
            return "brought its decoder down (ended for want of memory, most likely)"
        what = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"brought its decoder down ({what})"


_SMALLER = "look at it: it may be damaged, or made to do harm; export it again, or cut it into smaller clips"


_resident: Decoders | None = None
_of_process = 0
_making = threading.Lock()


def resident() -> Decoders:
    """The children of this process: one per core, as many as memory allows."""
    global _resident, _of_process
    with _making:
        if _resident is None or _of_process != os.getpid():  # a forked copy of us has no children yet
            _resident, _of_process = Decoders(_slots()), os.getpid()
            atexit.register(_resident.end)
        return _resident


def _slots() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores, memory // MEMORY))


def isolated(path: str, function: Callable[..., R], *arguments: Any) -> R:
    """`Decoders.run` in a resident child of this process."""
    return resident().run(path, function, *arguments)


def in_order(work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """`work` of each item, on as many threads as there are children, a few ahead; results in the order of the items.

    Left early (an interrupt, an error), the children at work are ended and what waits is dropped.
    """
    decoders = resident()
    ahead: deque[Future[R]] = deque()
    threads = ThreadPoolExecutor(decoders.slots)
    try:
        for item in items:
            ahead.append(threads.submit(work, item))
            if len(ahead) >= 2 * decoders.slots:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        decoders.end()
        raise
    finally:
        threads.shutdown()
