"""A handful of stills with a manifest, for tests that need an archive but no phantom; and cells made without Dagster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from enrich_assets.archive import Archive
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets.core.making import make
from enrich_assets.core.planner import Planner, Verdict
from enrich_assets.core.step import CHECK_SIGN
from enrich_assets.defs.assets import graph_of
from enrich_assets.profiles import load_profile
from enrich_assets.store.receipts import Cell, Receipt

SMALL = Path(__file__).parents[1] / "small.yaml"


def write_stills(folder: Path, rows: list[dict[str, object]], side: int = 60) -> Path:
    """A picture of noise for each row that has no `path` yet (`i0.png`, ...), and the manifest; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(folder.name.encode()))
    for number, row in enumerate(rows):
        row.setdefault("path", f"i{number}.png")
        Image.fromarray(rng.integers(0, 255, (side, side), dtype=np.uint8)).save(folder / str(row["path"]))
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder


def opened(home: Path, text: str = "") -> Archive:
    """An archive in `home` under the small profile, with what `text` (YAML) says otherwise."""
    return extended(home, SMALL, text)


def extended(home: Path, profile: Path, text: str = "") -> Archive:
    """An archive in `home` under a profile, with what `text` (YAML) says otherwise."""
    home.mkdir(parents=True, exist_ok=True)
    own = home / "own.yaml"
    own.write_text(f"extends: {profile}\n{text}", encoding="utf-8")
    return Archive(home, load_profile(str(own)))


def planner_of(archive: Archive) -> Planner:
    """A planner that sees what is in the store now."""
    archive.store.receipts.refresh()
    return Planner(archive, graph_of(archive.profile))


def make_cells(archive: Archive, partition: str, *keys: str) -> Receipt:
    """Make these cells (all that reading a batch gives, if none is named), each asset with its checks; the last one's receipt."""
    planner = planner_of(archive)
    for key in keys or BATCH_ASSETS:
        declared = planner.graph[key]
        receipt = make(planner, declared, partition).receipt
        for check in planner.graph.checks_of(key):
            make(planner, check, partition)
    return receipt


def bring_up_to_date(archive: Archive, partition: str, *keys: str) -> dict[str, str]:
    """Make what is stale among these cells and their checks, in order: str(cell) -> why it was."""
    planner = planner_of(archive)
    why: dict[str, str] = {}
    for key in keys:
        for declared in planner.graph.with_checks([key]):
            verdict = planner.verdict(declared, partition)
            assert not verdict.is_blocked, verdict
            if verdict.is_stale:
                why[str(declared.cell(partition))] = verdict.why
                make(planner, declared, partition)
    return why


def verdict(archive: Archive, key: str, partition: str = "") -> Verdict:
    planner = planner_of(archive)
    return planner.verdict(planner.graph[key], partition)


def is_fresh(archive: Archive, key: str, partition: str = "") -> bool:
    return verdict(archive, key, partition).is_fresh


def tamper(archive: Archive, cell: Cell, *, metrics: dict[str, Any] | None = None, **content: Any) -> Receipt:
    """Replace tables (DataFrames), arrays or metrics of a cell, as if our own code had written them wrong: its receipt agrees."""
    receipt = archive.store.receipts.require(cell)
    draft = archive.store.draft(cell, settings=receipt.settings, inputs=receipt.inputs)
    draft.read_from = dict(receipt.read)
    for name in receipt.files:
        if name.rpartition(".")[0] not in content:
            draft.write(name, archive.store.read(receipt, name))
    for name in receipt.notes:
        draft.write(name, archive.store.read(receipt, name), note=True)
    for name, value in content.items():
        draft.table(name, value) if isinstance(value, pd.DataFrame) else draft.array(name, value)
    assert CHECK_SIGN not in cell.asset
    return draft.commit(run_id=receipt.run_id, **{**receipt.metrics, **(metrics or {})})
