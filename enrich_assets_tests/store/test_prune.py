"""What may go from a store: whatever nothing of today stands on, and nothing that somebody may be about to name."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from enrich_assets.store.artefacts import Store
from enrich_assets.store.prune import LEAVE_SECONDS, prunable, prune
from enrich_assets.store.receipts import Cell, DamagedStore, Origin, Receipt

UP, DOWN = Cell("ranking", "0"), Cell("subset", "10|0")


def later() -> float:
    """A clock that is past the time for which young files are left alone."""
    return time.time() + LEAVE_SECONDS + 60


def made(store: Store, cell: Cell, value: int, read: Receipt | None = None) -> Receipt:
    draft = store.draft(cell, settings="s", inputs={"value": str(value)})
    draft.array("numbers", np.full(5, value))
    if read is not None:
        draft.read_from = {str(read.cell): Origin(read.digest, read.name)}
    return draft.commit()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def test_a_store_without_a_past_has_nothing_to_remove(store: Store) -> None:
    made(store, DOWN, 1, made(store, UP, 1))
    assert prunable(store, later).files == []


def test_a_replaced_version_goes_with_its_receipt(store: Store) -> None:
    old, new = made(store, UP, 1), made(store, UP, 2)
    found = prunable(store, later)
    assert found.n_receipts == 1
    assert {name.split("/")[0] for name in found.files} == {"history", "artefacts"}
    assert found.n_bytes == sum(len(store.folder.read(name)) for name in found.files)
    prune(store, found)
    assert store.receipts.earlier(UP, old.name) is None
    assert store.damaged(new) == {}
    assert store.receipts.earlier(UP, new.name) == new
    assert prunable(store, later).files == []


def test_what_a_current_cell_was_made_from_stays_though_it_was_replaced_since(store: Store) -> None:
    """A bought subset stands on the ranking it was cut from, not on that of today."""
    old = made(store, UP, 1)
    made(store, DOWN, 1, old)
    made(store, UP, 2)
    assert prunable(store, later).files == []
    assert store.damaged(old) == {}


def test_a_chain_is_followed_to_its_end(store: Store) -> None:
    first = made(store, Cell("frames", "one"), 1)
    ranking = made(store, UP, 1, first)
    made(store, DOWN, 1, ranking)
    made(store, Cell("frames", "one"), 2)
    made(store, UP, 2)
    prune(store, prunable(store, later))
    assert store.damaged(first) == {}


def test_what_is_young_is_left_alone(store: Store) -> None:
    made(store, UP, 1)
    made(store, UP, 2)
    store.draft(DOWN, settings="s", inputs={}).array("half", np.arange(3))
    assert prunable(store).files == []
    assert len(prunable(store, later).files) == 3


def test_what_interrupted_attempts_left_goes(store: Store) -> None:
    draft = store.draft(DOWN, settings="s", inputs={})
    draft.array("half", np.arange(3))
    draft.scratch("checkpoint", b"where it stopped")
    prune(store, prunable(store, later))
    assert list(store.folder.files("drafts")) == []
    assert not Path(store.folder.path("drafts/subset")).exists(), "empty folders go, too"


def test_with_a_current_receipt_that_cannot_be_read_nothing_is_removed(store: Store) -> None:
    made(store, UP, 1)
    made(store, UP, 2)
    store.folder.write(f"receipts/{UP.folder}.json", b"{")
    with pytest.raises(DamagedStore, match="is not a receipt any more"):
        prunable(store, later)
