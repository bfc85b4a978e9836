"""What is published in a home: the database and the pages people open, and whether they still are what was written.

The store may be shared by several homes; a product lies in one. So freshness asks the home, not the store. A note beside the products
(`.published.json`) says which content each holds. Of a store outside home each product is put beside it, too, so that another home
fetches what this one has published, and computes nothing:

    store/published/<digest16>/<name>      the file
    store/published/<name>.json            which content is the latest, and its sha256 (written last)
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import record_bytes, record_of
from enrich_assets.store.receipts import NAME_LENGTH

NOTE, ROOM = ".published.json", "published"
LEAVE_SECONDS = 3600.0  # an earlier file may be on its way to another home


def lies_in_home(home: Path, folder: Folder) -> bool:
    """Whether a store is the home's own: a folder in it. Any other may have further homes."""
    local = folder.local_path("")
    return local is not None and Path(local).resolve().is_relative_to(home.resolve())


class Products:
    """Files that steps publish into a home.

    Parameters
    ----------
    home
        Folder of the home.
    shared
        The store, where it lies outside home: products are put there, too.
    """

    def __init__(self, home: Path, shared: Folder | None = None) -> None:
        self.home, self.shared = home, shared

    def path(self, name: str) -> Path:
        """Where a product of that name lies."""
        return self.home / name

    def why_not_here(self, name: str, digest: str) -> str | None:
        """Why a product must be published again.

        Parameters
        ----------
        name
            Of its file in home.
        digest
            Of the content it should show.

        Returns
        -------
        str or None
            None if the file holds that content, untouched.
        """
        path, entry = self.path(name), self._note().get(name)
        if not path.is_file():
            return f"{name} is not in this home"
        if entry is None or entry["digest"] != digest:
            return f"{name} in this home shows an earlier state"
        if entry["stamp"] != _stamp(path) and entry["sha256"] != _sha256(path):
            return f"{name} is not what was published"
        return None

    def why_not_all_here(self, names: Sequence[str], digest: str) -> str | None:
        """The same of several products of one content: why one of them must be published again; None if all are here."""
        return next((why for name in names if (why := self.why_not_here(name, digest)) is not None), None)

    def record(self, name: str, digest: str) -> None:
        """Note what was just published under the name, and put it beside the store."""
        self._record(name, digest)
        if self.shared is None:
            return
        content = self.path(name).read_bytes()
        self.shared.write(_place(name, digest), content)
        entry = {"digest": digest, "sha256": hashlib.sha256(content).hexdigest()}
        self.shared.write(f"{ROOM}/{name}.json", record_bytes(entry))
        places = [one for one in self.shared.files(ROOM) if one.endswith(f"/{name}") and one != _place(name, digest)]
        self.shared.remove_files([p for p in places if time.time() - self.shared.changed_at(p) > LEAVE_SECONDS])

    def fetch(self, name: str, digest: str | None = None) -> bool:
        """Bring a product that another home has published into this one.

        Parameters
        ----------
        name
            Of its file.
        digest
            Of the content it should show; None: the latest.

        Returns
        -------
        bool
            False where there is none, or not of that content: then it is to be made.
        """
        if self.shared is None:
            return False
        try:
            entry = record_of(self.shared.read(f"{ROOM}/{name}.json"))
            if digest not in (None, entry["digest"]):
                return False
            content = self.shared.read(_place(name, entry["digest"]))
        except (FileNotFoundError, ValueError, KeyError):
            return False
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            return False
        path = self.path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".{name}.fetched-{uuid.uuid4().hex[:8]}")
        beside.write_bytes(content)
        os.replace(beside, path)
        self._record(name, entry["digest"])
        return True

    def _record(self, name: str, digest: str) -> None:
        path = self.path(name)
        note = {**self._note(), name: {"digest": digest, "sha256": _sha256(path), "stamp": _stamp(path)}}
        Folder(str(self.home)).write(NOTE, json.dumps(note, indent=1).encode())

    def _note(self) -> dict[str, dict[str, Any]]:
        try:
            note = json.loads((self.home / NOTE).read_bytes())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}


def _place(name: str, digest: str) -> str:
    return f"{ROOM}/{digest[:NAME_LENGTH]}/{name}"


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
