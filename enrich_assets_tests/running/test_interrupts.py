"""Signals end a process however it was started, at once and with their status; and no worker outlives its parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

WAITS = """
import os, signal, sys, time
from enrich_assets.running.interrupts import listening
say = lambda line: os.write(1, f"{line}\\n".encode())  # a line at once: two threads say something
with listening(say) as interrupts:
    try:
        say("ready")
        {work}
    except KeyboardInterrupt:
        say("in order")
        sys.exit(interrupts.status)
say("not interrupted")
"""
IDLE = "time.sleep(600)"
# As Dagster may: the handlers are replaced, and what comes is swallowed.
SWALLOWS = """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        say("deaf")
        while True:
            time.sleep(0.05)
            interrupts.check()
"""


def started(work: str, *, ignoring: bool = False) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS.replace("{work}", work)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignoring else None,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("ignoring", [False, True], ids=["terminal", "script in the background"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_with_its_status(number: signal.Signals, ignoring: bool) -> None:
    process = started(IDLE, ignoring=ignoring)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert set(said.split("\n")) == {"enrich: stopping ...", "in order", ""}
    assert process.returncode == 128 + number


def test_two_signals_in_quick_succession_end_it_in_order() -> None:
    process = started(IDLE)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert "in order" in said
    assert process.returncode == 128 + signal.SIGTERM


def test_a_signal_that_somebody_swallowed_is_heard_all_the_same() -> None:
    process = started(SWALLOWS)
    assert process.stdout is not None
    assert process.stdout.readline() == "deaf\n"
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert "in order" in said
    assert process.returncode == 128 + signal.SIGTERM


def test_what_does_not_end_in_time_is_ended() -> None:
    never = """
        import enrich_assets.running.interrupts as module
        module.SECONDS_TO_END = 0.2
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        say("deaf")
        while True:
            time.sleep(1)
"""
    process = started(never)
    assert process.stdout is not None
    assert process.stdout.readline() == "deaf\n"
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert "what is finished is kept" in said
    assert process.returncode == 128 + signal.SIGINT


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells children of their parent's death")
def test_a_child_ends_with_its_parent_however_that_ends() -> None:
    child = "import os,sys,time; from enrich_assets.running.interrupts import end_with_parent; end_with_parent(int(sys.argv[1])); print('bound', flush=True); time.sleep(600)"
    parent = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}, str(os.getpid())], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    handle = os.pidfd_open(pid)
    process.kill()
    process.wait()
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(30_000), "the child is gone"
    os.close(handle)
