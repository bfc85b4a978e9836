"""What may be removed from a store: whatever nothing of today stands on.

Kept is every current receipt, every receipt reached from one through what was read (so the whole chain behind a current evaluation),
and their artefacts. The rest is history: earlier versions, and what interrupted attempts left. Young files are left alone, because
somebody may be about to write the receipt that names them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from enrich_assets.store.artefacts import DRAFTS, Store
from enrich_assets.store.receipts import Cell, DamagedStore, Receipt, history_file

LEAVE_SECONDS = 3600.0


@dataclass
class Prunable:
    """Files that may go, by room; and how much that is."""

    files: list[str] = field(default_factory=list)
    n_receipts: int = 0
    n_bytes: int = 0


def prunable(store: Store, clock: Callable[[], float] = time.time) -> Prunable:
    """What nothing of today stands on.

    Parameters
    ----------
    store
        Is only read.
    clock
        Seconds since 1970: files younger than `LEAVE_SECONDS` are left alone.

    Raises
    ------
    DamagedStore
        For a current receipt that cannot be read: then nothing is known.
    """
    receipts = _reachable(store)
    kept_history = {history_file(receipt.cell, receipt.name) for receipt in receipts}
    kept_artefacts = {f"artefacts/{receipt.folder}/" for receipt in receipts}
    unused = Prunable()
    for room in ("history", "artefacts", DRAFTS):
        for name, (size, changed_at) in store.folder.described(room).items():
            if name in kept_history or any(name.startswith(folder) for folder in _parents(name) & kept_artefacts):
                continue
            if clock() - changed_at < LEAVE_SECONDS:
                continue
            unused.files.append(name)
            unused.n_receipts += room == "history"
            unused.n_bytes += size
    return unused


def prune(store: Store, unused: Prunable) -> None:
    """Remove it: receipts before what they name, so that an interruption leaves none that names what is gone."""
    is_receipt = {name: name.startswith("history/") for name in unused.files}
    for receipts in (True, False):
        store.folder.remove_files([name for name in unused.files if is_receipt[name] is receipts])
    store.folder.remove_empty_folders("artefacts", "history", DRAFTS)


def _parents(name: str) -> set[str]:
    parts = name.split("/")
    return {"/".join(parts[:i]) + "/" for i in range(1, len(parts))}


def _reachable(store: Store) -> list[Receipt]:
    waiting: list[Receipt] = []
    for name, receipt in store.receipts.all_current():
        if receipt is None:
            raise DamagedStore(f"{store.folder.path(name)} is not a receipt any more: `enrich repair`; then prune")
        waiting.append(receipt)
    seen = {(receipt.cell, receipt.name): receipt for receipt in waiting}
    while waiting:
        for cell_name, (_, name) in waiting.pop().read.items():
            cell = Cell.parse(cell_name)
            if (cell, name) in seen:
                continue
            try:
                earlier = store.receipts.earlier(cell, name)
            except DamagedStore:
                earlier = None
            if earlier is not None:
                seen[cell, name] = earlier
                waiting.append(earlier)
    return list(seen.values())
