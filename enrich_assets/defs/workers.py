"""Processes that train cells side by side, a core each: a cell's own training uses one thread (`training.one_thread`).

Each worker has its archive, its instance and its MLflow client, and executes the same Dagster runs as `enrich run` itself.
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

from enrich_assets.archive import Archive
from enrich_assets.defs.execution import Executed, Execution
from enrich_assets.settings import Profile

MOST = 8  # a worker holds torch, Dagster and MLflow: some 0.7 GB before the first frame


def trainings_at_once(profile: Profile) -> int:
    """As the profile says; by default one on a GPU, else one per core, up to 8."""
    if profile.workers is not None:
        return profile.workers
    from enrich_assets.method.device import pick
    from enrich_assets.method.threads import n_threads

    return 1 if pick(profile.device).type != "cpu" else min(MOST, n_threads())


class WorkerDied(RuntimeError):
    """A worker ended before its work did."""


class Workers:
    """A pool of them. Made by `workers`."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, keys: Sequence[str], partition: str) -> Future[Executed]:
        """As `Execution.execute`, soon, in one of the processes."""
        return self._pool.submit(_execute, tuple(keys), partition)


@contextmanager
def workers(archive: Archive, count: int) -> Iterator[Workers]:
    """`count` processes for the archive; they start with the first work and end with the context.

    Left by an exception (an interrupt too), what runs is interrupted as by Ctrl-C and what waits is dropped.
    """
    where = (archive.home, archive.profile, archive.store.folder.url)
    before = set(mp.active_children())
    pool = ProcessPoolExecutor(count, mp.get_context("spawn"), initializer=_begin, initargs=where)
    try:
        yield Workers(pool)
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


def _begin(home: Path, profile: Profile, store_url: str) -> None:
    from enrich_assets import progress
    from enrich_assets.defs.instance import open_instance

    global _execution
    os.setpgrp()  # Ctrl-C in a terminal reaches the parent, which passes it on once
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # between runs; within one, Dagster ends it in order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    progress.always_in_lines()
    archive = Archive(home, profile, store_url)
    _execution = Execution(archive, open_instance(archive))


def _execute(keys: Sequence[str], partition: str) -> Executed:
    assert _execution is not None
    return _execution.execute(keys, partition)


def _end_with_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
