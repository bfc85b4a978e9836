"""Homes for tests that go through files, runs and receipts: opened, driven, and single cells made or read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.core import making
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets.core.making import Made
from enrich_assets.core.planner import Planner, Verdict
from enrich_assets.core.stages import Goal
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.instance import open_instance
from enrich_assets.profiles import load_profile
from enrich_assets.running.driver import Driver, Outcome, Say
from enrich_assets.store.published import query
from enrich_assets.store.receipts import Cell, Receipt


def opened(home: Path) -> Archive:
    """The archive of a home as it is now, under its own profile."""
    return Archive(home, load_profile(str(home / "enrich.yaml")))


def run(archive: Archive, goal: Goal = Goal(), say: Say = print) -> Outcome:  # noqa: B008  (frozen)
    """`enrich run` on the batches that the archive has now."""
    with open_instance(archive) as instance:
        return Driver(archive, instance, say, goal).run()


def finished(archive: Archive, goal: Goal = Goal()) -> Outcome:  # noqa: B008  (frozen)
    """The same, of which nothing may fail or be blocked."""
    outcome = run(archive, goal)
    assert not outcome.failed, outcome.failed
    assert not outcome.blocked, outcome.blocked
    return outcome


def planner(archive: Archive) -> Planner:
    return Planner(archive, graph_of(archive.profile))


def verdict(archive: Archive, key: str, partition: str = "") -> Verdict:
    """What the planner says of a cell now."""
    now = planner(archive)
    return now.verdict(now.graph[key], partition)


def make(archive: Archive, key: str, partition: str = "") -> Made:
    """Make one cell, fresh or not."""
    now = planner(archive)
    return making.make(now, now.graph[key], partition)


def decode(archive: Archive) -> None:
    """Read every batch, as the first stage of a run does, without Dagster."""
    now = planner(archive)
    for batch in archive.batches:
        for declared in now.graph.with_checks(BATCH_ASSETS):
            making.make(now, declared, batch)


def held(archive: Archive, key: str) -> dict[str, Receipt]:
    """Partition -> receipt, of an asset's cells that are asked for and made."""
    return planner(archive).held(key)


def receipt(archive: Archive, key: str, partition: str = "") -> Receipt:
    return archive.store.receipts.require(Cell(key, partition))


def file_of(archive: Archive, key: str, partition: str, name: str) -> Path:
    """Where a file of a current artefact lies."""
    return Path(archive.store.folder.path(archive.store.path(receipt(archive, key, partition), name)))


def sql(archive: Archive, statement: str) -> pd.DataFrame:
    """Rows of the published database."""
    return query(str(archive.published), statement)
