"""The browser's process: found, started, shown where it answers, ended; and what was given in it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from enrich_assets.running.exploring.dataset import Explorable
from enrich_assets.running.servers import answers

PYTHON = "ENRICH_EXPLORE_PYTHON"  # names the Python that has LightlyStudio
VERSION = "1.2.0"
SECONDS_TO_END = 60  # open pages are waited for, then what was given is written
TAIL = 1500  # characters of the log


class BrowserTrouble(RuntimeError):
    """The browser cannot be had: why, and what to do."""


@dataclass(frozen=True)
class Given:
    """What people gave in the browser.

    Attributes
    ----------
    labels : Path
        For `enrich labels import`.
    n_labels : int
        Frames in it.
    tags : dict
        Tag of their own -> how many frames.
    """

    labels: Path
    n_labels: int
    tags: dict[str, int]


def python_of_browser() -> str:
    """The Python that has LightlyStudio: ENRICH_EXPLORE_PYTHON, else `.venv-explore` beside our own environment.

    Raises
    ------
    BrowserTrouble
        If there is none, with the commands that make one.
    """
    named = os.environ.get(PYTHON)
    place = Path(named) if named else Path(sys.prefix).parent / ".venv-explore" / "bin" / "python"
    if place.is_file():
        return str(place)
    raise BrowserTrouble(
        f"no LightlyStudio at {place}. It needs an older pandas and DuckDB than we do, so it gets an environment of its own: `make explore` in "
        f"a checkout, or `python3 -m venv ~/explore && ~/explore/bin/pip install lightly-studio=={VERSION}` and "
        f"`export {PYTHON}=~/explore/bin/python`"
    )


def explore(shown: Explorable, port: int, say: Callable[[str], None]) -> Given:
    """Show a dataset on 127.0.0.1 until interrupted.

    Parameters
    ----------
    shown
        Which.
    port
        On this machine alone.
    say
        Gets what is going on.

    Raises
    ------
    BrowserTrouble
        If it cannot start, or ends by itself.
    """
    python, address = python_of_browser(), f"http://127.0.0.1:{port}"
    if answers(address):
        raise BrowserTrouble(f"something answers at {address} already: end it, or name another --port")
    try:
        with FileLock(str(shown.folder / ".open.lock"), timeout=0):
            _run(
                [python, str(Path(__file__).with_name("studio.py")), "serve", str(shown.folder), str(port)],
                shown,
                address,
                say,
            )
    except Timeout as error:
        raise BrowserTrouble(f"{shown.folder} is shown already, by another `enrich explore`") from error
    return given(shown.folder)


def _run(command: list[str], shown: Explorable, address: str, say: Callable[[str], None]) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("LIGHTLY_STUDIO_", "PYTHON"))
    }
    environment["LIGHTLY_STUDIO_ANALYTICS_ENABLED"] = "false"
    log = shown.folder / "studio.log"
    say(
        f"starting LightlyStudio with {shown.n_frames:,} frames (a quarter of a minute, the first time longer; Ctrl-C ends it)"
    )
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # a service manager ends us so: what was given is kept all the same
    with log.open("wb") as out:
        child = subprocess.Popen(  # nosec B603: a list, no shell
            command, env=environment, cwd=shown.folder, stdout=out, stderr=out, start_new_session=True
        )
    up = False
    try:
        while True:
            try:
                child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                if not up and answers(address):
                    up = True
                    say(f"LightlyStudio   {address}")
                continue
            raise BrowserTrouble(f"LightlyStudio ended by itself ({log}): ...{log.read_text(errors='replace')[-TAIL:]}")
    except KeyboardInterrupt:
        say("enrich: ending LightlyStudio; what was given is kept (some seconds)")
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGINT)
            try:
                child.wait(timeout=SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)


def given(folder: Path) -> Given:
    """What the browser kept of a dataset when it last started or ended."""
    place = folder / "given"
    labels = place / "labels.csv"
    if not labels.exists():
        return Given(labels, 0, {})
    with labels.open(newline="", encoding="utf-8") as file:
        n = len({row["frame_id"] for row in csv.DictReader(file)})
    tags = json.loads((place / "tags.json").read_text(encoding="utf-8"))
    return Given(labels, n, {name: len(frames) for name, frames in tags.items()})
