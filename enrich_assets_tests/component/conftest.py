"""The mounted project, made anew for each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from enrich_assets.archive.ingest import ingest
from enrich_assets_tests.component.mounted import (
    DEFINITIONS,
    NAMES,
    ONE,
    PROFILE,
    PYPROJECT,
    TWO,
    Project,
    write_stills,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Two archives, a batch of stills ingested into each; one has its profile beside its `defs.yaml`, the other in home."""
    for variable in ("ENRICH_HOME", "ENRICH_PROFILE", "ENRICH_STORE", "DAGSTER_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ARCHIVES", str(tmp_path / "archives"))
    made = Project(tmp_path, "mounting")
    for text, file in (
        (PYPROJECT.format(package=made.package), "pyproject.toml"),
        ("", "mounting/__init__.py"),
        (DEFINITIONS, "mounting/definitions.py"),
        ("", "mounting/defs/__init__.py"),
        (ONE, "mounting/defs/one/defs.yaml"),
        (PROFILE, "mounting/defs/one/profile.yaml"),
        (TWO, "mounting/defs/two/defs.yaml"),
        (PROFILE, "archives/two/enrich.yaml"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    for number, name in enumerate(NAMES):
        ingest(made.archive(name), str(write_stills(tmp_path / "stills" / name, seed=number)), f"first_of_{name}")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield made
    for module in [module for module in sys.modules if module.split(".")[0] == made.package]:
        del sys.modules[module]
