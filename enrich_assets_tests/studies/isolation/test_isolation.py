"""A file that breaks its decoder costs itself: no other file, no memory of ours, no process that stays behind."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.isolation import in_order
from enrich_assets.studies.isolation.pool import Decoders, Ended
from enrich_assets_tests.studies.isolation import tasks


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders(2, memory=600 << 20, cpu_seconds=5.0, seconds=60.0)  # importing numpy is in it
    yield made
    made.end()


def is_gone(pid: int) -> bool:
    """Whether a process ends within a minute."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 60)[0])
    finally:
        os.close(descriptor)


def test_a_child_answers_and_stays(decoders: Decoders) -> None:
    assert decoders.run("a", tasks.double, 21) == 42
    assert decoders.run("a", tasks.my_process) == decoders.run("a", tasks.my_process) != os.getpid()


def test_a_refusal_comes_back_as_it_was_said(decoders: Decoders) -> None:
    with pytest.raises(UnreadableFile, match=r"b\.png: is no picture; draw one"):
        decoders.run("b.png", tasks.refuse, "b.png")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_decoder_that_dies_costs_its_file_alone(decoders: Decoders, number: int) -> None:
    with ThreadPoolExecutor(2) as threads:
        good = [threads.submit(decoders.run, f"{i}", tasks.double, i) for i in range(5)]
        with pytest.raises(UnreadableFile, match=r"bad\.dcm: brought its decoder down"):
            decoders.run("bad.dcm", tasks.end_by, number)
        assert [future.result() for future in good] == [0, 2, 4, 6, 8]
    assert decoders.run("c", tasks.double, 4) == 8


def test_memory_ends_at_the_limit_and_is_not_ours(decoders: Decoders) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableFile, match=r"bomb\.tif: needs more than 600 MiB to be decoded"):
        decoders.run("bomb.tif", tasks.hoard, 2 << 30)
    assert decoders.run("fine", tasks.hoard, 1 << 20) == 1 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def test_a_loop_without_end_is_ended(decoders: Decoders) -> None:
    with pytest.raises(UnreadableFile, match=r"loop\.mp4: was not decoded within 5 s"):
        decoders.run("loop.mp4", tasks.compute_for_ever)


def test_waiting_without_end_is_ended(tmp_path: Path) -> None:
    waiting = Decoders(1, seconds=1.0)
    with pytest.raises(UnreadableFile, match="was not decoded"):
        waiting.run("fifo", tasks.wait_for_ever, str(tmp_path / "fifo"))
    waiting.end()


def test_an_idle_child_that_was_killed_is_replaced(decoders: Decoders) -> None:
    pid = decoders.run("a", tasks.my_process)
    os.kill(pid, signal.SIGKILL)
    assert is_gone(pid)
    assert decoders.run("a", tasks.double, 3) == 6


def test_an_interrupt_ends_the_children_and_blames_no_file(tmp_path: Path) -> None:
    made = Decoders(1)
    fifo = str(tmp_path / "fifo")
    os.mkfifo(f"{fifo}.waits")
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(made.run, "innocent.png", tasks.wait_for_ever, fifo)
        with open(f"{fifo}.waits") as file:
            pid = int(file.read())
        made.end()
        with pytest.raises(Ended):
            future.result()
    assert is_gone(pid)


PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from enrich_assets.studies.isolation import isolated
from enrich_assets_tests.studies.isolation import tasks
isolated("f", tasks.compute_for_ever if sys.argv[2] == "busy" else tasks.wait_for_ever, *sys.argv[1:2][sys.argv[2] == "busy":])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_child_outlives_its_parent(tmp_path: Path, number: int) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(f"{fifo}.waits")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, fifo, "waiting"],
        stderr=subprocess.DEVNULL,
        # A shell that runs us in the background has SIGINT ignored; Dagster, once it ran here, SIGTERM too; both are inherited.
        preexec_fn=None if number == signal.SIGKILL else lambda: signal.signal(number, signal.SIG_DFL),
    )
    with open(f"{fifo}.waits") as file:
        pid = int(file.read())
    parent.send_signal(number)
    assert parent.wait(60) != 0
    assert is_gone(pid)


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(in_order(lambda number: -number, range(50))) == [-number for number in range(50)]


def test_an_error_drops_what_waits() -> None:
    done: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            done.append(number)
        if number == 3:
            raise RuntimeError("stop")
        return number

    with pytest.raises(RuntimeError, match="stop"):
        list(in_order(work, range(10_000)))
    assert len(done) < 200
