"""Threads share work without touching the same frames, and stop at the first failure."""

import threading
import time

import pytest

from enrich_assets.method.threads import n_threads, work_off


def test_no_two_tasks_at_a_time_share_frames() -> None:
    tasks = [(i, j) for j in range(8) for i in range(j + 1)]
    busy: list[int] = []
    clashes, done, lock = [], [], threading.Lock()

    def work(_: int, a: int, b: int) -> None:
        frames = {a, b}
        with lock:
            clashes.extend(frames & set(busy))
            busy.extend(frames)
        time.sleep(0)  # let another thread in
        with lock:
            for frame in frames:
                busy.remove(frame)
            done.append((a, b))

    work_off(tasks, work, 4)
    assert not clashes
    assert sorted(done) == sorted(tasks)


def test_a_failure_stops_the_work_and_is_raised() -> None:
    done = []

    def work(_: int, a: int, __: int) -> None:
        if a == 3:
            raise ArithmeticError("three")
        done.append(a)

    with pytest.raises(ArithmeticError, match="three"):
        work_off([(a, a) for a in range(1000)], work, 2)
    assert len(done) < 999


def test_a_failing_progress_stops_the_work() -> None:
    def progress(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_off([(a, a) for a in range(50)], lambda *_: None, 2, progress)


def test_no_work_is_no_work() -> None:
    work_off([], lambda *_: None, 2)
    assert n_threads() >= 1
