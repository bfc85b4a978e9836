"""Labels that came after the studies did: an append-only log. Nothing is overwritten; the latest word on a frame is current.

    annotations/000007-<digest16>.parquet, .npz (masks), .json (written last: what belongs to the entry, and what it holds)

The latest is the one with the greatest number: clocks may be set back. Entries of earlier versions (`<time>-<digest8>.parquet`) come
before all others, in the order of their names.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from filelock import FileLock

from enrich_assets.parquet import from_parquet, to_parquet
from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import record_bytes, record_of
from enrich_assets.store.receipts import DamagedStore, digest_of, now

ROOM, DIGITS = "annotations", 6
COLUMNS = ("frame_id", "task", "label", "mask_row", "entry", "source", "author", "recorded_at", "imported_at")


@dataclass(frozen=True)
class Entry:
    """One import. An earlier version kept no record of its files: then `files` is empty."""

    name: str
    number: int = 0
    files: dict[str, str] = field(default_factory=dict)  # name -> sha256


class Annotations:
    """Entries of labels, with their masks beside them as `.npz`."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def add(self, task: str, table: pd.DataFrame, masks: Sequence[np.ndarray] | None = None) -> str:
        """Append labels as one entry.

        Parameters
        ----------
        task
            What they are labels for.
        table
            Columns frame_id, label, source, author, recorded_at (None where the file does not say).
        masks : sequence of (h, w) uint8, optional
            One per row, of any sizes; None for classes.

        Returns
        -------
        str
            Name of the entry.

        Raises
        ------
        DamagedStore
            If the record of an earlier entry cannot be read: then nobody knows its number.
        """
        contents: dict[str, bytes] = {}
        if masks is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, *masks)
            contents["npz"] = buffer.getvalue()
        table = table.assign(task=task, mask_row=np.arange(len(table)) if masks is not None else -1)
        said = digest_of([table.to_json(), *(_sha256(mask.tobytes()) for mask in masks or ())])  # no time is in it
        with self._one_at_a_time():
            number = 1 + max((entry.number for entry in self.entries()), default=0)
            name = f"{number:0{DIGITS}}-{said[:16]}"
            contents["parquet"] = to_parquet(table.assign(entry=name, imported_at=now())[list(COLUMNS)])
            files = {f"{name}.{suffix}": _sha256(content) for suffix, content in contents.items()}
            for suffix, content in contents.items():
                self.folder.write(f"{ROOM}/{name}.{suffix}", content)
            record = {"entry": name, "number": number, "task": task, "labels": len(table), "files": files}
            self.folder.write(f"{ROOM}/{name}.json", record_bytes(record))
        return name

    def entries(self) -> list[Entry]:
        """Every entry, oldest first.

        Raises
        ------
        DamagedStore
            If the record of one cannot be read.
        """
        names = list(self.folder.files(ROOM))
        tables = [name.removeprefix(f"{ROOM}/").removesuffix(".parquet") for name in names if name.endswith(".parquet")]
        earlier = [Entry(name) for name in tables if not _is_numbered(name)]
        records = self.folder.read_many([name for name in names if name.endswith(".json")])
        kept = [self._record(name, content) for name, content in records.items()]
        return [*sorted(earlier, key=lambda entry: entry.name), *sorted(kept, key=lambda entry: entry.number)]

    def all(self) -> pd.DataFrame:
        """Every label ever imported, oldest first; columns `COLUMNS`. Raises DamagedStore."""
        entries = self.entries()
        contents = self.folder.read_many([f"{ROOM}/{entry.name}.parquet" for entry in entries])
        tables = [
            from_parquet(self._verified(entry, "parquet", contents.get(f"{ROOM}/{entry.name}.parquet")))
            for entry in entries
        ]
        tables = [table for table in tables if len(table)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))

    def mask(self, entry: str, row: int) -> np.ndarray:
        """The mask of a row of an entry.

        Parameters
        ----------
        entry, row
            As the columns `entry` and `mask_row` have it.

        Returns
        -------
        (h, w) uint8
            Class indices.

        Raises
        ------
        DamagedStore
            If its file is gone or changed.
        """
        file = f"{ROOM}/{entry}.json"
        record = self.folder.read_many([file]) if _is_numbered(entry) else {}
        known = self._record(file, record.get(file)) if _is_numbered(entry) else Entry(entry)
        with np.load(io.BytesIO(self._read(known, "npz")), allow_pickle=False) as masks:
            return masks[f"arr_{row}"]

    def damaged(self, entry: Entry) -> dict[str, str]:
        """Files of an entry that no longer hold what was written: name -> what is wrong, and what to do."""
        damage = {}
        for file in entry.files:
            try:
                self._read(entry, file.rpartition(".")[2])
            except DamagedStore as error:
                damage[file] = str(error)
        return damage

    def _read(self, entry: Entry, suffix: str) -> bytes:
        name = f"{ROOM}/{entry.name}.{suffix}"
        return self._verified(entry, suffix, self.folder.read_many([name]).get(name))

    def _verified(self, entry: Entry, suffix: str, content: bytes | None) -> bytes:
        name = f"{entry.name}.{suffix}"
        if content is None:
            raise self._lost(name, "is gone")
        if entry.files and entry.files.get(name) != _sha256(content):
            raise self._lost(name, "is not what was imported")
        return content

    def _record(self, name: str, content: bytes | None) -> Entry:
        try:
            record = record_of(content or b"")
            return Entry(str(record["entry"]), int(record["number"]), dict(record["files"]))
        except (ValueError, KeyError) as error:
            raise self._lost(name.removeprefix(f"{ROOM}/"), "is not what was written") from error

    def _lost(self, name: str, how: str) -> DamagedStore:
        stem = name.rpartition(".")[0]
        return DamagedStore(
            f"{self.folder.path(f'{ROOM}/{name}')} {how}, and nothing here can make it again: put it back from a backup, or remove "
            f"the files {stem}.* and import those labels again (`enrich labels import FILE`)"
        )

    def _one_at_a_time(self) -> FileLock:
        local = self.folder.local_path(f"locks/{ROOM}.lock")
        if local is None:  # an object store knows no locks; two imports at once are one machine's affair
            local = f"{tempfile.gettempdir()}/enrich-{_sha256(self.folder.url.encode())[:16]}.lock"
        else:
            os.makedirs(os.path.dirname(local), exist_ok=True)
        return FileLock(local)


def _is_numbered(name: str) -> bool:
    """Whether an entry has a number; those of earlier versions begin with a date."""
    head = name.partition("-")[0]
    return len(head) >= DIGITS and head.isdigit()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
