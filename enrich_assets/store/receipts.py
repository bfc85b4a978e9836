"""Receipts: the typed record of what an asset's partition holds, what it was made from and by which settings.

One record serves freshness, provenance and history (ARCHITECTURE.md). What the artefact is made of: `artefacts.py`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from enrich_assets.store.folder import Folder

NOT_MADE_YET = "has not been materialised yet: run `enrich run`, or materialise it in the UI"


class Cell(NamedTuple):
    """One asset, or one partition of it. `partition` is "" for an asset without partitions."""

    asset: str
    partition: str = ""

    def __str__(self) -> str:
        return f"{self.asset}[{self.partition}]" if self.partition else self.asset

    @classmethod
    def parse(cls, text: str) -> Cell:
        """The inverse of `str`."""
        asset, _, partition = text.partition("[")
        return cls(asset, partition.removesuffix("]"))

    @property
    def folder(self) -> str:
        """Where it lies below a room of the store; `|` of two-dimensional keys is not a safe file name."""
        return f"{self.asset}/{self.partition.replace('|', '__').replace('%', 'pct') or '_'}"


class Receipt(BaseModel):
    """What one cell holds. Frozen: a new materialisation writes a new receipt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str
    partition: str = ""
    digest: str  # sha256 over the names and digests of `files`; Dagster's data version
    settings: str  # digest of the settings and the code version that made it
    inputs: dict[str, str] = Field(default_factory=dict)  # str(cell) or a named part -> digest
    seen: dict[str, str] = Field(default_factory=dict)  # also read, but only a part counts, and stands among the inputs
    files: dict[str, str] = Field(default_factory=dict)  # name -> sha256: the content
    notes: dict[str, str] = Field(default_factory=dict)  # name -> sha256: beside the content (timings, pictures)
    figures: dict[str, Any] = Field(default_factory=dict)  # counts, seconds, device, MLflow run ...
    run_id: str = ""
    created_at: str = ""

    @property
    def cell(self) -> Cell:
        return Cell(self.asset, self.partition)

    @property
    def folder(self) -> str:
        return f"{self.cell.folder}/{self.digest[:16]}"


def digest_of(value: Any) -> str:
    """sha256 of a JSON-able value; keys in order, so equal values have equal digests."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Receipts:
    """Current and earlier receipts below a folder. Held in memory after the first look; `refresh` looks anew."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._current: dict[Cell, Receipt] = {}
        self._looked: set[str] = set()

    def current(self, cell: Cell) -> Receipt | None:
        if cell not in self._current and not self._looked & {cell.asset}:
            self._look(cell.asset)
        return self._current.get(cell)

    def require(self, cell: Cell) -> Receipt:
        """The current receipt. Raises MissingArtefact, with what to do, when the cell was never materialised."""
        receipt = self.current(cell)
        if receipt is None:
            raise MissingArtefact(f"{cell} {NOT_MADE_YET}")
        return receipt

    def of(self, asset: str) -> dict[str, Receipt]:
        """Partition -> current receipt."""
        if asset not in self._looked:
            self._look(asset)
        return {cell.partition: receipt for cell, receipt in self._current.items() if cell.asset == asset}

    def write(self, receipt: Receipt) -> None:
        content = receipt.model_dump_json(indent=1).encode()
        self.folder.write(f"history/{receipt.folder}.json", content)
        self.folder.write(f"receipts/{receipt.cell.folder}.json", content)
        self._current[receipt.cell] = receipt

    def earlier(self, cell: Cell, digest: str) -> Receipt | None:
        """The receipt by which the cell held that content, now or once; None if there never was one."""
        name = f"history/{cell.folder}/{digest[:16]}.json"
        return self._parse(name) if self.folder.exists(name) else None

    def forget(self, cell: Cell) -> None:
        """Take the cell out of the current state (history stays)."""
        self.folder.remove(f"receipts/{cell.folder}.json")
        self._current.pop(cell, None)

    def history(self, asset: str) -> list[Receipt]:
        """Every receipt ever written for the asset, oldest first."""
        found = [self._parse(name) for name in self.folder.files(f"history/{asset}", ".json")]
        return sorted((r for r in found if r.asset == asset), key=lambda r: r.created_at)

    def refresh(self) -> None:
        self._current.clear()
        self._looked.clear()

    def _look(self, asset: str) -> None:
        for name in self.folder.files(f"receipts/{asset}", ".json"):
            receipt = self._parse(name)
            if receipt.asset == asset:
                self._current[receipt.cell] = receipt
        self._looked.add(asset)

    def _parse(self, name: str) -> Receipt:
        try:
            return Receipt.model_validate_json(self.folder.read(name))
        except ValueError as error:
            raise DamagedStore(
                f"{self.folder.path(name)} is not a receipt any more ({type(error).__name__}): remove that file and "
                "materialise its asset again"
            ) from error


class MissingArtefact(LookupError):
    """Something upstream has not been made yet."""


class DamagedStore(RuntimeError):
    """A stored file is not what its receipt says."""
