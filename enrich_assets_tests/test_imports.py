"""The house: imports run one way, `cli` and `component` -> `running` -> `defs` -> `core` -> `archive` -> `store`, `studies`, `report`
-> `method`, with no other arrow and no cycle; and no file, room or staircase of imports grows beyond what one can keep in mind.

Imports inside functions count as any other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import enrich_assets

HOUSE = Path(enrich_assets.__file__).parent
MAY: dict[str, set[str]] = {  # room -> the rooms it may import, and no other
    "method": set(),
    "progress": set(),
    "parquet": set(),
    "settings": {"method"},
    "profiles": {"settings"},
    "studies": {"method", "parquet"},
    "store": {"method", "parquet"},
    "report": {"method"},
    "archive": {"store", "studies", "method", "settings", "profiles", "progress", "parquet"},
    "core": {"archive", "store", "settings", "progress"},
    "defs": {"core", "archive", "store", "studies", "report", "method", "settings"},
    "running": {"defs", "core", "archive", "store", "studies", "report", "method", "settings", "progress", "parquet"},
    "definitions": {"defs", "profiles"},
    "component": {"defs", "archive", "profiles", "settings"},
    "api": {"archive", "store", "method"},
    "commands": {"running", "defs", "core", "archive", "store", "studies", "report", "method", "profiles"},
    "cli": {"commands", "profiles"},
}
NEVER_IN_METHOD = {"dagster", "mlflow", "duckdb", "pathlib", "fsspec", "logging", "time"}
NO_DAGSTER = ("method", "studies", "store", "report", "archive", "core", "settings", "profiles", "progress", "parquet")
MOST_LINES, MOST_FILES, MOST_FLOORS = 400, 14, 8


def files() -> list[Path]:
    return sorted(HOUSE.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in files()}


@cache
def imports(file: Path) -> frozenset[str]:
    """Absolute names of all that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def module_that_holds(name: str) -> str | None:
    """The module of ours that an imported name is, or is in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


@cache
def imported_modules(module: str) -> frozenset[str]:
    """Modules of ours that a module imports; not itself, nor the package it lies in (which Python has loaded before it)."""
    found = {module_that_holds(name) for name in imports(MODULES[module])} - {None, module}
    return frozenset(str(name) for name in found if not module.startswith(f"{name}."))


def room(module: str) -> str:
    """The first floor below the package; its own door where it is none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_room_is_in_the_plan() -> None:
    rooms = {room(module) for module in MODULES} - {""}
    assert rooms - {"component"} == set(MAY) - {"component"}


def test_the_plan_itself_runs_one_way() -> None:
    def below(name: str, seen: tuple[str, ...] = ()) -> Iterator[str]:
        assert name not in seen, " -> ".join([*seen, name])
        for other in MAY[name]:
            yield other
            yield from below(other, (*seen, name))

    for name in MAY:
        assert name not in set(below(name))


@pytest.mark.parametrize("place", sorted(MAY))
def test_imports_run_one_way(place: str) -> None:
    modules = [module for module in MODULES if room(module) == place]
    assert modules or place == "component"
    for module in modules:
        rooms = {room(other) for other in imported_modules(module)} - {"", place}
        assert rooms <= MAY[place], f"{module} imports {sorted(rooms - MAY[place])}"


@pytest.mark.parametrize("place", sorted(set(MAY) - {"component"}))
def test_no_arrow_of_the_plan_is_without_an_import(place: str) -> None:
    """So the plan says what really holds."""
    rooms = {room(other) for module in MODULES if room(module) == place for other in imported_modules(module)}
    assert MAY[place] <= rooms | {"", place}, sorted(MAY[place] - rooms)


def test_nothing_imports_itself_by_a_detour() -> None:
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(imported_modules(module)):
                walk(other, (*path, module))
            done.add(module)

    for module in MODULES:
        walk(module, ())
    assert done == set(MODULES)


def test_no_file_is_longer_and_no_room_fuller_or_deeper_than_one_can_keep_in_mind() -> None:
    too_long = [str(file) for file in files() if len(file.read_text(encoding="utf-8").splitlines()) > MOST_LINES]
    assert not too_long
    rooms: dict[Path, list[str]] = {}
    for module, file in MODULES.items():
        rooms.setdefault(file.parent, []).append(module)
    for folder, modules in rooms.items():
        assert sum(1 for module in modules if MODULES[module].name != "__init__.py") <= MOST_FILES, folder

        def floors(module: str, members: frozenset[str] = frozenset(modules)) -> int:
            return 1 + max((floors(other, members) for other in imported_modules(module) & members), default=0)

        assert max(map(floors, modules)) <= MOST_FLOORS, folder


def test_the_method_knows_no_orchestrator_and_no_path() -> None:
    for file in (HOUSE / "method").rglob("*.py"):
        heads = {name.split(".")[0] for name in imports(file)}
        assert not heads & NEVER_IN_METHOD, f"{file.name} imports {sorted(heads & NEVER_IN_METHOD)}"


@pytest.mark.parametrize("place", NO_DAGSTER)
def test_dagster_stays_where_it_is_seen(place: str) -> None:
    for module, file in MODULES.items():
        if room(module) == place:
            assert "dagster" not in {name.split(".")[0] for name in imports(file)}, module


@pytest.mark.parametrize("entrance", ["definitions", "cli"])
def test_entrances_load_without_torch_and_mlflow(entrance: str) -> None:
    code = f"import sys, enrich_assets.{entrance}; print([m for m in ('torch', 'mlflow', 'numba', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
