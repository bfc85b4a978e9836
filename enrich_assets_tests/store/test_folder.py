"""A folder holds whole files, wherever it lies; what an object store does in another way shows nowhere else."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from enrich_assets.store.folder import Folder, NoSuchStore


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "store") if request.param == "local" else f"memory://{uuid.uuid4().hex}/store")


def test_files_written_together_are_read_together(folder: Folder) -> None:
    folder.write_many({"a/one": b"1", "a/b/two": b"2"})
    assert folder.read_many(["a/one", "a/b/two", "a/gone"]) == {"a/one": b"1", "a/b/two": b"2"}
    assert folder.read_many([]) == {}
    assert list(folder.files("a")) == ["a/b/two", "a/one"]
    assert sorted(folder.names("a")) == ["b/two", "one"]
    assert folder.folders("a") == ["b"]


def test_what_is_not_there_has_no_files(folder: Folder) -> None:
    assert list(folder.files("nothing")) == folder.names("nothing") == folder.folders("nothing") == []
    assert folder.stamps("nothing") == {}
    with pytest.raises(FileNotFoundError):
        folder.read("nothing")
    with pytest.raises(FileNotFoundError):
        folder.digest("nothing")


def test_files_that_got_no_answer_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was away while many were read is no reason to take any for gone, or one that is gone for an error."""
    folder = Folder(f"memory://{uuid.uuid4().hex}/store")
    folder.write("one", b"1")
    away = {folder.path(name): ConnectionRefusedError() for name in ("one", "gone")}
    monkeypatch.setattr(type(folder.fs), "cat", lambda *args, **options: away)
    assert folder.read_many(["one", "gone"]) == {"one": b"1"}


def test_a_stamp_changes_with_the_content_and_only_then(folder: Folder) -> None:
    folder.write_many({"r/one": b"1", "r/two": b"2"})
    before = folder.stamps("r")
    assert before.keys() == {"r/one", "r/two"}
    assert folder.stamps("r") == before
    folder.write("r/one", b"other")
    after = folder.stamps("r")
    assert after["r/two"] == before["r/two"]
    assert after["r/one"] != before["r/one"]


def test_a_folder_is_moved_file_by_file(folder: Folder) -> None:
    folder.write_many({"draft/a": b"1", "draft/deep/b": b"2", "draft.beside": b"3"})
    folder.move("draft", "kept/here")
    assert {name: folder.read(name) for name in folder.files()} == {
        "kept/here/a": b"1",
        "kept/here/deep/b": b"2",
        "draft.beside": b"3",
    }


def test_removing_a_folder_leaves_its_neighbours(folder: Folder) -> None:
    folder.write_many({"drafts/cell/a": b"1", "drafts/cell.scratch": b"2", "drafts/cellar/b": b"3"})
    folder.remove("drafts/cell")
    assert list(folder.files("drafts")) == ["drafts/cell.scratch", "drafts/cellar/b"]
    folder.remove_files(["drafts/cell.scratch", "drafts/never"])
    assert list(folder.files("drafts")) == ["drafts/cellar/b"]
    assert not folder.exists("drafts/cell")


def test_a_file_is_fetched_to_this_machine(folder: Folder, tmp_path: Path) -> None:
    folder.write("a/one.bin", b"1")
    folder.fetch("a/one.bin", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"1"
    with folder.local_copy("a/one.bin") as path:
        assert Path(path).name == "one.bin"


def test_an_address_nobody_speaks_is_refused_with_what_to_install() -> None:
    with pytest.raises(NoSuchStore, match="is no address of a store"):
        Folder("nonsense://there")
