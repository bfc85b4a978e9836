"""What a cell reads now, gathered: cells and their receipts, and the digests that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from enrich_assets.store.receipts import Cell, Origin, Receipt


class Gathered:
    """The cells that a read names, with their receipts, and what follows from them; of a read of all cells kept for its readers."""

    def __init__(self, receipts: dict[Cell, Receipt]) -> None:
        self.receipts = receipts
        self.are_sound = False  # whether that was looked at, and found
        self._part: Any = None

    def kept(self, part: Callable[[], Any]) -> Any:
        """The part of them that the read is of, where nothing else chooses it: worked out once."""
        if self._part is None:
            self._part = part()
        return self._part

    @cached_property
    def digests(self) -> dict[str, dict[str, str]]:
        """Asset -> str(cell) -> digest of its content."""
        by_asset: dict[str, dict[str, str]] = {}
        for cell, receipt in self.receipts.items():
            by_asset.setdefault(cell.asset, {})[str(cell)] = receipt.digest
        return by_asset


@dataclass
class Inputs:
    """What a cell reads now."""

    counted: dict[str, str] = field(default_factory=dict)  # str(cell), part or source -> digest
    by_read: dict[str, dict[Cell, Receipt]] = field(default_factory=dict)  # name of a read -> its cells
    digests: dict[str, dict[str, str]] = field(default_factory=dict)  # asset -> str(cell) -> digest of its content

    @property
    def read(self) -> dict[str, Origin]:
        """str(cell) -> content and receipt, of all cells; asked for when the cell is made, not for each look at it."""
        receipts = (read.items() for read in self.by_read.values())
        return {str(cell): Origin(r.digest, r.name) for cell, r in chain.from_iterable(receipts)}

    def add(self, name: str, gathered: Gathered) -> None:
        """What one read names."""
        self.by_read[name] = gathered.receipts
        for asset, digests in gathered.digests.items():
            known = self.digests.setdefault(asset, digests)
            if known is not digests:
                self.digests[asset] = {**known, **digests}
