"""Processes with all that descend from them: started, frozen, woken, killed. A node of a cluster is one such tree."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
BEGUN, ATTEMPTS = "Ray runtime started", 3
PATIENCE = 120.0  # seconds until something that must happen counts as not happening


def free_port() -> int:
    """A port nobody listens on, outside those that Ray gives its workers (10002-19999)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(happens: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Ask again and again until it is true; what it gave then."""
    end, pause = time.monotonic() + patience, threading.Event()
    while not (found := happens()):
        assert time.monotonic() < end, f"in vain: {what}"
        pause.wait(0.02)
    return found


def descendants(pid: int) -> list[int]:
    """A process and all below it that are alive."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and not merely waiting for its parent to notice its end."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Tree:
    """A process and what it started."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        self._pids: list[int] = []

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """To all of it, parents first; twice, for what was born meanwhile."""
        for _ in range(2):
            self._pids = sorted({*self._pids, *descendants(self.process.pid)})
            for pid in self._pids:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()
        until(lambda: not any(map(is_alive, self._pids)), "the end of killed processes")


class RayCluster:
    """A head that makes no cells, and nodes of one slot each. For the `with` statement."""

    def __init__(self, **environment: str) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="ray")  # short: sockets lie in it
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0",
            # a node that does not answer counts as gone after some ten seconds, not a minute
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "3000",
            "RAY_health_check_failure_threshold": "3",
            **environment,
        }
        self._environment.pop("DAGSTER_HOME", None)
        self.trees: dict[str, Tree] = {}

    def __enter__(self) -> RayCluster:
        self._start(
            "head",
            "--head",
            "--port",
            str(self.port),
            "--num-cpus",
            "0",
            "--include-dashboard=false",
            "--temp-dir",
            self._folder.name,
        )
        until(lambda: self._listens() or self._has_ended("head"), "Ray's head")
        return self

    def __exit__(self, *_: object) -> None:
        for tree in self.trees.values():
            tree.kill()
        self._folder.cleanup()

    def add(self, name: str, cpus: int = 1, **environment: str) -> Tree:
        """A further node, once it has begun. On a busy machine one may not begin in the half minute that Ray gives it: then once more."""
        options = ("--address", self.address, "--num-cpus", str(cpus), "--node-name", name)
        for _ in range(ATTEMPTS):
            tree = self._start(name, *options, **environment)
            until(lambda tree=tree: BEGUN in tree.said or tree.process.poll() is not None, f"node {name}")
            if BEGUN in tree.said:
                return tree
        raise RuntimeError(tree.said)

    def await_nodes(self, names_up: Callable[[RayCluster], list[str]], *names: str) -> None:
        """Until these nodes, and no others, are up. A node that ends instead says why."""

        def are_up() -> bool:
            for name in names:
                self._has_ended(name)
            return names_up(self) == sorted(names)

        until(are_up, f"nodes {names}", patience=2 * PATIENCE)

    def _start(self, name: str, *options: str, **environment: str) -> Tree:
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            "--object-store-memory",
            "100000000",
            *options,
        ]
        tree = Tree(command, Path(self._folder.name) / f"{name}.log", {**self._environment, **environment})
        self.trees[name] = tree
        return tree

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _has_ended(self, name: str) -> bool:
        if self.trees[name].process.poll() is not None:
            raise RuntimeError(self.trees[name].said)
        return False


SLURM_CONF = """\
ClusterName=enrich
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=30
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory=1000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A controller and two nodes, n1 and n2, on this machine. For the `with` statement; needs to be root, as Slurm's nodes do."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="slurm")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        (folder / "state").mkdir()
        ports = [free_port() for _ in range(3)]
        host, user = socket.gethostname().partition(".")[0], pwd.getpwuid(os.getuid()).pw_name
        text = SLURM_CONF.format(host=host, folder=folder, ports=ports, user=user, cpus=os.cpu_count())
        (folder / "slurm.conf").write_text(text)
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._trees: list[Tree] = []

    def __enter__(self) -> Slurm:
        folder, conf = Path(self._folder.name), self.environment["SLURM_CONF"]
        munge = [
            "munged",
            "--foreground",
            "--force",
            f"--socket={folder}/munge.socket",
            f"--key-file={folder}/munge.key",
        ]
        munge += [f"--{kind}-file={folder}/munge.{kind}" for kind in ("log", "pid", "seed")]
        self._start("munge", munge)
        until(lambda: (folder / "munge.socket").exists(), "munge")
        self._start("controller", ["slurmctld", "-D", "-f", conf])
        for name in ("n1", "n2"):
            (folder / name).mkdir()
            self._start(name, ["slurmd", "-D", "-f", conf, "-N", name])
        until(lambda: self.command("sinfo", "--noheader", "--states=idle", "--format=%D") == "2", "two idle nodes")
        return self

    def __exit__(self, *_: object) -> None:
        for tree in reversed(self._trees):
            tree.kill()
        self._folder.cleanup()

    def command(self, *words: str) -> str:
        """What one of Slurm's commands says."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def _start(self, name: str, command: list[str]) -> None:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        self._trees.append(Tree(command, Path(self._folder.name) / f"{name}.out", {**self.environment, "PATH": path}))
