"""What runs in the child: it limits itself, then answers one question after the other until its parent is gone.

All limits are the kernel's, so they hold while a decoder is in a loop of C and no line of Python runs:

- memory: RLIMIT_DATA (heap and private mappings; what is beyond is refused, and the decoder raises or ends);
- processor time of one task: ITIMER_PROF, whose signal ends the process;
- wall-clock time of one task: ITIMER_REAL (the parent counts too);
- the parent's end: SIGIO when the pipe at standard input closes, whichever way the parent went.

macOS knows RLIMIT_DATA and does not enforce it for mapped memory; there a thread looks at the memory in use ten times a second, and ends
the process. A decoder that keeps the interpreter to itself meanwhile is noticed only afterwards.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import resource
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pickle import PicklingError  # nosec B403 - an exception; what is unpickled comes from our own process
from typing import Any

OUT_OF_MEMORY = 71  # exit status of a child that ended itself
SHARE_OF_THE_KERNEL = 900  # of 1000: where the machine runs out of memory, a decoder goes first


def main(socket: int, memory: int) -> None:
    """Answer until the other side closes.

    Parameters
    ----------
    socket
        File descriptor of a connection to the parent: tasks come, answers go.
    memory
        Bytes that this process may hold.
    """
    _limit(memory)
    connection = Connection(socket)
    while True:
        try:
            module, function, arguments, cpu_seconds, seconds = connection.recv()
        except EOFError:
            return
        _allow(cpu_seconds, seconds)
        answer = _answer(module, function, arguments)
        _allow(0, 0)
        try:
            connection.send(answer)
        except MemoryError:
            connection.send((False, MemoryError()))
        except (AttributeError, TypeError, PicklingError):
            connection.send((False, RuntimeError("the answer cannot be sent")))


def _answer(module: str, function: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """Whether it went well, and the result or the exception."""
    try:
        return True, getattr(importlib.import_module(module), function)(*arguments)
    except MemoryError:
        return False, MemoryError()
    except Exception as error:
        return False, error


def _limit(memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to deal with
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGPROF, signal.SIGIO):
        signal.signal(number, signal.SIG_DFL)
    fcntl.fcntl(sys.stdin.fileno(), fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sys.stdin.fileno(), fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold a patient's picture
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(SHARE_OF_THE_KERNEL))
        except OSError:  # not ours to set here
            pass
    else:
        threading.Thread(target=_watch, args=(memory,), daemon=True).start()
    try:
        if os.read(sys.stdin.fileno(), 1) == b"":  # the parent went before we listened
            os._exit(0)
    except BlockingIOError:
        pass


def _allow(cpu_seconds: float, seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _watch(memory: int) -> None:
    while True:
        time.sleep(0.1)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > memory:  # bytes on macOS
            os._exit(OUT_OF_MEMORY)
