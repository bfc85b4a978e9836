"""`enrich prune` on a home with a past: it lists, removes when told to, and leaves what stands on its feet."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from enrich_assets.archive import Archive
from enrich_assets.cli import main
from enrich_assets.profiles import load_profile
from enrich_assets.store.prune import LEAVE_SECONDS, prunable
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.made_home import file_of, finished, opened, receipt, run, sql

pytestmark = pytest.mark.long

CELL = "10|0"


def enrich(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def with_positive(home: Path, name: str) -> Archive:
    """The archive in which another class of the task `view` is the positive one."""
    own = home / "enrich.yaml"
    view = f"  view:\n    positive: {name}\n"
    own.write_text(own.read_text(encoding="utf-8").replace("  view:\n", view, 1), encoding="utf-8")
    return Archive(home, load_profile(str(own)))


@pytest.fixture
def superseded(small: Path) -> Path:
    """A home whose evaluations of `view` were all replaced by others."""
    archive = with_positive(small, "NT")
    finished(archive)
    return small


def long_ago(store: Path) -> None:
    """As if everything in the store had been written before yesterday."""
    then = time.time() - 24 * 3600 - LEAVE_SECONDS
    for path in store.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def files(store: Path) -> set[str]:
    rooms = ("history", "artefacts", "drafts", "receipts")
    return {str(path.relative_to(store)) for room in rooms for path in (store / room).rglob("*") if path.is_file()}


@pytest.mark.parametrize("harm", ["removed", "damaged"])
def test_an_old_prediction_that_is_gone_or_damaged_stops_no_publishing(small: Path, harm: str) -> None:
    was = receipt(opened(small), "view/enrich/evaluation", CELL)
    old = file_of(opened(small), "view/enrich/evaluation", CELL, "predictions.parquet")
    archive = with_positive(small, "NT")
    old.unlink() if harm == "removed" else old.write_bytes(old.read_bytes()[:-7])
    finished(archive)
    now = receipt(archive, "view/enrich/evaluation", CELL)
    assert now.digest != was.digest
    scored = sql(archive, "SELECT DISTINCT evaluation_id FROM predictions")["evaluation_id"].tolist()
    assert now.metrics["evaluation_id"] in scored
    assert was.metrics["evaluation_id"] not in scored
    listed = sql(archive, "SELECT evaluation_id, current FROM evaluations").set_index("evaluation_id")["current"]
    assert not listed[was.metrics["evaluation_id"]], "its number stays, marked not current"
    assert run(archive).runs == 0


def test_by_default_it_only_lists(superseded: Path) -> None:
    store = superseded / "store"
    long_ago(store)
    before = files(store)
    listed = enrich("prune")
    assert listed.exit_code == 0, listed.output
    found = prunable(opened(superseded).store)
    assert found.n_receipts >= 10, "the ten evaluations of view, and what is published"
    assert f"could be removed: {len(found.files):,} files" in listed.output
    assert "`enrich prune --yes` does it" in listed.output
    assert files(store) == before


def test_told_to_it_removes_and_every_current_chain_holds(superseded: Path) -> None:
    store = superseded / "store"
    archive = opened(superseded)
    current = {
        partition: archive.store.receipts.require(Cell("view/enrich/evaluation", partition)).metrics["evaluation_id"]
        for partition in ("10|0", "20|1")
    }
    draft = archive.store.draft(Cell("view/enrich/model", CELL), settings="interrupted", inputs={})
    draft.write("half.npy", b"half")
    long_ago(store)
    before, bytes_before = files(store), sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    removed = enrich("prune", "--yes")
    assert removed.exit_code == 0, removed.output
    assert "removed: " in removed.output
    gone = before - files(store)
    assert gone
    assert not any(name.startswith("receipts/") for name in gone)
    assert not (store / "drafts").exists() or not any((store / "drafts").rglob("*.npy"))
    assert sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) < bytes_before
    assert run(opened(superseded)).runs == 0, "nothing of today stood on it"
    chains = enrich("lineage", "--all")
    assert chains.exit_code == 0, chains.output
    assert "every link holds" in chains.output
    for evaluation in current.values():
        assert evaluation in chains.output
    assert "could be removed: 0 files" in enrich("prune").output


def test_what_was_just_written_is_left_alone(superseded: Path) -> None:
    before = files(superseded / "store")
    assert "removed: 0 files" in enrich("prune", "--yes").output
    assert files(superseded / "store") == before


def test_publishing_goes_on_after_the_past_is_gone(superseded: Path) -> None:
    long_ago(superseded / "store")
    assert enrich("prune", "--yes").exit_code == 0
    (superseded / "enrich.duckdb").unlink()
    archive = opened(superseded)
    finished(archive)
    assert sql(archive, "SELECT DISTINCT current FROM evaluations")["current"].tolist() == [True]
