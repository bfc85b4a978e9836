"""What many tests stand on: where the real clips lie, and one small archive, run once from files to report."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Small arrays on shared cores: more threads only wait for one another. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"


def pytest_runtest_setup() -> None:
    """Each test begins without a Dagster instance that is gone.

    Dagster keeps a variable of the instance opened last. One that was not closed, or closed out of turn, stays there when it is gone, and
    then no definitions can be loaded: tests failed or passed by what ran before them in the same process.
    """
    if "dagster" not in sys.modules:
        return
    from dagster._core.storage.defs_state import base

    storage = base.DefsStateStorage.get()
    kept = getattr(storage, "_instance_weakref", None)
    if kept is not None and kept() is None:
        base._current_storage.set(None)


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real clips beside the checkout; the test is skipped where it is absent."""
    if not REALDATA.is_dir():
        pytest.skip(f"no real clips at {REALDATA}")
    return REALDATA


SMALL = Path(__file__).with_name("small.yaml")


@pytest.fixture(scope="session")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a small phantom archive went through everything once. Tests read it; whoever writes takes a copy."""
    from enrich_assets.archive.ingest import ingest
    from enrich_assets.studies.phantom import write_phantom
    from enrich_assets_tests.made_home import finished, opened

    home = tmp_path_factory.mktemp("small") / "home"
    home.mkdir()
    write_phantom(str(home / "phantom"), patients=8, scale=0.15)
    (home / "enrich.yaml").write_text(SMALL.read_text(encoding="utf-8"), encoding="utf-8")
    archive = opened(home)
    ingest(archive, str(home / "phantom"), "first")
    finished(archive)
    return home


@pytest.fixture
def small(small_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to do with as one likes; ENRICH_HOME names it."""
    import shutil

    home = tmp_path / "home"
    shutil.copytree(small_home, home)
    monkeypatch.setenv("ENRICH_HOME", str(home))
    monkeypatch.delenv("ENRICH_PROFILE", raising=False)
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    return home
