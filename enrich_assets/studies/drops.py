"""Drops: folders put into `incoming/`. Which of them are whole and new, seen with little work however many there are.

Only the folder is looked at here, by names, sizes and times. What a drop holds is read elsewhere (`manifest`, `dicom`);
what became of it is remembered by the caller, in the state that `look` hands back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import fsspec

from enrich_assets.studies import addresses

READY = "_READY"  # a file of this name says that the drop is whole
State = dict[str, Any]  # JSON-able: {"taken": {key: fingerprint}, "seen": {key: [fingerprint, since]}, "turn": name}


@dataclass(frozen=True)
class Drop:
    """One complete folder below `incoming/`."""

    name: str
    url: str
    key: str  # what the state calls it: the name, or what `key_of` made of it
    fingerprint: str
    state: Literal["new", "changed"]


def look(
    folder_url: str,
    state: State,
    now: float,
    *,
    quiet_seconds: float,
    reexamine: int = 50,
    key_of: Callable[[str], str] = str,
) -> tuple[list[Drop], State]:
    """Complete drops that are new, or changed since they were taken in, by name; and the state for the next look.

    A drop is complete when it holds `_READY`, or when its fingerprint (names, sizes and times of all its files) has
    stood still for `quiet_seconds`. One listing of the top level, then only drops not yet taken in are entered, and
    `reexamine` of those taken in, in rotation: thousands of old drops cost nothing. A drop stays in the answer until
    the caller marks it `taken`.

    folder_url: any fsspec URL; a folder that is not there yet is empty.   now: seconds; the clock of the caller.
    key_of: how the state names a drop, where folder names may hold what must not be stored.
    """
    taken: dict[str, str] = state.get("taken", {})
    seen: dict[str, Any] = state.get("seen", {})
    names = folders(folder_url)
    keys = {name: key_of(name) for name in names}
    waiting = [name for name in names if keys[name] not in taken]
    settled = [name for name in names if keys[name] in taken]
    turn, rotation = _rotation(settled, str(state.get("turn", "")), reexamine, keys)
    # A drop seen changing is followed to its end, out of turn.
    changing = [name for name in settled if keys[name] in seen and name not in rotation]
    found: list[Drop] = []
    still_seen: dict[str, Any] = {}
    for name in [*waiting, *rotation, *changing]:
        key, url = keys[name], f"{folder_url.rstrip('/')}/{name}"
        fingerprint, ready, n_files = examine(url)
        if (not n_files and not ready) or taken.get(key) == fingerprint:
            continue
        before, since = seen.get(key, (None, now))
        if before != fingerprint:
            since = now
        still_seen[key] = [fingerprint, since]
        if ready or now - since >= quiet_seconds:
            found.append(Drop(name, url, key, fingerprint, "changed" if key in taken else "new"))
    return sorted(found, key=lambda drop: drop.name), {"taken": dict(taken), "seen": still_seen, "turn": turn}


def mark_taken(state: State, drop: Drop) -> State:
    """The state after the drop was dealt with: it is left alone until it changes."""
    seen = {key: value for key, value in state.get("seen", {}).items() if key != drop.key}
    return {**state, "taken": {**state.get("taken", {}), drop.key: drop.fingerprint}, "seen": seen}


def examine(url: str) -> tuple[str, bool, int]:
    """Fingerprint of a drop (16 hex characters), whether it carries `_READY`, how many other files it holds."""
    fs, root = fsspec.core.url_to_fs(url)
    fs.invalidate_cache()
    lines, ready = [], False
    for path, entry in fs.find(root, detail=True).items():
        name = str(path)[len(root) :].lstrip("/")
        if name == READY:
            ready = True
            continue
        changed = entry.get("mtime") or entry.get("LastModified") or entry.get("last_modified") or entry.get("created")
        lines.append(json.dumps([name, entry.get("size"), entry.get("ETag"), str(changed)]))
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16], ready, len(lines)


def folders(folder_url: str) -> list[str]:
    """Names of the folders directly below, hidden ones left out, in order."""
    if not addresses.is_folder(folder_url):
        return []
    fs, root = fsspec.core.url_to_fs(folder_url)
    fs.invalidate_cache()
    entries = fs.ls(root, detail=True)
    names = (str(e["name"]).rstrip("/").rpartition("/")[2] for e in entries if e["type"] == "directory")
    return sorted(name for name in names if not name.startswith("."))


def _rotation(settled: list[str], turn: str, most: int, keys: dict[str, str]) -> tuple[str, list[str]]:
    """The next `most` drops after the one (named by its key) where the last look ended; and where this one ends."""
    if not settled or most <= 0:
        return turn, []
    order = sorted(settled, key=lambda name: keys[name])
    start = next((i for i, name in enumerate(order) if keys[name] > turn), 0)
    chosen = [order[(start + i) % len(order)] for i in range(min(most, len(order)))]
    return keys[chosen[-1]], chosen
