"""What a step may read of the archive that no step makes: manifests, imported labels, source files, the history of the store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from enrich_assets.archive.embeddings import embedding_model, imported_vectors
from enrich_assets.archive.frames import Frames
from enrich_assets.archive.key import KeyLost
from enrich_assets.archive.sides import LastTime
from enrich_assets.store.annotations import Annotations
from enrich_assets.store.batches import Batch, Batches
from enrich_assets.store.folder import Folder
from enrich_assets.store.receipts import Receipt, digest_of
from enrich_assets.studies import addresses, zips
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.pseudonyms import Pseudonyms
from enrich_assets.studies.sealed_paths import is_sealed, short_name, unseal

if TYPE_CHECKING:
    from enrich_assets.archive.home import Archive


def source_value(archive: Archive, name: str, partition: str, *others: Any) -> Any:
    """The source of a name, as a cell reads it.

    Parameters
    ----------
    archive
        Of which.
    name
        One of `SOURCES`; of an embedding's file with its name, `embedding_model/NAME`.
    partition
        Of the cell.
    *others
        Values that the source is chosen by.
    """
    kind, _, of = name.partition("/")
    return SOURCES[kind](archive, partition, *([of] if of else []), *others)


@dataclass(frozen=True)
class Manifest:
    """What was ingested as a batch; its tables are read when they are asked for."""

    batch: Batch
    register: Batches

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row per file or frame, with labels and masks."""
        return self.register.rows(self.batch)

    @cached_property
    def refused(self) -> pd.DataFrame:
        """Files that could not be ingested: columns path, reason."""
        return self.register.refused(self.batch)

    @property
    def digest(self) -> str:
        return self.batch.digest

    @property
    def received_at(self) -> str:
        return self.batch.received_at


@dataclass(frozen=True)
class ImportedLabels:
    """Labels imported since, for the frames of a batch, oldest first."""

    entries: pd.DataFrame
    log: Annotations

    @cached_property
    def digest(self) -> str:
        return digest_of(sorted(set(self.entries["entry"])))

    def latest(self, task: str) -> pd.DataFrame:
        """The last word on each frame, for one task."""
        return self.entries[self.entries["task"] == task].drop_duplicates("frame_id", keep="last")

    def mask(self, entry: str, row: int) -> np.ndarray:
        """(height, width) uint8, class indices, of the size it was drawn in."""
        return self.log.mask(entry, row)


class Moves:
    """Folders of source files that lie elsewhere now: what `enrich relocate` was called with, oldest first, kept in the home.

    Receipts and tables keep the paths under which files were ingested; only where they are looked for changes.
    """

    def __init__(self, home: Path) -> None:
        self._file = Folder(str(home))

    def all(self) -> list[tuple[str, str]]:
        """(from, to) of each."""
        if not self._file.exists(MOVES_FILE):
            return []
        return [(str(one["from"]), str(one["to"])) for one in json.loads(self._file.read(MOVES_FILE))["moved"]]

    def add(self, before: str, after: str) -> None:
        """Look for what lay below `before` below `after` from now on."""
        moved = [*self.all(), (before.rstrip("/"), after.rstrip("/"))]
        table = [{"from": old, "to": new} for old, new in moved]
        self._file.write(MOVES_FILE, json.dumps({"moved": table}, indent=1).encode())
        os.chmod(self._file.path(MOVES_FILE), 0o600)  # folders may be named after people


def moved(path: str, moves: Sequence[tuple[str, str]]) -> str:
    """Where a path leads after all moves, each applied to what the ones before it made."""
    if (inside := zips.parts(path)) is not None:
        return zips.address_of(moved(inside[0], moves), inside[1])
    for before, after in moves:
        if path == before or path.startswith(f"{before}/"):
            path = after + path[len(before) :]
    return path


class SourceFiles:
    """The files that were ingested, where they lie now. Paths of DICOM folders are sealed; the key of the home opens them."""

    def __init__(self, pseudonyms: Callable[[], Pseudonyms], moves: Sequence[tuple[str, str]] = ()) -> None:
        self._pseudonyms, self._moves = pseudonyms, moves

    @property
    def pseudonyms(self) -> Pseudonyms:
        return self._pseudonyms()

    def address(self, path: str) -> str:
        """Where a source file lies: a sealed path opened, and each where its folder was moved to.

        Raises
        ------
        LookupError
            For a sealed path, without the right key.
        """
        if is_sealed(path):
            try:
                path = unseal(path, self.pseudonyms)
            except KeyLost as error:
                raise LookupError(str(error)) from error
        return moved(path, self._moves)

    def digest_of(self, path: str) -> str:
        """sha256 of a source file, or a folder of masks, as it lies there now.

        Raises
        ------
        OSError
            If it cannot be read.
        LookupError
            For a sealed path, without the right key.
        """
        return addresses.source_digest(self.address(path))

    def require_unchanged(self, path: str, sha256: str) -> None:
        """Compare a source file with its digest at ingestion.

        Raises
        ------
        UnreadableFile
            If it is gone or has changed, with what to do.
        """
        try:
            now = self.digest_of(path)
        except OSError as error:
            raise UnreadableFile(path, GONE, "bring it back, then `enrich run`") from error
        if now != sha256:
            raise UnreadableFile(
                path, "has changed since it was ingested", "ingest it again, under the name of its batch (--batch)"
            )


@dataclass(frozen=True)
class Relocated:
    """What was found of the files below a folder that moved."""

    n_files: int
    n_there: int
    n_compared: int
    changed: tuple[str, ...]  # as they are called in tables


def relocate(archive: Archive, before: str, after: str, most_compared: int = 200) -> Relocated:
    """Look for source files that lay below one folder below another from now on.

    Parameters
    ----------
    archive
        Whose.
    before, after
        Folders, or URLs of folders.
    most_compared
        So many of the files are compared with their digests, spread over all.

    Raises
    ------
    LookupError
        No file of the archive lies below `before`, none of them is there below `after`, or one that was compared is another file.
    """
    before, after = before.rstrip("/"), after.rstrip("/")
    now, then = source_files(archive), [*Moves(archive.home).all(), (before, after)]
    later = SourceFiles(lambda: archive.pseudonyms, then)
    digests: dict[str, str] = {}
    for batch in archive.pinned:
        rows = archive.register.rows(batch)
        for path, digest in (("path", "sha256"), ("mask_path", "mask_sha256")):
            if path in rows:
                digests |= dict(rows.dropna(subset=[path])[[path, digest]].itertuples(index=False, name=None))
    below = [path for path in digests if addresses.flat(now.address(path)).startswith(f"{before}/")]
    if not below:
        raise LookupError(f"no file of this archive lies below {before}")
    there = [path for path in below if addresses.exists(later.address(path))]
    if not there:
        raise LookupError(f"none of the {len(below):,} files that lay below {before} is there below {after}")
    compared = there[:: max(1, -(-len(there) // most_compared))]
    changed = tuple(short_name(path) for path in compared if later.digest_of(path) != digests[path])
    if changed:
        raise LookupError(
            f"{len(changed)} of {len(compared)} files compared are others below {after} (first: {changed[0]})"
        )
    Moves(archive.home).add(before, after)
    return Relocated(len(below), len(there), len(compared), changed)


def addresses_called(archive: Archive, name: str) -> list[str]:
    """Where the sealed files lie that go by a short name (of what was ingested and of what was refused), in order.

    Raises
    ------
    LookupError
        There is none, or it was sealed under another key.
    """
    tables = [
        table
        for batch in archive.register.all()
        for table in (archive.register.rows(batch), archive.register.refused(batch))
    ]
    sealed = {path for table in tables for path in table["path"] if is_sealed(path) and short_name(path) == name}
    if not sealed:
        raise LookupError(f"no sealed file goes by the name {name}; names look like F1a2b3c4d5e6f")
    return sorted(source_files(archive).address(path) for path in sealed)


GONE = "is no longer there"
MOVES_FILE = "relocated.json"


def lost_files(archive: Archive, partition: str) -> str | None:
    """Which source files of a batch are not what was ingested any more; None if all are."""
    return _lost(archive, partition, "path", "sha256")


def lost_masks(archive: Archive, partition: str) -> str | None:
    """The same of the masks that its manifest names."""
    return _lost(archive, partition, "mask_path", "mask_sha256")


def _lost(archive: Archive, partition: str, path_column: str, digest_column: str) -> str | None:
    rows, files = archive.register.rows(archive.batch(partition)), source_files(archive)
    if path_column not in rows:
        return None
    named = rows.dropna(subset=[path_column]).drop_duplicates(path_column)[[path_column, digest_column]]
    lost = []
    for path, sha256 in named.itertuples(index=False):
        try:
            files.require_unchanged(path, sha256)
        except (UnreadableFile, LookupError):
            lost.append(str(path))
    if not lost:
        return None
    return f"{len(lost)} of {len(named)} source files are gone or changed (first: {lost[0]}); bring them back, then `enrich repair`"


class History:
    """Every receipt ever written, and where source files lie: what is published shows what was replaced, too."""

    def __init__(self, archive: Archive) -> None:
        self.store, self.batches, self.files = archive.store, archive.pinned, source_files(archive)
        self.annotations = Annotations(archive.store.folder)
        self._register = archive.register

    def of(self, asset: str) -> list[Receipt]:
        """Every readable receipt of an asset, oldest first."""
        return self.store.receipts.history(asset)

    def manifest(self, batch: Batch) -> Manifest:
        """What was ingested as a batch."""
        return Manifest(batch, self._register)


def source_files(archive: Archive) -> SourceFiles:
    """The source files of an archive."""
    return SourceFiles(lambda: archive.known_pseudonyms, Moves(archive.home).all())


def _manifest(archive: Archive, partition: str) -> Manifest:
    batch = archive.batch(partition)
    archive.register.require_whole(batch)
    return Manifest(batch, archive.register)


def _imported_labels(archive: Archive, partition: str, frames: Frames) -> ImportedLabels:
    log = Annotations(archive.store.folder)
    entries = log.all()
    if len(entries):  # where nothing was ever imported, no table of frames is read for it
        entries = entries[entries["frame_id"].isin(frames.frame_table["frame_id"])].reset_index(drop=True)
    return ImportedLabels(entries, log)


SOURCES: dict[str, Callable[..., Any]] = {
    "manifest": _manifest,
    "imported_labels": _imported_labels,
    "files": lambda archive, partition: source_files(archive),
    "history": lambda archive, partition: History(archive),
    "last_sides": LastTime,
    "embedding_model": lambda archive, partition, name: embedding_model(archive, name),
    "imported_vectors": lambda archive, partition, name, frames: imported_vectors(
        archive, partition, name, frames.table
    ),
}
