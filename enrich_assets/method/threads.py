"""Threads over compiled code that leaves the GIL: how many, and who works on what.

Plain Python threads rather than numba's own: no second pool beside torch's, no compile time, and progress in between.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

Progress = Callable[[int, int, dict[str, float]], None]


def n_threads() -> int:
    """As many as this process may use: its processors, fewer where OMP_NUM_THREADS or torch.set_num_threads says so."""
    import sys

    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch = sys.modules.get("torch")  # not imported for this alone
    asked = torch.get_num_threads() if torch else int(os.environ.get("OMP_NUM_THREADS") or available)
    return max(1, min(available, asked))


def work_off(
    tasks: Sequence[tuple[int, int]],
    work: Callable[[int, int, int], None],
    threads: int,
    progress: Progress | None = None,
) -> None:
    """Call `work(worker, a, b)` for each task (a, b); no two at a time that share an a or b, whichever way round.

    Tasks are begun in the order given as far as that allows. The first exception stops everything and is raised here,
    as is an interrupt. Progress is reported from the calling thread.
    """
    pending, busy, failures = list(tasks), set[int](), list[BaseException]()
    done = 0
    change = threading.Condition()

    def next_task() -> tuple[int, int] | None:
        while pending and not failures:
            for at, (a, b) in enumerate(pending):
                if a not in busy and b not in busy:
                    del pending[at]
                    busy.update((a, b))
                    return a, b
            change.wait()
        return None

    def run(worker: int) -> None:
        nonlocal done
        while True:
            with change:
                task = next_task()
            if task is None:
                return
            try:
                work(worker, *task)
            except BaseException as failure:
                failures.append(failure)
            with change:
                busy.difference_update(task)
                done += 1
                change.notify_all()

    team = [threading.Thread(target=run, args=(w,), daemon=True) for w in range(min(threads, len(tasks)))]
    for thread in team:
        thread.start()
    try:
        reported = 0
        while reported < len(tasks) and not failures:
            with change:
                change.wait_for(lambda: done > reported or failures)  # noqa: B023
                reported = done
            if progress:
                progress(reported, len(tasks), {})
    except BaseException as stopped:
        failures.append(stopped)
        with change:
            change.notify_all()
    for thread in team:
        thread.join()
    if failures:
        raise failures[0]
