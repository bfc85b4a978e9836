"""A home that an earlier version wrote, brought to the layout of this one.

Kept: the batches with their order and manifests, the side of every patient, the register of drops, imported labels, the key, and what people wrote (profile,
incoming). Set aside in `store/earlier-layout/`: whatever can be computed again. Nothing is removed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from enrich_assets.archive.home import LAYOUT_FILE, Archive
from enrich_assets.archive.sides import keep_migrated_sides
from enrich_assets.parquet import from_parquet
from enrich_assets.store.folder import Folder
from enrich_assets.store.receipts import NAME_LENGTH

EARLIER = "earlier-layout"
COMPUTED = ("receipts", "history", "artefacts", "drafts")
REGISTER, DROPS = "arrivals/register.json", "arrivals/drops.json"


@dataclass(frozen=True)
class Migrated:
    """What was brought over."""

    n_batches: int
    n_drops: int


def migrate(archive: Archive) -> Migrated:
    """Bring a home of an earlier version to this layout. Interrupted, it goes on where it stopped.

    Raises
    ------
    ValueError
        For a home that needs no migration, or holds nothing to migrate.
    """
    folder = archive.store.folder
    if folder.exists(LAYOUT_FILE):
        raise ValueError(f"{folder.url} has the layout of this version already")
    if not folder.exists(REGISTER):
        raise ValueError(f"{folder.url} holds no batches of an earlier version")
    entries = json.loads(folder.read(REGISTER))
    known = {batch.name for batch in archive.register.all()}
    for entry in entries:
        if entry["batch"] not in known:
            rows, refused = (_table(folder, entry["batch"], name) for name in ("rows", "refused"))
            archive.register.add(
                entry["batch"], entry["digest"], entry["source"], rows, refused, received_at=entry["received_at"]
            )
    drops = json.loads(folder.read(DROPS)) if folder.exists(DROPS) else {}
    for key, drop in drops.items():
        folder.write(f"drops/{key}.json", json.dumps(drop).encode())
    _keep_sides(archive, [entry["batch"] for entry in entries])
    for name in COMPUTED:
        if folder.exists(name):
            folder.move(name, f"{EARLIER}/{name}")
    for product in (archive.published, archive.report):
        if product.exists():
            product.rename(_free(product.with_name(f"earlier-{product.name}")))
    archive.mark_layout()
    folder.move("arrivals", f"{EARLIER}/arrivals")
    archive.look_again()
    return Migrated(len(entries), len(drops))


def _keep_sides(archive: Archive, batches: list[str]) -> None:
    """Write down who stands on which side: the split is computed again, but moves nobody."""
    folder = archive.store.folder
    sides: dict[str, str] = {}
    for batch in batches:
        receipt = f"receipts/split/{batch}.json"
        if not folder.exists(receipt):
            continue
        digest = json.loads(folder.read(receipt))["digest"]
        content = folder.read(f"artefacts/split/{batch}/{digest[:NAME_LENGTH]}/split.parquet")
        table = from_parquet(content)
        sides = {**dict(zip(table["patient_id"], table["split"], strict=True)), **sides}
    if sides:
        keep_migrated_sides(archive, sides)


def _table(folder: Folder, batch: str, name: str) -> pd.DataFrame:
    return from_parquet(folder.read(f"arrivals/{batch}/{name}.parquet"))


def _free(path: Path) -> Path:
    return next(p for i in range(1, 1000) if not (p := path if i == 1 else path.with_name(f"{i}-{path.name}")).exists())
