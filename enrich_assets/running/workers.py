"""Processes that train cells side by side, a core each: a cell's own training uses one thread (`training.one_thread`).

Each worker has its archive, pinned to the batches of the run, its instance and its MLflow client, and executes the same Dagster
runs as `enrich run` itself.
"""

import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

from enrich_assets import progress
from enrich_assets.archive.home import Archive
from enrich_assets.defs.instance import open_instance
from enrich_assets.running.execution import Executed, Execution
from enrich_assets.settings import Profile
from enrich_assets.store.batches import Batch


class WorkerDied(RuntimeError):
    """A worker ended before its work did."""


class Workers:
    """A pool of processes. Made by `workers`."""

    def __init__(self, pool: ProcessPoolExecutor, slots: int) -> None:
        self._pool, self.slots = pool, slots

    def submit(self, keys: Sequence[str], partition: str) -> Future[Executed]:
        """As `Execution.execute`, soon, in one of the processes."""
        return self._pool.submit(_execute, tuple(keys), partition)


@contextmanager
def workers(archive: Archive, count: int) -> Iterator[Workers]:
    """Processes for an archive; they start with the first work and end with the context.

    Left by an exception (an interrupt too), what runs is interrupted as by Ctrl-C and what waits is dropped.

    Parameters
    ----------
    archive
        Pinned to the batches of the run.
    count
        How many processes.

    Raises
    ------
    WorkerDied
        If a process was killed, most likely for want of memory.
    """
    where = (archive.home, archive.profile, archive.store.folder.url, archive.pinned)
    before = set(mp.active_children())
    pool = ProcessPoolExecutor(count, mp.get_context("spawn"), initializer=_begin, initargs=where)
    try:
        yield Workers(pool, count)
    except BrokenProcessPool as broken:
        raise WorkerDied(
            "a training process was killed, most likely for want of memory; what is finished is kept. Let fewer train side "
            "by side: `enrich run --workers 1`, or `workers: 1` in the profile"
        ) from broken
    except BaseException:
        for child in set(mp.active_children()) - before:
            if child.pid is not None:
                os.kill(child.pid, signal.SIGINT)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


# ------------------------------------------------------------------------------------------------------- in the worker

_execution: Execution | None = None


def _begin(home: Path, profile: Profile, store_url: str, batches: tuple[Batch, ...]) -> None:
    global _execution
    os.setpgrp()  # Ctrl-C in a terminal reaches the parent, which passes it on once
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # between runs; within one, Dagster ends it in order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    progress.always_in_lines()
    archive = Archive(home, profile, store_url, batches)
    _execution = Execution(archive, open_instance(archive))


def _execute(keys: Sequence[str], partition: str) -> Executed:
    assert _execution is not None
    return _execution.execute(keys, partition)


def _end_with_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
