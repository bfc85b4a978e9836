"""What is published in a home: the database and the page people open, and whether they still are what was written.

The store may be shared by several homes; a product lies in one. So freshness asks the home, not the store. A note beside the products
(`.published.json`) says which content each holds.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from enrich_assets.store.folder import Folder

NOTE = ".published.json"


class Products:
    """Files that steps publish into a home."""

    def __init__(self, home: Path) -> None:
        self.home = home

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

    def record(self, name: str, digest: str) -> None:
        """Note what was just published under the name."""
        path = self.path(name)
        note = {**self._note(), name: {"digest": digest, "sha256": _sha256(path), "stamp": _stamp(path)}}
        Folder(str(self.home)).write(NOTE, json.dumps(note, indent=1).encode())

    def _note(self) -> dict[str, dict[str, Any]]:
        try:
            note = json.loads((self.home / NOTE).read_bytes())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
