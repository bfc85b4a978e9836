"""Drops: folders put into `incoming/`. Which of them are whole and new, found with little work however many there are.

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

READY = "_READY"  # a file of this name marks the drop as whole
State = dict[str, Any]  # JSON-able: {"ingested": {key: fingerprint}, "seen": {key: [fingerprint, since]}, "turn": key}


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
    settle_seconds: float,
    reexamine: int = 50,
    key_of: Callable[[str], str] = str,
) -> tuple[list[Drop], State]:
    """Complete drops that are new, or have changed since they were ingested; and the state for the next look.

    A drop is complete when it holds `_READY`, or when its fingerprint (names, sizes and times of all its files) has
    stayed the same for `settle_seconds`. It is handed out at every look until the state names it as ingested.

    Parameters
    ----------
    folder_url : str
        Any fsspec URL; a folder that is not there yet is empty.
    state : dict
        What the last look handed back, `{}` at first.
    now, settle_seconds : float
        Seconds by the caller's clock.
    reexamine : int
        How many of the drops already ingested are entered again at each look.
    key_of : callable
        How the state names a drop, where folder names may hold what must not be stored.

    Returns
    -------
    drops : list of Drop
        By name.
    state : dict
        JSON-able.

    Notes
    -----
    A look costs one listing of the top level, and an `examine` of each drop that is not ingested, of `reexamine` ingested
    ones in rotation, and of those that were seen changing: thousands of old drops cost nothing.
    """
    ingested: dict[str, str] = state.get("ingested", {})
    seen: dict[str, Any] = state.get("seen", {})
    names = folders(folder_url)
    keys = {name: key_of(name) for name in names}
    waiting = [name for name in names if keys[name] not in ingested]
    settled = [name for name in names if keys[name] in ingested]
    turn, rotation = _rotation(settled, str(state.get("turn", "")), reexamine, keys)
    # A drop seen changing is followed to its end, out of turn.
    changing = [name for name in settled if keys[name] in seen and name not in rotation]
    complete: list[Drop] = []
    still_seen: dict[str, Any] = {}
    for name in [*waiting, *rotation, *changing]:
        key, url = keys[name], f"{folder_url.rstrip('/')}/{name}"
        fingerprint, ready, n_files = examine(url)
        if (not n_files and not ready) or ingested.get(key) == fingerprint:
            continue
        since = _unchanged_since(seen.get(key), fingerprint, now)
        still_seen[key] = [fingerprint, since]
        if ready or now - since >= settle_seconds:
            complete.append(Drop(name, url, key, fingerprint, "changed" if key in ingested else "new"))
    complete.sort(key=lambda drop: drop.name)
    return complete, {"ingested": dict(ingested), "seen": still_seen, "turn": turn}


def _unchanged_since(last: list[Any] | None, fingerprint: str, now: float) -> float:
    """Since when a drop has this fingerprint, given the fingerprint of the last look and since when it had that."""
    if last is None or last[0] != fingerprint:
        return now
    since: float = last[1]
    return since


def examine(url: str) -> tuple[str, bool, int]:
    """Look into one drop, by the names, sizes and times of its files.

    Returns
    -------
    fingerprint : str
        16 hex characters; another one whenever a file came, went, grew or was written again.
    ready : bool
        Whether it holds `_READY`, which does not count as content.
    n_files : int
        How many other files it holds.
    """
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
