"""What a step reads: the artefacts of some cells as one typed value. Values of each kind: the modules beside.

A value knows nothing but the receipts it was given; so a cell reads what it declares and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from enrich_assets.store.artefacts import Store
from enrich_assets.store.receipts import Receipt, digest_of


class Part(Protocol):
    """A part of a value, named by its own digest: only what is in it can make a reader stale."""

    @property
    def digest(self) -> str: ...


class Value:
    """What the cells of one asset hold.

    Parameters
    ----------
    store
        Where their files are.
    receipts
        Partition -> receipt, in the order of the partitions.
    """

    def __init__(self, store: Store, receipts: Mapping[str, Receipt]) -> None:
        self.store, self.receipts = store, dict(receipts)

    @property
    def partitions(self) -> list[str]:
        return list(self.receipts)

    @property
    def is_there(self) -> bool:
        """Whether any cell of it was made."""
        return bool(self.receipts)

    @property
    def receipt(self) -> Receipt:
        """The one receipt of a value that has one. Raises ValueError for any other."""
        (receipt,) = self.receipts.values()
        return receipt

    @property
    def metrics(self) -> dict[str, Any]:
        """Of its one receipt."""
        return self.receipt.metrics

    def table(self, name: str) -> pd.DataFrame:
        """A stored table, partition after partition.

        Raises
        ------
        DamagedStore
            If its file is gone or changed.
        """
        return joined([self.store.table(receipt, name) for receipt in self.receipts.values()])

    def array(self, name: str) -> np.ndarray:
        """A stored array of its one receipt, memory-mapped where the store is local. Raises DamagedStore."""
        return self.store.array(self.receipt, name)

    def weights(self, name: str) -> dict[str, np.ndarray]:
        """Stored weights of its one receipt: name of a tensor -> array. Raises DamagedStore."""
        return self.store.weights(self.receipt, name)


V = TypeVar("V", bound=Value)


@dataclass(frozen=True)
class Plain:
    """A part that is plain data: a number, names, a mapping."""

    value: Any

    @property
    def digest(self) -> str:
        return digest_of(self.value)


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of equal columns, one after the other; empty ones do not spoil the types."""
    full = [table for table in tables if len(table)] or list(tables[:1])
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame()
