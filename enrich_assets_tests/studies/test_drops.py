"""When a folder in `incoming/` counts as a complete drop, and how little is looked at when there are many."""

from __future__ import annotations

import json
import os
from pathlib import Path

import fsspec
import pytest

from enrich_assets.studies import drops
from enrich_assets.studies.drops import Drop, State, look


def mark_ingested(state: State, drop: Drop) -> State:
    """What the register adds to the state once a drop was dealt with."""
    return {**state, "ingested": {**state.get("ingested", {}), drop.key: drop.fingerprint}}


def drop(incoming: Path, name: str, content: str = "a", *, ready: bool = False, age: int = 0) -> Path:
    folder = incoming / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "frame.png").write_text(content)
    os.utime(folder / "frame.png", (1000 - age, 1000 - age))
    if ready:
        (folder / "_READY").touch()
    return folder


def names(found: list[drops.Drop]) -> list[str]:
    return [f"{one.state} {one.name}" for one in found]


def at(incoming: Path, state: State, now: float, reexamine: int = 50) -> tuple[list[drops.Drop], State]:
    """A look through the state's JSON, as the sensor's cursor makes it."""
    return look(str(incoming), json.loads(json.dumps(state)), now, settle_seconds=60, reexamine=reexamine)


def test_a_folder_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert at(tmp_path / "incoming", {}, 0)[0] == []


def test_a_drop_is_complete_when_it_has_stood_still(tmp_path: Path) -> None:
    drop(tmp_path, "a")
    found, state = at(tmp_path, {}, 0)
    assert found == []
    found, state = at(tmp_path, state, 59)
    assert found == []
    drop(tmp_path, "a", "still being copied")
    found, state = at(tmp_path, state, 61)
    assert found == [], "it changed, so the waiting begins again"
    found, state = at(tmp_path, state, 120)
    assert found == []
    found, state = at(tmp_path, state, 121)
    assert names(found) == ["new a"]


def test_a_drop_with_the_mark_is_complete_at_once(tmp_path: Path) -> None:
    drop(tmp_path, "a", ready=True)
    assert names(at(tmp_path, {}, 0)[0]) == ["new a"]


def test_the_mark_itself_is_no_content(tmp_path: Path) -> None:
    before = drops.examine(str(drop(tmp_path, "a")))
    after = drops.examine(str(drop(tmp_path, "a", ready=True)))
    assert (before[0], before[1], after[1]) == (after[0], False, True)


def test_files_and_hidden_and_empty_folders_are_no_drops(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    drop(tmp_path, ".copying", ready=True)
    assert at(tmp_path, {}, 0)[0] == []


def test_an_ingested_drop_is_left_alone_until_it_changes(tmp_path: Path) -> None:
    drop(tmp_path, "a", ready=True)
    (one,), state = at(tmp_path, {}, 0)
    state = mark_ingested(state, one)
    found, state = at(tmp_path, state, 1000)
    assert found == []
    drop(tmp_path, "a", "corrected")
    (again,), state = at(tmp_path, state, 2000)
    assert names([again]) == ["changed a"]
    assert at(tmp_path, mark_ingested(state, again), 3000)[0] == []


def test_a_changed_drop_without_the_mark_must_stand_still_too_whatever_the_rotation(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        drop(tmp_path, name)
    state: State = {"ingested": {}}
    for now in (0, 60):
        found, state = at(tmp_path, state, now)
    for one in found:
        state = mark_ingested(state, one)
    drop(tmp_path, "b", "longer than before")
    seen = []
    for now in range(100, 500, 10):
        found, state = at(tmp_path, state, now, reexamine=1)
        if found:
            seen = [now, *names(found)]
            break
    assert seen[1:] == ["changed b"]
    assert 160 <= seen[0] <= 180, "found within three looks, then a minute of quiet"


def test_what_is_not_marked_as_ingested_is_offered_again(tmp_path: Path) -> None:
    drop(tmp_path, "a", ready=True)
    _, state = at(tmp_path, {}, 0)
    assert names(at(tmp_path, state, 1)[0]) == ["new a"]


def test_the_state_may_call_drops_by_other_names(tmp_path: Path) -> None:
    drop(tmp_path, "DOE_JANE")
    _, state = look(str(tmp_path), {}, 0, settle_seconds=60, key_of=lambda name: f"D{len(name)}")
    assert "DOE" not in json.dumps(state)
    (one,), state = look(str(tmp_path), state, 60, settle_seconds=60, key_of=lambda name: f"D{len(name)}")
    assert (one.name, one.key) == ("DOE_JANE", "D8")
    assert "DOE" not in json.dumps(mark_ingested(state, one))


def test_thousands_of_ingested_drops_do_not_slow_the_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(2000):
        (tmp_path / f"drop-{i:04d}").mkdir()
    ingested = {f"drop-{i:04d}": "0" * 16 for i in range(2000)}
    looked: list[str] = []

    def examined(url: str) -> tuple[str, bool, int]:
        looked.append(url.rpartition("/")[2])
        return "0" * 16, False, 1

    monkeypatch.setattr(drops, "examine", examined)
    state: State = {"ingested": ingested}
    for _ in range(40):
        found, state = look(str(tmp_path), state, 0.0, settle_seconds=60, reexamine=50)
        assert found == []
    assert len(looked) == 40 * 50
    assert len(set(looked)) == 2000, "after a full turn each was looked at once"
    assert len(json.dumps({k: v for k, v in state.items() if k != "ingested"})) < 100


def test_any_address_will_do() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/box/one/frame.png", b"x")
    fs.pipe_file("/box/one/_READY", b"")
    try:
        (one,), state = look("memory://box", {}, 0.0, settle_seconds=60)
        assert one.url == "memory://box/one"
        assert look("memory://box", mark_ingested(state, one), 0.0, settle_seconds=60)[0] == []
    finally:
        fs.rm("/box", recursive=True)
