"""The batches that were ingested: their order, and the manifest rows of each as they came. Nothing is ever overwritten.

    batches/<batch>/<revision>[-<arrival>]/{rows,refused}.parquet, batch.json

In a store elsewhere each arrival has a folder of its own, because no lock reaches from one machine to another: two that take the same
name at once are both kept, and the later one goes by the name and its arrival. `batch.json` is written last (after a copy of it, `entry.json`): a revision without one was never ingested. A batch that is ingested again gets another revision and
keeps its place. Deciding what belongs to a batch is the business of `archive.ingest`; reading the files, of `studies`.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Sequence

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from enrich_assets.parquet import from_parquet, to_parquet
from enrich_assets.store.folder import Folder
from enrich_assets.store.integrity import is_whole, record_bytes, record_of
from enrich_assets.store.receipts import DamagedStore, now

ROOM, ENTRY, COPY = "batches", "batch.json", "entry.json"


class Batch(BaseModel):
    """Studies ingested together, as one revision of them stands in the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    order: int  # of ingestion, from 1; a later revision keeps it
    digest: str  # of the files, ids and labels, wherever the folder stands
    source: str
    received_at: str
    revision: int = 1
    files: dict[str, str] = Field(default_factory=dict)  # name -> sha256; none of a batch of an earlier version
    arrival: str = ""  # in a store elsewhere: tells arrivals apart that took one name at once
    named: str = ""  # of the later of those: the name that both took

    @property
    def folder(self) -> str:
        """Where its files lie in the store."""
        return f"{ROOM}/{self.named or self.name}/{self.revision:04d}{f'-{self.arrival}' if self.arrival else ''}"


class Batches:
    """Reads and adds to the register. It holds nothing in memory: who needs one state of it keeps what `all` gave."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def all(self) -> tuple[Batch, ...]:
        """The latest revision of each batch, in the order of ingestion.

        Raises
        ------
        DamagedStore
            If the entry of a batch cannot be read.
        """
        found: list[Batch] = []
        entries = self.folder.read_many(list(self.folder.files(ROOM, f"/{ENTRY}")))
        for entry, content in entries.items():
            found.append(self._parsed(entry, content))
        latest: dict[str, Batch] = {}
        for batch in sorted(_told_apart(found), key=lambda batch: (batch.revision, batch.received_at, batch.arrival)):
            latest[batch.name] = batch
        return tuple(sorted(latest.values(), key=lambda batch: (batch.order, batch.received_at)))

    def rows(self, batch: Batch) -> pd.DataFrame:
        """Its manifest: a row per file or frame, as ingested."""
        return self._table(batch, "rows")

    def refused(self, batch: Batch) -> pd.DataFrame:
        """Files that could not be ingested: columns path, reason."""
        return self._table(batch, "refused")

    def add(
        self,
        name: str,
        digest: str,
        source: str,
        rows: pd.DataFrame,
        refused: pd.DataFrame,
        received_at: str | None = None,
    ) -> Batch:
        """Keep the rows of a batch, then its entry. Call it under the lock of ingestion: it takes the next free number.

        Parameters
        ----------
        name
            Of `new_name`; a batch of that name gets another revision and keeps its place.
        digest
            Of the files, ids and labels.
        source
            Where they lay.
        rows
            Of the manifest.
        refused
            Files that could not be ingested: columns path, reason.
        received_at
            ISO 8601, UTC; now, where it is not given.
        """
        known = self.all()
        contents = {f"{title}.parquet": to_parquet(table) for title, table in (("rows", rows), ("refused", refused))}
        before = next((batch for batch in known if batch.name == name), None)
        batch = Batch(
            name=name,
            order=before.order if before else 1 + max((batch.order for batch in known), default=0),
            digest=digest,
            source=source,
            received_at=received_at or now(),
            revision=before.revision + 1 if before else 1,
            files={file: hashlib.sha256(content).hexdigest() for file, content in contents.items()},
            arrival="" if self.folder.is_local else uuid.uuid4().hex[:12],
        )
        self.folder.write_many({f"{batch.folder}/{file}": content for file, content in contents.items()})
        record = batch.model_dump(mode="json", exclude={"named"} | ({"arrival"} if not batch.arrival else set()))
        for file in (COPY, ENTRY):
            self.folder.write(f"{batch.folder}/{file}", record_bytes(record))
        return batch

    def new_name(self, wish: str | None) -> str:
        """A batch name fit for a path and a partition key.

        Parameters
        ----------
        wish
            What the user calls it; None: the next free number.

        Raises
        ------
        ValueError
            If no character of the wish is fit for a name, or it is too long.
        """
        if wish is None:
            taken = {batch.name for batch in self.all()}
            return next(name for i in range(1, 1_000_000) if (name := f"batch-{i:04d}") not in taken)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", wish).strip("-.")
        if not name:
            raise ValueError(f"{wish!r} is no name for a batch: letters, digits, '-', '_' and '.'")
        if len(name) > MOST_CHARACTERS:
            raise ValueError(f"the name of a batch has at most {MOST_CHARACTERS} characters; this one has {len(name)}")
        return name

    def _table(self, batch: Batch, title: str) -> pd.DataFrame:
        file = f"{title}.parquet"
        content = self.folder.read_many([f"{batch.folder}/{file}"]).get(f"{batch.folder}/{file}")
        wanted = batch.files.get(file)
        if content is None or (wanted is not None and hashlib.sha256(content).hexdigest() != wanted):
            raise self._damage(batch, file, "gone" if content is None else "changed")
        return from_parquet(content)

    def require_whole(self, batch: Batch) -> None:
        """Compare the files of a batch with what was written; local ones once per process.

        Raises
        ------
        DamagedStore
            If one is gone or changed, with what to do.
        """
        for file, what in self.damaged(batch).items():
            raise self._damage(batch, file, what)

    def _damage(self, batch: Batch, file: str, what: str) -> DamagedStore:
        return DamagedStore(
            f"{self.folder.path(f'{batch.folder}/{file}')} is {what}, and nothing here can make it again: ingest {batch.source} again "
            f"with `--batch {batch.name}`"
        )

    def damaged(self, batch: Batch) -> dict[str, str]:
        """Files of a batch that no longer hold what was written: name -> `changed` or `gone`."""
        damage: dict[str, str] = {}
        for file in ("rows.parquet", "refused.parquet"):
            name, wanted = f"{batch.folder}/{file}", batch.files.get(file)
            try:
                if not is_whole(self.folder, name, wanted or ""):
                    damage |= {file: "changed"} if wanted is not None else {}
            except FileNotFoundError:
                damage[file] = "gone"
        return damage

    def _parsed(self, entry: str, content: bytes) -> Batch:
        try:
            return Batch.model_validate(record_of(content))
        except ValueError as error:
            raise DamagedStore(
                f"{self.folder.path(entry)} is not readable any more ({type(error).__name__}): `enrich repair` puts back its copy, or "
                "says what to ingest again"
            ) from error


MOST_CHARACTERS = 100


def _told_apart(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Batches, of which those that took the name of another at the same time go by that name and their arrival.

    The same files under the same name are one batch, however often they arrived at once.
    """
    first: dict[str, Batch] = {}
    for batch in sorted(batches, key=lambda batch: (batch.received_at, batch.arrival)):
        if batch.revision > 1:
            yield batch
            continue
        holder = first.setdefault(batch.name, batch)
        if holder is batch:
            yield batch
        elif holder.digest != batch.digest:
            yield batch.model_copy(update={"named": batch.name, "name": f"{batch.name}-{batch.arrival[:6]}"})
