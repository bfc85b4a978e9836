"""The rooms of `studies`: which builds on which, and what walking through a door costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import enrich_assets.studies

STUDIES = Path(enrich_assets.studies.__file__).parent
BUILDS_ON = {
    "decoding": set(),
    "dicom": {"decoding"},
    "readers": {"decoding", "dicom"},
    "labels": {"readers"},
    "datasets": set(),
    "phantom": set(),
}


@pytest.mark.parametrize("place", sorted(BUILDS_ON))
def test_rooms_build_on_each_other_one_way(place: str) -> None:
    for file in (STUDIES / place).rglob("*.py"):
        modules = {
            node.module
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("enrich_assets.studies.")
        }
        rooms = {module.split(".")[2] for module in modules} & set(BUILDS_ON) - {place}
        assert rooms <= BUILDS_ON[place], f"{place}/{file.name} imports {sorted(rooms - BUILDS_ON[place])}"


def test_pseudonyms_come_without_the_decoders() -> None:
    """Every command opens an archive, and with it its key; few decode a picture."""
    code = "import sys, enrich_assets.studies.dicom; print([m for m in ('cv2', 'av', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
