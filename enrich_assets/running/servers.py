"""The two web interfaces, as child processes on localhost: Dagster's (with its daemon) and MLflow's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from enrich_assets.archive.home import DAGSTER_ADDRESS, MLFLOW_ADDRESS, Archive
from enrich_assets.store.remote.databases import is_server

SECONDS_TO_END = 15


def answers(address: str) -> bool:
    """Whether a web server answers there, whatever it says."""
    try:
        with urllib.request.urlopen(address, timeout=2):  # nosec B310: an address of ours, on localhost
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def serve(archive: Archive, port: int, mlflow_port: int, say: Callable[[str], None]) -> int:
    """Run both servers until interrupted, or until one of them ends.

    Parameters
    ----------
    archive
        Whose runs they show.
    port, mlflow_port
        Of Dagster and of MLflow, on localhost.
    say
        Gets the address of each when it answers.

    Returns
    -------
    int
        Exit status: of the server that ended, 0 after an interrupt, 1 where a port is taken.
    """
    addresses = {"Dagster": f"http://127.0.0.1:{port}"}
    environment = {
        **os.environ,
        "ENRICH_HOME": str(archive.home),
        "DAGSTER_HOME": str(archive.home / "dagster"),
        DAGSTER_ADDRESS: addresses["Dagster"],
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    for task in archive.profile.tasks:
        archive.tracking(task).prepare()
    folder, uri = Path(sys.executable).parent, archive.tracking_uri
    dagster = [str(folder / "dagster"), "dev", "-m", "enrich_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    commands = [dagster]
    if not is_server(uri):  # else it is somebody's already; MLflow cannot stand on another one
        mlflow = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
        mlflow += ["--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "1"]
        if archive.profile.tracking.artifacts:
            mlflow += ["--default-artifact-root", archive.profile.tracking.artifacts]
        commands.append(mlflow)
        addresses["MLflow"] = environment[MLFLOW_ADDRESS] = f"http://127.0.0.1:{mlflow_port}"
    for name, address in addresses.items():
        if answers(address):
            say(f"enrich: something answers at {address} already: end it, or name another port for {name}")
            return 1
    say(f"starting {' and '.join(addresses)} (half a minute; Ctrl-C ends {'both' if len(addresses) > 1 else 'it'})")
    if is_server(uri):
        say(f"MLflow   {archive.profile.tracking.ui_url or uri}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager ends us so: the children end too
    children = [subprocess.Popen(command, env=environment, start_new_session=True) for command in commands]  # nosec B603: lists, no shell
    waiting = dict(addresses)
    try:
        while True:
            for child in children:
                try:
                    return child.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    continue
            for name in [name for name, address in waiting.items() if answers(address)]:
                address = waiting.pop(name)
                for page in _pages_of(archive, address) if name == "MLflow" else [address]:
                    say(f"{name:8} {page}")
    except KeyboardInterrupt:
        return 0
    finally:
        for child in children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
        for child in children:
            try:
                child.wait(timeout=SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)


def _pages_of(archive: Archive, address: str) -> list[str]:
    """Each task's runs in MLflow: from MLflow's own start page one comes to its view for language models."""
    return [archive.tracking(task).experiment_url(address) for task in archive.profile.tasks]
