"""Artefacts: the files of one materialisation, written to a draft, then moved to a path that ends in their digest.

In an object store, what is written when a cell's work is done goes straight to that path; only what is written on the way, for an
attempt after an interruption, is a draft first. Two makers of one cell write the same files under the same names, or other names.

Formats: NumPy `.npy` for arrays, Parquet for tables, safetensors for weights; nothing is pickled.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from enrich_assets.parquet import arrow_table, from_parquet, to_parquet
from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import is_whole
from enrich_assets.store.receipts import Cell, DamagedStore, Origin, Receipt, Receipts, digest_of, now
from enrich_assets.store.remote.node_cache import SIZE, NodeCache, NotAsNamed

DRAFTS = "drafts"
ATTEMPTS = 3  # to find a file in the cache that others may have made room in


class Draft:
    """An artefact in the making. Files in it survive an interruption: the same cell, settings and inputs find them again.

    One maker at a time works on a cell (`archive.Archive.making`), so nobody else writes here.

    Parameters
    ----------
    store
        Where it is committed to.
    cell
        What is made.
    settings
        Digest of the settings and the version of the code.
    inputs
        What counts for freshness: cell or part -> digest.
    """

    def __init__(self, store: Store, cell: Cell, settings: str, inputs: Mapping[str, str]) -> None:
        self.store, self.cell, self.settings, self.inputs = store, cell, settings, dict(inputs)
        self.folder = f"{DRAFTS}/{cell.folder}/{digest_of([settings, self.inputs])[:16]}"
        self.read_from: dict[str, Origin] = {}
        self.alive: Callable[[], None] = lambda: None  # raises where another maker was given the cell since
        self._files: dict[str, str] = {}
        self._notes: dict[str, str] = {}
        self._held: dict[str, bytes] = {}  # written last, to a store elsewhere: goes straight to its place
        self._is_done = False
        self._has_drafts = False  # whether anything of it lies in its folder, of this attempt or an earlier one

    def done(self) -> None:
        """The work is done: what is written from here on needs no draft, where that costs requests."""
        self._is_done = True

    def write(self, name: str, content: bytes, *, note: bool = False) -> None:
        """Write a file.

        Parameters
        ----------
        name
            With its suffix; may hold folders.
        content
            All of it.
        note
            It lies beside the content and does not count into the digest.
        """
        if self._is_done and not self.store.folder.is_local:
            self._held[name] = content
        else:
            self.store.folder.write(f"{self.folder}/{name}", content)
            self._held.pop(name, None)
            self._has_drafts = True
        (self._notes if note else self._files)[name] = hashlib.sha256(content).hexdigest()

    def array(self, name: str, array: np.ndarray, *, note: bool = False) -> None:
        """Write an array as `<name>.npy`."""
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(array, order="C"), allow_pickle=False)
        self.write(f"{name}.npy", buffer.getvalue(), note=note)

    def table(self, name: str, table: pd.DataFrame, *, note: bool = False) -> None:
        """Write a table as `<name>.parquet`; its index is not kept."""
        self.write(f"{name}.parquet", to_parquet(table, compression="zstd"), note=note)

    def weights(self, name: str, tensors: Mapping[str, Any], *, note: bool = False) -> None:
        """Write weights as `<name>.safetensors`.

        Parameters
        ----------
        name
            Without suffix.
        tensors
            Name -> torch tensor or NumPy array.
        note
            As of `write`.
        """
        from safetensors.numpy import save

        arrays = {
            k: np.ascontiguousarray(t.detach().cpu().numpy() if hasattr(t, "detach") else t) for k, t in tensors.items()
        }
        self.write(f"{name}.safetensors", save(arrays), note=note)

    @property
    def notes(self) -> tuple[str, ...]:
        """Names of the notes written so far."""
        return tuple(self._notes)

    def has(self, name: str, *, note: bool = False) -> bool:
        """Whether an interrupted attempt at this very draft has left the file; if so it counts as written."""
        path, files = f"{self.folder}/{name}", self._notes if note else self._files
        if name not in files:
            with suppress(FileNotFoundError):
                files[name] = self.store.folder.digest(path)
                self._has_drafts = True
        return name in files

    def read(self, name: str) -> bytes:
        """A file of this draft. Raises FileNotFoundError."""
        held = self._held.get(name)
        return held if held is not None else self.store.folder.read(f"{self.folder}/{name}")

    def scratch(self, name: str, content: bytes) -> None:
        """Write a checkpoint beside the draft. It never becomes part of the artefact, and stays until the receipt is written: killed before
        that, the next attempt goes on from it."""
        self._has_drafts = True
        self.store.folder.write(f"{self.folder}.{name}", content)

    def scratched(self, name: str) -> bytes | None:
        """What `scratch` has kept under the name; None if nothing."""
        try:
            content = self.store.folder.read(f"{self.folder}.{name}")
        except FileNotFoundError:
            return None
        self._has_drafts = True
        return content

    def commit(self, *, run_id: str = "", digest: str | None = None, **metrics: Any) -> Receipt:
        """Move the files to their place, then write the receipt.

        Parameters
        ----------
        run_id
            Dagster run that made the content.
        digest
            Where the content has a name of its own; else it follows from the names and digests of the files.
        **metrics
            For the receipt: what JSON can hold.

        Raises
        ------
        Exception
            Whatever `alive` raises: then nothing of it has become current.
        """
        self.alive()
        receipt = Receipt(
            asset=self.cell.asset,
            partition=self.cell.partition,
            digest=digest or digest_of(self._files),
            settings=self.settings,
            inputs=self.inputs,
            read={cell: list(origin) for cell, origin in self.read_from.items()},  # as JSON gives it back
            files=self._files,
            notes=self._notes,
            metrics=metrics,
            run_id=run_id,
            created_at=now(),
            revision=self.store.receipts.next_revision(self.cell),
        )
        if self._files or self._notes:
            self.store.place(self.folder, receipt, self._held)
            self.alive()  # a copy to an object store takes its time
        self.store.receipts.write(receipt)
        if self.store.folder.is_local:
            self.store.clear_drafts(self.cell)
        elif self._has_drafts:
            self.store.clear_draft(self.folder)
        return receipt


class Store:
    """Artefacts and receipts below one URL.

    Parameters
    ----------
    url
        Any that fsspec knows.
    cache
        Where files of a store elsewhere are kept on this node; without it the node's own, and none for `memory://`.
    """

    def __init__(self, url: str, cache: NodeCache | None = None) -> None:
        self.folder = Folder(url)
        has_none = self.folder.is_local or url.startswith("memory:")
        self.cache = cache if cache is not None or has_none else NodeCache.of_this_node()
        self.receipts = Receipts(self.folder)
        self._seen: set[str] = set()  # folders of artefacts whose files were seen to be there
        self._listed: dict[str, set[str]] = {}  # asset -> names below it, of a store elsewhere

    def draft(self, cell: Cell, *, settings: str, inputs: Mapping[str, str]) -> Draft:
        """The draft of a cell; `settings` and `inputs` as of `Draft`."""
        return Draft(self, cell, settings, inputs)

    def clear_drafts(self, cell: Cell) -> None:
        """Remove what interrupted attempts at a cell left, whatever they were made from."""
        self.folder.remove(f"{DRAFTS}/{cell.folder}")

    def clear_draft(self, draft: str) -> None:
        """Remove a folder of drafts and the checkpoints beside it: what else was begun of its cell somebody may be at."""
        below = draft.rpartition("/")[0]
        names = [f"{below}/{name}" for name in self.folder.names(below)]
        self.folder.remove_files([name for name in names if name.startswith((f"{draft}/", f"{draft}."))])

    def place(self, draft: str, receipt: Receipt, held: Mapping[str, bytes] | None = None) -> None:
        """Bring the files of a draft to where the receipt's artefact lies.

        Parameters
        ----------
        draft
            Their folder.
        receipt
            Names them.
        held
            Those that were written to no folder: name -> content.

        Raises
        ------
        FileNotFoundError
            If a file of the draft is gone: another machine has committed it.
        """
        target, names = f"artefacts/{receipt.folder}", [*receipt.files, *receipt.notes]
        if not self.folder.is_local:
            self.folder.copy_files(draft, target, [name for name in names if name not in (held or {})])
            self.folder.write_many({f"{target}/{name}": content for name, content in (held or {}).items()})
        elif self.folder.exists(target):
            # The same content again. Its files may have been damaged since: what was just made replaces them.
            self.folder.copy_files(draft, target, names)
            self.folder.remove(draft)
        else:
            self.folder.move(draft, target)

    def path(self, receipt: Receipt, name: str) -> str:
        """Path of a file of an artefact, in the store."""
        return f"artefacts/{receipt.folder}/{name}"

    def read(self, receipt: Receipt, name: str) -> bytes:
        """Bytes of a file, as they stand there.

        Raises
        ------
        DamagedStore
            If it is gone.
        """
        try:
            return self.folder.read(self.path(receipt, name))
        except FileNotFoundError as error:
            raise self._gone(receipt, name) from error

    def verified(self, receipt: Receipt, name: str) -> bytes:
        """Bytes of a file, compared with the digest in the receipt.

        Raises
        ------
        DamagedStore
            If it is gone or not what the receipt says.
        """
        if self.cache is not None and (sha256 := _wanted(receipt, name)):
            return self._from_this_node(receipt, name, sha256, Path.read_bytes)
        content = self.read(receipt, name)
        if hashlib.sha256(content).hexdigest() != _wanted(receipt, name):
            raise self._not_what_was_written(receipt, name)
        return content

    def array(self, receipt: Receipt, name: str) -> np.ndarray:
        """A stored array.

        Memory-mapped, where the store is elsewhere from the cache of this node; compared with its digest before, once per process.

        Raises
        ------
        DamagedStore
            If its file is gone or not what the receipt says.
        """
        file = f"{name}.npy"
        local, sha256 = self.folder.local_path(self.path(receipt, file)), _wanted(receipt, file)
        if local is None:
            if self.cache is None or not sha256:
                return np.load(io.BytesIO(self.verified(receipt, file)), allow_pickle=False)
            return self._from_this_node(receipt, file, sha256, lambda path: np.load(path, "r", allow_pickle=False))
        try:
            if not is_whole(self.folder, self.path(receipt, file), sha256):
                raise self._not_what_was_written(receipt, file)
            return np.load(local, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise self._gone(receipt, file) from error

    def _from_this_node(self, receipt: Receipt, name: str, sha256: str, use: Callable[[Path], Any]) -> Any:
        """What `use` makes of the file in the cache of this node. Others may make room there: then it is fetched again."""
        assert self.cache is not None
        for _ in range(ATTEMPTS):
            try:
                path = self.cache.file(sha256, lambda to: self.folder.fetch(self.path(receipt, name), to))
            except NotAsNamed as error:
                raise self._not_what_was_written(receipt, name) from error
            except FileNotFoundError as error:
                raise self._gone(receipt, name) from error
            with suppress(FileNotFoundError):
                return use(path)
        raise FileNotFoundError(f"{self.cache.root} is too small for the files that are read at once: {SIZE}")

    def table(self, receipt: Receipt, name: str) -> pd.DataFrame:
        """A stored table. Raises DamagedStore if its file is gone or changed."""
        return from_parquet(self.verified(receipt, f"{name}.parquet"))

    def arrow(self, receipt: Receipt, name: str, repeated: Sequence[str]) -> pa.Table:
        """The same, not as pandas: for tables of many million rows, text of some columns `repeated` (`parquet.arrow_table`)."""
        return arrow_table(self.verified(receipt, f"{name}.parquet"), repeated=repeated)

    def weights(self, receipt: Receipt, name: str) -> dict[str, np.ndarray]:
        """Stored weights: name of a tensor -> array. Raises DamagedStore if their file is gone or changed."""
        from safetensors.numpy import load

        return load(self.verified(receipt, f"{name}.safetensors"))

    def _not_what_was_written(self, receipt: Receipt, name: str) -> DamagedStore:
        return DamagedStore(
            f"{self.folder.path(self.path(receipt, name))} is not what {receipt.cell} wrote; it is not used: `enrich repair` makes "
            "it again"
        )

    def _gone(self, receipt: Receipt, name: str) -> DamagedStore:
        return DamagedStore(
            f"{self.folder.path(self.path(receipt, name))} is gone, though {receipt.cell} was made: `enrich repair` makes it "
            "again"
        )

    def missing(self, receipt: Receipt) -> str | None:
        """The first file of a current receipt that is gone, its content not looked at; None if all are there.

        Seen once per store object: what goes during a run is noticed by who reads it.
        """
        if receipt.folder in self._seen or not (receipt.files or receipt.notes):
            return None
        there = set() if self.folder.is_local else self._there(receipt)
        for name in (*receipt.files, *receipt.notes):
            if name not in there and not self.folder.exists(self.path(receipt, name)):
                return name
        self._seen.add(receipt.folder)
        return None

    def _there(self, receipt: Receipt) -> set[str]:
        """Names of the files of an artefact elsewhere. An asset is listed once: an answer per file takes too long."""
        if receipt.asset not in self._listed:
            self._listed[receipt.asset] = set(self.folder.names(f"artefacts/{receipt.asset}"))
        below = receipt.folder.removeprefix(f"{receipt.asset}/") + "/"
        there = {name.removeprefix(below) for name in self._listed[receipt.asset] if name.startswith(below)}
        return there or set(self.folder.names(f"artefacts/{receipt.folder}"))  # made since

    def damaged(self, receipt: Receipt, *, with_notes: bool = True) -> dict[str, str]:
        """Files of a receipt that no longer hold what was written.

        Parameters
        ----------
        receipt
            Current or earlier.
        with_notes
            False for an earlier receipt with the same content as the current one: only the newest notes are kept.

        Returns
        -------
        dict of str to str
            Name of a file -> `changed` or `gone`.
        """
        damage = {}
        for name, wanted in {**receipt.files, **(receipt.notes if with_notes else {})}.items():
            try:
                if self.folder.digest(self.path(receipt, name)) != wanted:
                    damage[name] = "changed"
            except FileNotFoundError:
                damage[name] = "gone"
        return damage


def _wanted(receipt: Receipt, name: str) -> str:
    """The digest that a receipt gives for one of its files."""
    return receipt.files.get(name) or receipt.notes.get(name) or ""
