"""What is read is what was written: one flipped byte in any kind of stored thing, and it is never used."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.store import integrity
from enrich_assets.store.annotations import Annotations
from enrich_assets.store.artefacts import Store
from enrich_assets.store.batches import Batches
from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import record_bytes, record_of
from enrich_assets.store.receipts import Cell, DamagedStore, MissingArtefact, Receipt, history_file

CELL = Cell("frames", "first")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def made(store: Store, value: int = 1, inputs: str = "1") -> Receipt:
    draft = store.draft(CELL, settings="s", inputs={"up": inputs})
    draft.array("view/0000", np.full((40, 8), value, np.uint8))
    draft.table("rows", pd.DataFrame({"frame_id": ["a/b/0"], "value": [value]}))
    draft.weights("model", {"w": np.full((2, 2), value, np.float32)})
    draft.array("picture", np.arange(9), note=True)
    return draft.commit(value=value)


def flip(store: Store, name: str, at: int) -> None:
    """One bit, in place, at the same time of change: nothing but the content tells."""
    path = Path(store.folder.path(name))
    content, before = bytearray(path.read_bytes()), path.stat()
    content[at] ^= 4
    path.write_bytes(bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


READERS = {
    "view/0000.npy": lambda store, receipt: store.array(receipt, "view/0000"),
    "picture.npy": lambda store, receipt: store.array(receipt, "picture"),
    "rows.parquet": lambda store, receipt: store.table(receipt, "rows"),
    "model.safetensors": lambda store, receipt: store.weights(receipt, "model"),
}


@pytest.mark.parametrize("at", [0, 9, -1], ids=["first", "header", "last"])
@pytest.mark.parametrize("name", READERS)
def test_a_flipped_byte_of_an_artefact_is_never_used(store: Store, name: str, at: int) -> None:
    receipt = made(store)
    flip(store, store.path(receipt, name), at)
    with pytest.raises(DamagedStore, match=rf"{name} is not what frames\[first\] wrote.*enrich repair"):
        READERS[name](store, receipt)


def test_a_mapped_array_is_compared_once_per_process_and_again_when_its_file_is_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = made(store)
    read: list[str] = []
    digest = Folder.digest
    monkeypatch.setattr(Folder, "digest", lambda folder, name: read.append(name) or digest(folder, name))
    for opened in (store, store, Store(store.folder.url)):
        assert opened.array(receipt, "view/0000").sum() == 320
    assert len(read) == 1, "also by another archive of this process"
    path = store.path(receipt, "view/0000.npy")
    store.folder.write(path, store.folder.read(path))
    assert store.array(receipt, "view/0000").sum() == 320
    assert len(read) == 2
    store.folder.write(path, store.folder.read(path)[:-1] + b"\7")
    with pytest.raises(DamagedStore):
        store.array(receipt, "view/0000")


def test_what_was_found_damaged_is_not_remembered_as_whole(store: Store) -> None:
    receipt = made(store)
    flip(store, store.path(receipt, "view/0000.npy"), -1)
    for _ in range(2):
        with pytest.raises(DamagedStore):
            store.array(receipt, "view/0000")
    assert store.folder.path(store.path(receipt, "view/0000.npy")) not in {path for path, _ in integrity._compared}


def test_a_changed_digit_of_a_receipt_is_never_used(store: Store) -> None:
    receipt = made(store, value=7)
    for name in (f"receipts/{CELL.folder}.json", history_file(CELL, receipt.name)):
        content = store.folder.read(name)
        assert content.count(b'"value": 7') == 1
        store.folder.write(name, content.replace(b'"value": 7', b'"value": 3'))
    again = Store(store.folder.url)
    with pytest.raises(MissingArtefact):
        again.receipts.require(CELL)
    assert again.receipts.history(CELL.asset) == []
    assert again.receipts.damaged_history() == [history_file(CELL, receipt.name)]


def test_the_receipt_of_another_cell_is_not_taken_for_this_one(store: Store) -> None:
    made(store)
    other = Cell("frames", "second")
    store.folder.write(f"receipts/{other.folder}.json", store.folder.read(f"receipts/{CELL.folder}.json"))
    assert store.receipts.current(other) is None
    assert "is the receipt of frames[first]" in store.receipts.unreadable[other]


def test_a_receipt_of_an_earlier_version_is_read_as_it_is(store: Store) -> None:
    """It carries neither a digest of its own nor a number."""
    receipt = made(store)
    old = receipt.model_dump(mode="json", exclude={"revision"})
    store.folder.write(f"receipts/{CELL.folder}.json", json.dumps(old).encode())
    assert Store(store.folder.url).receipts.require(CELL).name == receipt.name


def test_receipts_are_ordered_by_their_number_when_a_clock_is_set_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(["2026-03-01T00:00:00", "2026-01-01T00:00:00", "2026-02-01T00:00:00", "2025-01-01T00:00:00"])
    monkeypatch.setattr("enrich_assets.store.artefacts.now", lambda: next(times))
    receipts = [made(store, value, inputs=str(value)) for value in (1, 2, 3)]
    assert store.receipts.history(CELL.asset) == receipts
    store.receipts.forget(CELL)
    receipts.append(made(store, 4, inputs="4"))
    assert Store(store.folder.url).receipts.history(CELL.asset) == receipts
    assert [receipt.revision for receipt in receipts] == [1, 2, 3, 4]


RECORD = {"name": "é", "numbers": [1, 2.5], "nested": {"checksum": "of what stands before: "}, "nothing": float("inf")}


def test_a_record_is_read_back() -> None:
    assert record_of(record_bytes(RECORD)) == RECORD
    assert list(record_of(record_bytes(RECORD))) == list(RECORD)
    assert record_of(record_bytes({})) == {}
    with pytest.raises(ValueError, match="not a record"):
        record_of(b"[]")


@given(st.data())
@settings(derandomize=True, deadline=None, max_examples=300)
def test_a_record_of_which_any_byte_changed_is_refused(data: st.DataObject) -> None:
    content = record_bytes(RECORD)
    at = data.draw(st.integers(0, len(content) - 1))
    other = bytes([content[at] ^ data.draw(st.integers(1, 255))])
    changed = data.draw(st.sampled_from([content[:at] + other + content[at + 1 :], content[:at] + content[at + 1 :]]))
    try:
        found = record_of(changed)
    except ValueError:
        return
    assert RECORD.items() < found.items(), "the name of the digest was hit, and it is an entry of which nobody knows"


def test_a_record_of_an_earlier_version_is_read_and_refused_by_the_digest_of_its_content() -> None:
    record = {**RECORD, "nested": {"a": None}}
    of_content = hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    content = json.dumps({**record, "checksum": of_content}, indent=1).encode()
    assert record_of(content) == record
    with pytest.raises(ValueError, match="not what was written"):
        record_of(content.replace(b"2.5", b"2.6"))
    assert record_of(json.dumps(record).encode()) == record, "the first ones had none"


@pytest.mark.parametrize("title", ["rows", "refused"])
def test_a_flipped_byte_in_the_manifest_of_a_batch_is_never_used(tmp_path: Path, title: str) -> None:
    batches = Batches(Folder(str(tmp_path)))
    table = pd.DataFrame({"path": ["a.png"], "reason": ["none"]})
    batch = batches.add("one", "d", "/somewhere", table, table)
    path = tmp_path / batch.folder / f"{title}.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedStore, match=r"ingest /somewhere again with `--batch one`"):
        getattr(batches, title)(batches.all()[0])


# ------------------------------------------------------------------------------------------------- labels imported since


def labels(label: str) -> pd.DataFrame:
    row = {"frame_id": "a/b/0", "label": label, "source": "file", "author": "", "recorded_at": None}
    return pd.DataFrame([row])


def test_the_last_import_counts_also_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Annotations(Folder(str(tmp_path)))
    for time, label in (("2026-05-01T00:00", "first"), ("2026-01-01T00:00", "second"), ("2025-01-01T00:00", "third")):
        monkeypatch.setattr("enrich_assets.store.annotations.now", lambda time=time: time)
        log.add("view", labels(label))
    assert log.all()["label"].tolist() == ["first", "second", "third"]


def test_entries_of_earlier_versions_come_first_in_their_old_order(tmp_path: Path) -> None:
    log = Annotations(Folder(str(tmp_path)))
    log.add("view", labels("new"))
    for name in ("2027-02-01T000000.000+0000-bbbbbbbb", "2026-02-01T000000.000+0000-aaaaaaaa"):
        old = labels(name[:4]).assign(task="view", mask_row=-1, entry=name, imported_at=name)
        (tmp_path / "annotations" / f"{name}.parquet").write_bytes(old.to_parquet(index=False))
    assert log.all()["label"].tolist() == ["2026", "2027", "new"]
    log.add("view", labels("newest"))
    assert log.all()["label"].tolist() == ["2026", "2027", "new", "newest"]


def test_an_entry_is_named_alike_whenever_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for home, time in (("one", "2026-05-01T00:00"), ("two", "2027-05-01T00:00")):
        monkeypatch.setattr("enrich_assets.store.annotations.now", lambda time=time: time)
        names.append(Annotations(Folder(str(tmp_path / home))).add("view", labels("a"), [np.ones((2, 2), np.uint8)]))
    assert names[0] == names[1]


@pytest.mark.parametrize("suffix", ["parquet", "npz", "json"])
def test_a_flipped_byte_in_imported_labels_is_never_used(tmp_path: Path, suffix: str) -> None:
    log = Annotations(Folder(str(tmp_path)))
    entry = log.add("masks", labels(""), [np.ones((4, 4), np.uint8)])
    path = tmp_path / "annotations" / f"{entry}.{suffix}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedStore, match=r"put it back from a backup, or remove .* import those labels again"):
        log.mask(entry, int(log.all()["mask_row"].iloc[0]))


def test_an_import_that_was_cut_off_is_none(tmp_path: Path) -> None:
    """Its record is written last."""
    log = Annotations(Folder(str(tmp_path)))
    entry = log.add("view", labels("cut off"))
    (tmp_path / "annotations" / f"{entry}.json").unlink()
    log.add("view", labels("whole"))
    assert log.all()["label"].tolist() == ["whole"]


# ------------------------------------------------------------------------------------------------------------- a full disk


def test_a_full_disk_leaves_no_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a.bin", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write("a.bin", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert folder.read("a.bin") == b"old"


def test_a_name_with_a_pattern_in_it_removes_nothing_else(tmp_path: Path) -> None:
    for home in ("h?me", "home"):
        Folder(str(tmp_path / home)).write("drafts/x", b"1")
    Folder(str(tmp_path / "h?me")).remove("drafts")
    assert not (tmp_path / "h?me" / "drafts").exists()
    assert (tmp_path / "home" / "drafts" / "x").exists()
