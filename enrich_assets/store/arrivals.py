"""The register of arrivals: which batches came, in order, and the manifest rows of each as they came.

Deciding what belongs to a batch is the business of `enrich_assets.archive`; reading the files, of `studies`.
"""

from __future__ import annotations

import io
import json
import re

import pandas as pd
from pydantic import BaseModel, ConfigDict

from enrich_assets.store.folder import Folder
from enrich_assets.store.receipts import now

REGISTER = "arrivals/register.json"


class Arrival(BaseModel):
    """One batch: what arrived together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: str
    digest: str  # of the arrived files, ids and labels, wherever the folder stands
    source: str
    received_at: str
    revision: int = 1  # a changed drop keeps its batch


class Arrivals:
    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def all(self) -> list[Arrival]:
        """In the order of arrival."""
        if not self.folder.exists(REGISTER):
            return []
        return [Arrival.model_validate(entry) for entry in json.loads(self.folder.read(REGISTER))]

    def batches(self) -> list[str]:
        return [arrival.batch for arrival in self.all()]

    def get(self, batch: str) -> Arrival:
        for arrival in self.all():
            if arrival.batch == batch:
                return arrival
        raise LookupError(f"no batch {batch!r} has arrived; there are: {', '.join(self.batches()) or 'none'}")

    def rows(self, batch: str) -> pd.DataFrame:
        return pd.read_parquet(io.BytesIO(self.folder.read(f"arrivals/{batch}/rows.parquet")))

    def refused(self, batch: str) -> pd.DataFrame:
        """Files that could not be taken in: columns path, reason."""
        return pd.read_parquet(io.BytesIO(self.folder.read(f"arrivals/{batch}/refused.parquet")))

    def register(self, batch: str, digest: str, source: str, rows: pd.DataFrame, refused: pd.DataFrame) -> Arrival:
        """Keep the rows, then the entry; a batch of that name keeps its place in the order and gets a new revision."""
        for name, table in (("rows", rows), ("refused", refused)):
            buffer = io.BytesIO()
            table.to_parquet(buffer, index=False)
            self.folder.write(f"arrivals/{batch}/{name}.parquet", buffer.getvalue())
        known = {arrival.batch: arrival for arrival in self.all()}
        revision = known[batch].revision + 1 if batch in known else 1
        arrival = Arrival(batch=batch, digest=digest, source=source, received_at=now(), revision=revision)
        known[batch] = arrival
        content = json.dumps([entry.model_dump() for entry in known.values()], indent=1)
        self.folder.write(REGISTER, content.encode())
        return arrival

    def new_name(self, wish: str | None) -> str:
        """A batch name fit for a path and a partition key; numbered when nobody named it."""
        if wish is None:
            taken = set(self.batches())
            return next(name for i in range(1, 1_000_000) if (name := f"batch-{i:04d}") not in taken)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", wish).strip("-.")
        if not name:
            raise ValueError(f"{wish!r} is no name for a batch: letters, digits, '-', '_' and '.'")
        return name
