"""What `enrich doctor` says of a machine and a home: enough for a bug report, nothing of a patient."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enrich_assets.archive import Archive

PACKAGES = (
    "dagster",
    "duckdb",
    "mlflow",
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "numba",
    "opencv-python",
    "av",
    "pydicom",
)
OPTIONAL = ("onnxruntime", "label-studio-sdk", "ray", "s3fs", "psycopg2-binary")
LEAST_FREE = 1 << 30  # bytes of disk below which a run soon ends
PORTS = {"Dagster": 3000, "MLflow": 5000}
VARIABLES = ("ENRICH_HOME", "ENRICH_PROFILE", "ENRICH_STORE")


@dataclass(frozen=True)
class Finding:
    """One line.

    Attributes
    ----------
    name, value : str
        What, and how it is.
    is_trouble : bool
        Whether it keeps the program from working.
    """

    name: str
    value: str
    is_trouble: bool = False


def findings(home: Path, archive: Archive | None) -> Iterator[Finding]:
    """What there is to say.

    Parameters
    ----------
    home
        Where the home is, or would be.
    archive
        The same opened; None where that was refused.
    """
    yield Finding("enrich", _version("enrich-assets"))
    yield Finding("system", f"{platform.platform()}, Python {platform.python_version()} ({sys.executable})")
    yield Finding("processors", f"{os.cpu_count()}; {_memory()}")
    yield Finding("graphics", _graphics())
    yield Finding("packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    extra = [f"{name} {_version(name)}" for name in OPTIONAL if _version(name) != "absent"]
    yield Finding("optional", ", ".join(extra) or "none")
    environment = [f"{name} {'set' if os.environ.get(name) else 'not set'}" for name in VARIABLES]
    yield Finding("environment", ", ".join(environment))
    yield from _of_home(home)
    if archive is not None:
        yield from _of_archive(archive)
    for name, port in PORTS.items():
        yield Finding(f"{name.lower()} port", f"{port} {'is taken' if _is_taken(port) else 'is free'}")


def _of_home(home: Path) -> Iterator[Finding]:
    if not home.is_dir():
        yield Finding("home", "is not there yet: `enrich ingest` or `enrich demo` makes it")
        return
    mode = home.stat().st_mode & 0o777
    writable = os.access(home, os.W_OK | os.X_OK)
    state = f"{'writable' if writable else 'not writable: give yourself the right'}, mode {mode:o}"
    yield Finding("home", state if not mode & 0o077 else f"{state} (others may look in)", not writable)
    usage = shutil.disk_usage(home)
    free = f"{usage.free / 1e9:,.1f} GB free of {usage.total / 1e9:,.1f} GB"
    yield Finding("disk", free if usage.free >= LEAST_FREE else f"{free}: make room", usage.free < LEAST_FREE)
    for name in ("enrich.duckdb", "mlflow.db"):
        file = home / name
        yield Finding(name, f"{file.stat().st_size / 1e6:,.1f} MB" if file.exists() else "is not there yet")


def _of_archive(archive: Archive) -> Iterator[Finding]:
    profile = archive.profile
    yield Finding("profile", f"{profile.name}, {len(profile.tasks)} tasks, embeddings of kinds {_kinds(archive)}")
    scheme = archive.store.folder.url.partition("://")[0] if "://" in archive.store.folder.url else "a folder"
    yield Finding("store", f"{scheme}; {len(archive.batches)} batches")
    key = archive.home / "pseudonym.key"
    if key.exists():
        mode = key.stat().st_mode & 0o777
        yield Finding("key", f"is there, mode {mode:o}", bool(mode & 0o077))
    else:
        yield Finding("key", "is not there (made when a DICOM folder is ingested)")


def _kinds(archive: Archive) -> str:
    return ", ".join(
        sorted({type(one).__name__.removesuffix("Embedding").lower() for one in archive.profile.embeddings.values()})
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return "memory not known"
    return f"{total / 1e9:,.0f} GB memory"


def _graphics() -> str:
    """What the driver says of GPUs, and whether our torch could use one."""
    build = "torch for CPU" if "+cpu" in _version("torch") else f"torch {_version('torch')}"
    program = shutil.which("nvidia-smi")
    if program is None:
        return f"no NVIDIA driver; {build}"
    command = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # nosec B603: no input
    except (OSError, subprocess.SubprocessError):
        return f"nvidia-smi does not answer; {build}"
    return f"{'; '.join(found.stdout.strip().splitlines()) or 'no GPU'}; {build}"


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
