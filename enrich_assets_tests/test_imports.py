"""The import rule of the house: `defs` -> `store`, `studies`, `report` -> `method`, and no other arrow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import enrich_assets

HOUSE = Path(enrich_assets.__file__).parent
MAY = {
    "method": set(),
    "studies": {"method"},
    "store": {"method"},
    "report": {"method"},
    "defs": {"method", "studies", "store", "report", "settings", "archive", "progress"},
    "archive": {"method", "studies", "store", "settings"},
    "settings": {"method"},
    "progress": set(),
}
NEVER_IN_METHOD = {"dagster", "mlflow", "duckdb", "pathlib", "fsspec", "logging", "time"}


def imports(file: Path) -> set[str]:
    """Absolute names of all that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "enrich_assets" and len(parts) > 1 else None


@pytest.mark.parametrize("place", sorted(MAY))
def test_imports_run_one_way(place: str) -> None:
    files = [HOUSE / f"{place}.py"] if (HOUSE / f"{place}.py").exists() else sorted((HOUSE / place).rglob("*.py"))
    assert files
    for file in files:
        rooms = {room(name) for name in imports(file)} - {None, place}
        assert rooms <= MAY[place], f"{file.relative_to(HOUSE)} imports {sorted(rooms - MAY[place])}"


def test_the_method_knows_no_orchestrator_and_no_path() -> None:
    for file in (HOUSE / "method").rglob("*.py"):
        heads = {name.split(".")[0] for name in imports(file)}
        assert not heads & NEVER_IN_METHOD, f"{file.name} imports {sorted(heads & NEVER_IN_METHOD)}"


def test_definitions_load_without_torch_and_mlflow() -> None:
    code = "import sys, enrich_assets.definitions; print([m for m in ('torch', 'mlflow', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
