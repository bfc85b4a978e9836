"""Receipts: the typed record of what a cell holds, what it was made from and by which settings.

One record serves freshness, lineage and history (ARCHITECTURE.md). It is named by content, inputs and settings together: the
same content made from other inputs is another receipt, so a chain leads to what was really read. What an artefact is made
of: `artefacts.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import record_bytes, whole_text

NOT_MADE_YET = "has not been made yet: `enrich run` makes it"
NAME_LENGTH = 16  # hex characters of a digest in a path
WORTH_LISTING = 3  # receipts wanted of an asset elsewhere, from which one listing spares requests


class Cell(NamedTuple):
    """One asset, or one partition of it. `partition` is "" for an asset without partitions."""

    asset: str
    partition: str = ""

    def __str__(self) -> str:
        return f"{self.asset}[{self.partition}]" if self.partition else self.asset

    @classmethod
    def parse(cls, text: str) -> Cell:
        """The inverse of `str`."""
        return _parsed(text)

    @property
    def folder(self) -> str:
        """Where it lies below a room of the store; `|` of two-dimensional keys is not a safe file name."""
        return f"{self.asset}/{self.partition.replace('|', '__').replace('%', 'pct') or '_'}"


@lru_cache(maxsize=100_000)
def _parsed(text: str) -> Cell:
    asset, _, partition = text.partition("[")
    return Cell(asset, partition.removesuffix("]"))


class Origin(NamedTuple):
    """A cell that was read, as it stood then."""

    digest: str  # of its content
    receipt: str  # name of its receipt


class Receipt(BaseModel):
    """What one cell holds. Frozen: whoever makes the cell again writes a new receipt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str
    partition: str = ""
    digest: str  # sha256 over the names and digests of `files`; Dagster's data version
    settings: str  # digest of the settings and the code version that made it
    inputs: dict[str, str] = Field(
        default_factory=dict
    )  # what counts for freshness: str(cell) or a named part -> digest
    # every cell that was read: str(cell) -> its origin; plain pairs, and not looked at one by one, for a large home holds millions of them
    # (what is not as it was written the digest of the record's text has refused before)
    read: SkipValidation[dict[str, Sequence[str]]] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)  # name -> sha256: the content
    notes: dict[str, str] = Field(default_factory=dict)  # name -> sha256: beside the content (timings, pictures)
    metrics: dict[str, Any] = Field(default_factory=dict)  # counts, seconds, device, MLflow run ...
    run_id: str = ""
    created_at: str = ""
    revision: int = 0  # the how manieth receipt of its cell, from 1: a clock may be set back. 0: of an earlier version

    @cached_property
    def cell(self) -> Cell:
        """What it is the receipt of."""
        return Cell(self.asset, self.partition)

    @cached_property  # a receipt of a hundred batches is asked for it by each of thousands of cells
    def name(self) -> str:
        """Names this receipt: digest of content, inputs and settings, and of where each input was read from."""
        origins = {cell: receipt for cell, (_, receipt) in self.read.items()}
        return digest_of([self.digest, self.inputs, self.settings, origins])

    @cached_property
    def digests_read(self) -> dict[str, dict[str, str]]:
        """What was read, by asset: str(cell) -> digest of its content."""
        by_asset: dict[str, dict[str, str]] = {}
        cells, begins = dict[str, str](), ""  # of the asset of the last cell: those of one stand together
        for cell, origin in self.read.items():
            if not begins or not cell.startswith(begins):
                asset, _, partition = cell.partition("[")
                cells, begins = by_asset.setdefault(asset, {}), f"{asset}[" if partition else ""
            cells[cell] = origin[0]
        return by_asset

    def origin(self, cell: Cell) -> Origin | None:
        """The cell as it stood when it was read; None if it was not."""
        read = self.read.get(str(cell))
        return None if read is None else Origin(*read)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Receipt:
        """A receipt with other fields: what was worked out of the old ones is not taken over."""
        copied = super().model_copy(update=update, deep=deep)
        for worked_out in ("cell", "name", "digests_read"):
            copied.__dict__.pop(worked_out, None)
        return copied

    @property
    def folder(self) -> str:
        """Of its artefact, which is named by content alone."""
        return f"{self.cell.folder}/{self.digest[:NAME_LENGTH]}"


def _current_file(cell: Cell) -> str:
    return f"receipts/{cell.folder}.json"


def history_file(cell: Cell, name: str) -> str:
    """Where a receipt stays for good, by its name."""
    return f"history/{cell.folder}/{name[:NAME_LENGTH]}.json"


def digest_of(value: Any) -> str:
    """sha256 of a JSON-able value; keys in order, so equal values have equal digests."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def now() -> str:
    """The time in UTC, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Receipts:
    """Current and earlier receipts below a folder. Held in memory once read; `refresh` looks again whether they still stand.

    A current receipt that cannot be read any more counts as absent: its cell is made again, no other is touched. Which ones:
    `unreadable`.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.unreadable: dict[Cell, str] = {}
        self.generation = 0  # another number whenever a current receipt may be another
        self._current: dict[Cell, Receipt | None] = {}  # None: looked for, and not there
        self._known: dict[Cell, tuple[str, Receipt]] = {}  # as last read, with the stamp of its file; of any time

    def current(self, cell: Cell) -> Receipt | None:
        """The receipt that stands now; None if there is none, or none that can be read."""
        if cell not in self._current:
            name = _current_file(cell)
            try:
                stamp = str(self.folder.state(name)) if self.folder.is_local else ""
                self._take(cell, stamp, None if self._stands(cell, stamp) else self.folder.read(name))
            except FileNotFoundError:
                self._current[cell] = None
        return self._current[cell]

    def expect(self, cells: Iterable[Cell]) -> None:
        """Read the receipts of several cells at once, where they lie elsewhere: side by side, and only those that changed.

        Of an asset of which several are wanted the stamps of all are asked for with one request, and compared.
        """
        wanted = [] if self.folder.is_local else [cell for cell in dict.fromkeys(cells) if cell not in self._current]
        by_asset: dict[str, list[Cell]] = {}
        for cell in wanted:
            by_asset.setdefault(cell.asset, []).append(cell)
        to_read: dict[str, tuple[Cell, str]] = {}
        for asset, members in by_asset.items():
            stamps = self.folder.stamps(f"receipts/{asset}") if len(members) >= WORTH_LISTING else None
            for cell in members:
                name = _current_file(cell)
                stamp = "" if stamps is None else stamps.get(name, "")
                if stamps is not None and not stamp:
                    self._current[cell] = None
                elif self._stands(cell, stamp):
                    self._take(cell, stamp, None)
                else:
                    to_read[name] = cell, stamp
        contents = self.folder.read_many(list(to_read))
        for name, (cell, stamp) in to_read.items():
            if name in contents:
                self._take(cell, stamp, contents[name])
            else:
                self._current[cell] = None

    def _stands(self, cell: Cell, stamp: str) -> bool:
        """Whether the file is as it was when it was last read."""
        return bool(stamp) and cell in self._known and self._known[cell][0] == stamp

    def _take(self, cell: Cell, stamp: str, content: bytes | None) -> None:
        """Hold the receipt of a cell: the known one, or the one of this content."""
        if content is None:
            self._current[cell] = self._known[cell][1]
            return
        name = _current_file(cell)
        try:
            receipt = self._parsed(name, content)
            if receipt.cell != cell:
                raise DamagedStore(f"{self.folder.path(name)} is the receipt of {receipt.cell}")
        except DamagedStore as damage:
            self._current[cell], self.unreadable[cell] = None, str(damage)
        else:
            self._current[cell] = receipt
            self._known[cell] = stamp, receipt

    def require(self, cell: Cell) -> Receipt:
        """The current receipt of a cell.

        Raises
        ------
        MissingArtefact
            If the cell was never made, with what to do.
        """
        receipt = self.current(cell)
        if receipt is None:
            raise MissingArtefact(f"{cell} {NOT_MADE_YET}", cell)
        return receipt

    def write(self, receipt: Receipt) -> None:
        """Make a receipt the current one; it stays in history for good."""
        content = record_bytes(receipt.model_dump(mode="json"))
        self.folder.write(history_file(receipt.cell, receipt.name), content)
        self.folder.write(_current_file(receipt.cell), content)
        self._current[receipt.cell] = receipt
        self._known.pop(receipt.cell, None)
        self.generation += 1
        self.unreadable.pop(receipt.cell, None)

    def next_revision(self, cell: Cell) -> int:
        """The number of the next receipt of a cell: counted, for clocks may be set back."""
        current = self.current(cell)
        return 1 + (current.revision if current is not None else max((r.revision for r in self.past(cell)), default=0))

    def past(self, cell: Cell) -> list[Receipt]:
        """Every readable receipt ever written for a cell, oldest first."""
        return [receipt for receipt in self._written(f"history/{cell.folder}") if receipt.cell == cell]

    def all_current(self) -> Iterator[tuple[str, Receipt | None]]:
        """Every current receipt, by the name of its file; None for one that cannot be read."""
        names = list(self.folder.files("receipts", ".json"))
        yield from self._read_all(names).items()

    def earlier(self, cell: Cell, name: str) -> Receipt | None:
        """The receipt of that name, current or not; None if there is none.

        Raises
        ------
        DamagedStore
            If it cannot be read.
        """
        try:
            return self._parse(history_file(cell, name))
        except FileNotFoundError:
            return None

    def forget(self, cell: Cell) -> None:
        """Remove a cell from the current state; its history stays."""
        self.folder.remove_files([_current_file(cell)])
        self._current[cell] = None
        self.generation += 1

    def history(self, asset: str) -> list[Receipt]:
        """Every readable receipt ever written for the asset, those of each cell oldest first.

        A current one is among them though its copy in the history be lost.
        """
        receipts = [receipt for receipt in self._written(f"history/{asset}") if receipt.asset == asset]
        known = {(receipt.cell, receipt.name) for receipt in receipts}
        current = self._read_all(list(self.folder.files(f"receipts/{asset}", ".json"))).values()
        return receipts + [r for r in current if r is not None and r.asset == asset and (r.cell, r.name) not in known]

    def damaged_history(self, asset: str = "") -> list[str]:
        """Files of the history that cannot be read any more, of one asset or of all."""
        names = list(self.folder.files(f"history/{asset}" if asset else "history", ".json"))
        return [name for name, receipt in self._read_all(names).items() if receipt is None]

    def _written(self, below: str) -> list[Receipt]:
        """Readable receipts below a folder, in the order in which those of each cell were written."""
        # lineage and `enrich repair` name the others; a number of today must not hang on a record of the past
        found = self._read_all(list(self.folder.files(below, ".json"))).values()
        return sorted((r for r in found if r is not None), key=lambda r: (r.revision, r.created_at))

    def _read_all(self, names: Sequence[str]) -> dict[str, Receipt | None]:
        """Receipts by the names of their files; None for one that cannot be read, or is gone."""
        contents = self.folder.read_many(names)
        found: dict[str, Receipt | None] = {}
        for name in names:
            found[name] = None
            with suppress(DamagedStore):
                found[name] = self._parsed(name, contents[name]) if name in contents else None
        return found

    def refresh(self) -> None:
        """Look again from here on: others may have made cells since."""
        self._current.clear()
        self.generation += 1
        self.unreadable.clear()

    def _parse(self, name: str) -> Receipt:
        return self._parsed(name, self.folder.read(name))

    def _parsed(self, name: str, content: bytes) -> Receipt:
        try:
            return Receipt.model_validate_json(whole_text(content))
        except ValueError as error:
            raise DamagedStore(
                f"{self.folder.path(name)} is not a receipt any more ({type(error).__name__}): `enrich repair` mends what can be "
                "mended"
            ) from error


class MissingArtefact(LookupError):
    """Something a cell needs is not there. `cell`: what is missing, where it is a cell."""

    def __init__(self, message: str, cell: Cell | None = None) -> None:
        super().__init__(message)
        self.cell = cell

    def __str__(self) -> str:
        return str(self.args[0])


class DamagedStore(RuntimeError):
    """A stored file is not what its receipt says."""
