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


class _Queue:
    """Tasks, begun in the order given as far as no two at a time share an a or b.

    Invariants: a task is pending, at work, or done; `busy` holds the a and b of those at work; once something failed, none
    is begun any more. `changed` guards it all, and is notified when a task ends or something fails.
    """

    def __init__(self, tasks: Sequence[tuple[int, int]]) -> None:
        self.pending, self.busy = list(tasks), set[int]()
        self.done = 0
        self.failures: list[BaseException] = []
        self.changed = threading.Condition()

    def begin(self) -> tuple[int, int] | None:
        """The next task that nobody is in the way of, waiting for one; None when there is no more to do."""
        with self.changed:
            while self.pending and not self.failures:
                for at, (a, b) in enumerate(self.pending):
                    if a not in self.busy and b not in self.busy:
                        del self.pending[at]
                        self.busy.update((a, b))
                        return a, b
                self.changed.wait()
            return None

    def end(self, task: tuple[int, int]) -> None:
        with self.changed:
            self.busy.difference_update(task)
            self.done += 1
            self.changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        with self.changed:
            self.failures.append(failure)
            self.changed.notify_all()

    def wait_for_more_than(self, done: int) -> int:
        """How many tasks are done, once it is more than that, or once something failed."""
        with self.changed:
            self.changed.wait_for(lambda: self.done > done or self.failures)
            return self.done


def work_off(
    tasks: Sequence[tuple[int, int]],
    work: Callable[[int, int, int], None],
    threads: int,
    progress: Progress | None = None,
) -> None:
    """Call `work(worker, a, b)` for each task (a, b); no two at a time that share an a or b, whichever way round.

    Parameters
    ----------
    tasks : sequence of (int, int)
        Begun in this order, as far as that allows.
    work : callable
        Called from several threads; `worker` is the thread's number, below `threads`.
    threads : int
        How many work at a time.
    progress : callable, optional
        Called with (done, of, {}) from the calling thread.

    Raises
    ------
    BaseException
        The first one that `work` or `progress` raises, or an interrupt: it stops everything.

    Examples
    --------
    Two threads and the tasks (0, 0), (0, 1), (1, 1): the first thread begins (0, 0); the second passes over (0, 1), since
    someone is at 0, and begins (1, 1); (0, 1) is begun when both are done.
    """
    queue = _Queue(tasks)

    def run(worker: int) -> None:
        while (task := queue.begin()) is not None:
            try:
                work(worker, *task)
            except BaseException as failure:
                queue.fail(failure)
            queue.end(task)

    team = [threading.Thread(target=run, args=(w,), daemon=True) for w in range(min(threads, len(tasks)))]
    for thread in team:
        thread.start()
    try:
        done = 0
        while done < len(tasks) and not queue.failures:
            done = queue.wait_for_more_than(done)
            if progress:
                progress(done, len(tasks), {})
    except BaseException as stopped:
        queue.fail(stopped)
    for thread in team:
        thread.join()
    if queue.failures:
        raise queue.failures[0]
