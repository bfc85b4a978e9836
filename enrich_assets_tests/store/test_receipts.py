"""Artefacts and receipts: whole or not at all, named by content, with a history; on any fsspec address."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enrich_assets.store.artefacts import Store
from enrich_assets.store.folder import Folder
from enrich_assets.store.receipts import Cell, DamagedStore, MissingArtefact, Origin, Receipt, Receipts, history_file

CELL = Cell("view/enrich/model", "25%|3")


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store in a local folder, and one in memory: nothing may depend on which."""
    return Store(str(tmp_path / "store") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def made(store: Store, value: int, **metrics: object) -> Receipt:
    draft = store.draft(CELL, settings="s", inputs={"up": "1"})
    draft.array("numbers", np.full(5, value))
    draft.table("rows", pd.DataFrame({"frame_id": ["a/b/0"], "value": [value]}))
    draft.weights("model", {"w": np.full((2, 2), value, np.float32)})
    draft.write("note.txt", b"seconds differ", note=True)
    return draft.commit(**metrics)


def test_what_was_written_is_read_back(store: Store) -> None:
    receipt = made(store, 7, seconds=1.5)
    again = Store(store.folder.url)
    held = again.receipts.require(CELL)
    assert held == receipt
    assert again.array(held, "numbers").tolist() == [7] * 5
    assert again.table(held, "rows")["value"].tolist() == [7]
    assert again.weights(held, "model")["w"].tolist() == [[7, 7], [7, 7]]
    assert held.metrics == {"seconds": 1.5}


def test_a_scalar_stays_a_scalar(store: Store) -> None:
    draft = store.draft(CELL, settings="s", inputs={})
    draft.array("one", np.asarray(3))
    assert store.array(draft.commit(), "one").shape == ()


def test_equal_content_has_an_equal_digest(store: Store) -> None:
    assert made(store, 1).digest == made(store, 1).digest != made(store, 2).digest


def test_notes_do_not_count_into_the_digest(store: Store) -> None:
    first = made(store, 1)
    draft = store.draft(CELL, settings="s", inputs={"up": "1"})
    draft.array("numbers", np.full(5, 1))
    draft.table("rows", pd.DataFrame({"frame_id": ["a/b/0"], "value": [1]}))
    draft.weights("model", {"w": np.full((2, 2), 1, np.float32)})
    draft.write("note.txt", b"other seconds", note=True)
    assert draft.commit().digest == first.digest


def test_earlier_versions_stay_in_the_history(store: Store) -> None:
    first, second = made(store, 1), made(store, 2)
    assert [r.digest for r in store.receipts.history(CELL.asset)] == [first.digest, second.digest]
    assert store.receipts.earlier(CELL, first.name) == first
    assert store.array(first, "numbers").tolist() == [1] * 5


def test_a_cell_never_made_says_what_to_do(store: Store) -> None:
    with pytest.raises(MissingArtefact, match=r"view/enrich/model\[25%\|3\] has not been made yet.*enrich run"):
        store.receipts.require(CELL)


def test_cells_are_named_both_ways() -> None:
    for cell in (CELL, Cell("vae_weights"), Cell("frames", "batch-0001")):
        assert Cell.parse(str(cell)) == cell


def test_a_flipped_byte_in_weights_is_refused(store: Store) -> None:
    receipt = made(store, 1)
    name = store.path(receipt, "model.safetensors")
    content = bytearray(store.folder.read(name))
    content[-2] ^= 1
    store.folder.write(name, bytes(content))
    assert store.damaged(receipt) == {"model.safetensors": "changed"}
    with pytest.raises(DamagedStore, match="is not what"):
        store.weights(receipt, "model")


def test_a_file_that_is_gone_is_named(store: Store) -> None:
    receipt = made(store, 1)
    store.folder.remove(store.path(receipt, "rows.parquet"))
    assert store.damaged(receipt) == {"rows.parquet": "gone"}
    with pytest.raises(DamagedStore, match=r"rows\.parquet is gone"):
        store.table(receipt, "rows")


def test_making_a_damaged_artefact_again_mends_it(store: Store) -> None:
    receipt = made(store, 1)
    store.folder.write(store.path(receipt, "numbers.npy"), b"rubbish")
    assert made(store, 1).digest == receipt.digest
    assert store.damaged(receipt) == {}


def test_an_interrupted_draft_leaves_nothing_current_and_is_continued(store: Store) -> None:
    draft = store.draft(CELL, settings="s", inputs={"up": "1"})
    draft.array("part", np.arange(3))
    assert store.receipts.current(CELL) is None
    again = Store(store.folder.url).draft(CELL, settings="s", inputs={"up": "1"})
    assert again.has("part.npy")
    other = Store(store.folder.url).draft(CELL, settings="s", inputs={"up": "2"})
    assert not other.has("part.npy"), "a draft from other inputs is another draft"


def test_a_receipt_that_is_rubbish_is_named_and_its_cell_counts_as_never_made(store: Store) -> None:
    receipt = made(store, 1)
    store.folder.write(f"receipts/{CELL.folder}.json", b"{")
    again = Store(store.folder.url)
    with pytest.raises(MissingArtefact, match="enrich run"):
        again.receipts.require(CELL)
    assert "is not a receipt any more" in again.receipts.unreadable[CELL]
    made(again, 1)
    assert again.receipts.require(CELL).name == receipt.name
    assert again.receipts.unreadable == {}


def test_an_earlier_receipt_that_is_rubbish_is_named(store: Store) -> None:
    receipt = made(store, 1)
    made(store, 2)
    store.folder.write(history_file(CELL, receipt.name), b"{")
    with pytest.raises(DamagedStore, match="is not a receipt any more"):
        store.receipts.earlier(CELL, receipt.name)
    assert [r.metrics for r in store.receipts.history(CELL.asset)] == [{}], "one of today does not hang on it"


def test_the_same_content_from_other_inputs_or_settings_is_another_receipt(store: Store) -> None:
    """Named by content alone, the receipt of a subset named another ranking once a batch had come."""

    def written(settings: str, inputs: dict[str, str], ranking: str) -> Receipt:
        draft = store.draft(CELL, settings=settings, inputs=inputs)
        draft.array("numbers", np.arange(3))
        draft.read_from = {"view/enrich/ranking[0]": Origin("content", ranking)}
        return draft.commit()

    receipts = [
        written("s", {"up": "1"}, "first"),
        written("t", {"up": "1"}, "first"),
        written("s", {"up": "2"}, "first"),
        written("s", {"up": "1"}, "second"),
    ]
    assert len({receipt.digest for receipt in receipts}) == 1
    assert len({receipt.name for receipt in receipts}) == 4
    for receipt in receipts:
        assert store.receipts.earlier(CELL, receipt.name) == receipt


def test_a_reader_sees_the_old_or_the_new_file_whole(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a/b.bin", b"old")
    with open(tmp_path / "a" / "b.bin", "rb") as reader:
        folder.write("a/b.bin", b"new and longer")
        assert reader.read() == b"old"
    assert folder.read("a/b.bin") == b"new and longer"
    assert list(folder.files()) == ["a/b.bin"]


class Counted(Folder):
    """A folder that counts what it is asked to read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[str] = []

    def read(self, name: str) -> bytes:
        self.asked.append(name)
        return super().read(name)

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        self.asked += names
        return super().read_many(names)


def test_receipts_elsewhere_are_read_again_only_where_they_changed() -> None:
    """A look at a thousand cells costs a listing, and a read for each that was made since."""
    url = f"memory://{uuid.uuid4().hex}"
    cells = [Cell("view/enrich/model", f"10|{seed}") for seed in range(20)]
    others = Store(url)
    for cell in cells:
        others.draft(cell, settings="s", inputs={}).commit()
    receipts = Receipts(Counted(url))
    never = Cell("view/enrich/model", "20|0")
    receipts.expect([*cells, never])
    assert len(receipts.folder.asked) == 20  # type: ignore[attr-defined]
    assert all(receipts.current(cell) is not None for cell in cells)
    assert receipts.current(never) is None
    assert len(receipts.folder.asked) == 20  # type: ignore[attr-defined]

    others.draft(cells[3], settings="other", inputs={}).commit()
    receipts.refresh()
    receipts.expect(cells)
    assert receipts.folder.asked[20:] == ["receipts/view/enrich/model/10__3.json"]  # type: ignore[attr-defined]
    assert receipts.require(cells[3]).settings == "other"


def test_one_receipt_elsewhere_costs_one_read() -> None:
    url = f"memory://{uuid.uuid4().hex}"
    Store(url).draft(CELL, settings="s", inputs={}).commit()
    receipts = Receipts(Counted(url))
    assert receipts.require(CELL).settings == "s"
    assert len(receipts.folder.asked) == 1  # type: ignore[attr-defined]


def test_a_checkpoint_stays_until_the_receipt_is_written(store: Store) -> None:
    """Killed between the last step of a training and its receipt, the next attempt goes on from the checkpoint."""
    draft = store.draft(CELL, settings="s", inputs={"up": "1"})
    draft.scratch("checkpoint", b"epoch 7")
    draft.done()
    draft.write("model.bin", b"weights")
    again = Store(store.folder.url, store.cache).draft(CELL, settings="s", inputs={"up": "1"})
    assert again.scratched("checkpoint") == b"epoch 7"
    again.write("model.bin", b"weights")
    again.commit()
    assert not list(store.folder.files("drafts"))


def test_a_receipt_copied_with_another_field_has_the_name_of_what_it_holds() -> None:
    first = Receipt(asset="a", digest="1", settings="s", read={"b[1]": Origin("x", "y")})
    assert first.digests_read == {"b": {"b[1]": "x"}}
    other = first.model_copy(update={"inputs": {"b[1]": "x"}, "read": {}})
    assert other.name != first.name
    assert other.digests_read == {}
