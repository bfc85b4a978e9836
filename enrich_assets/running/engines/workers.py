"""Processes that train cells side by side, a core each: a cell's own training uses one thread (`training.one_thread`).

Each worker has its archive, pinned to the batches of the run, its instance and its MLflow client, and executes the same Dagster
runs as `enrich run` itself.
"""

import multiprocessing as mp
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from enrich_assets import progress
from enrich_assets.archive.home import Archive
from enrich_assets.defs.instance import open_instance
from enrich_assets.running.engines.team import Lost
from enrich_assets.running.execution import Executed, Execution
from enrich_assets.running.interrupts import end_with_parent
from enrich_assets.settings import Profile
from enrich_assets.store.batches import Batch

SECONDS_TO_END = 5.0  # of a worker that was interrupted; then it is killed


REMEDY = "Let fewer train side by side: `enrich run --workers 1`, or `workers: 1` in the profile"


class Workers:
    """Processes, one cell each at a time. Made by `workers`.

    Each is a pool of its own, so that one which dies takes no other with it. Then there is one process less from there on: most
    likely memory was short.
    """

    def __init__(self, count: int, where: tuple[Any, ...]) -> None:
        self.slots = count
        self._where = where
        self._idle: list[ProcessPoolExecutor] = []
        self._pools: dict[ProcessPoolExecutor, Any] = {}  # -> its process, once it has one

    def submit(self, keys: Sequence[str], partition: str, run_id: str) -> Future[Executed]:
        """As `Execution.execute`, soon, in one of the processes. From the main thread: a process ends with the thread that began it.

        The future raises Lost where the process was killed.
        """
        executed: Future[Executed] = Future()
        while True:
            pool = self._idle.pop() if self._idle else self._begun()
            before = set(mp.active_children())
            try:
                work = pool.submit(_execute, tuple(keys), partition, run_id)
            except BrokenProcessPool:  # it died while it had nothing to do
                continue
            if self._pools[pool] is None:
                self._pools[pool] = next((child for child in mp.active_children() if child not in before), None)
            work.add_done_callback(partial(self._finished, pool, executed))
            return executed

    def _begun(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(1, mp.get_context("spawn"), initializer=_begin, initargs=self._where)
        self._pools[pool] = None
        return pool

    def _finished(self, pool: ProcessPoolExecutor, executed: Future[Executed], done: Future[Executed]) -> None:
        if done.cancelled():
            executed.cancel()
            return
        error = done.exception()
        if isinstance(error, BrokenProcessPool):
            self.slots = max(1, self.slots - 1)
            executed.set_exception(Lost(f"a training process {_how_it_ended(self._pools[pool])}", REMEDY))
            return
        self._idle.append(pool)
        if error is not None:
            executed.set_exception(error)
        else:
            executed.set_result(done.result())

    def describe(self) -> str:
        return f"{self.slots} at a time"

    def end(self) -> None:
        """End the processes when they have done what they are at."""
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)


@contextmanager
def workers(archive: Archive, count: int) -> Iterator[Workers]:
    """Processes for an archive; they start with the first work and end with the context.

    Left by an exception (an interrupt too), what runs is interrupted as by Ctrl-C, and killed where that takes too long.

    Parameters
    ----------
    archive
        Pinned to the batches of the run.
    count
        How many processes.
    """
    team = Workers(count, (archive.home, archive.profile, archive.store.folder.url, archive.pinned, os.getpid()))
    before = set(mp.active_children())
    try:
        yield team
    except BaseException:
        _interrupt([child for child in mp.active_children() if child not in before])
        raise
    finally:
        team.end()


def _how_it_ended(process: Any) -> str:
    """In words, by its exit status."""
    if process is not None:
        process.join(1.0)
    status = process.exitcode if process is not None else None
    if status == -signal.SIGKILL:
        return "was killed (SIGKILL), most likely for want of memory"
    if status is not None and status < 0:
        return f"crashed ({signal.Signals(-status).name})"
    return "ended before its work did" + ("" if status is None else f" (status {status})")


def _interrupt(children: list[Any]) -> None:
    """End processes in order, and those that do not end in time out of it."""
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGINT)
    end = time.monotonic() + SECONDS_TO_END
    for child in children:
        child.join(max(0.0, end - time.monotonic()))
        if child.is_alive():
            child.kill()


# ------------------------------------------------------------------------------------------------------- in the worker

_execution: Execution | None = None


def _begin(home: Path, profile: Profile, store_url: str, batches: tuple[Batch, ...], parent: int) -> None:
    global _execution
    end_with_parent(parent)
    os.setpgrp()  # Ctrl-C in a terminal reaches the parent, which passes it on once
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(130))  # between runs; within one, Dagster ends it in order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    progress.always_in_lines()
    archive = Archive(home, profile, store_url, batches)
    _execution = Execution(archive, open_instance(archive))


def _execute(keys: Sequence[str], partition: str, run_id: str) -> Executed:
    assert _execution is not None
    return _execution.execute(keys, partition, run_id)


def _end_with_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
