"""The world of drops, empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrich_assets_tests.defs.drop_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
