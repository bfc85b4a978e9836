"""Drops become batches: which go together, what a changed one does to its batch, what is set aside and why.

Which drops are complete: `studies.drops`. Who looks, and when: `defs.sensors`; the run that ingests them: `defs.jobs`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fsspec
import pandas as pd

from enrich_assets.archive.home import Archive
from enrich_assets.archive.ingest import IDENTITY, Found, Ingested, look_at, register
from enrich_assets.archive.sources import source_files
from enrich_assets.store.batches import Batch
from enrich_assets.store.receipts import digest_of
from enrich_assets.studies.addresses import flat
from enrich_assets.studies.drops import Drop, examine, folders
from enrich_assets.studies.errors import ManifestError, UnreadableFile
from enrich_assets.studies.files import shown
from enrich_assets.studies.manifest import find_manifest

ROOM = "drops"
QUARANTINE, REASON = "quarantine", "REASON.txt"
NO_BATCH = ""  # of a drop that was set aside, or brought nothing new


class DropRegister:
    """Which drop went into which batch, and how it looked then: one small file per drop in the store.

    Folder names of DICOM exports may be patients' names; the register knows a drop by a keyed hash of its name.
    """

    def __init__(self, archive: Archive) -> None:
        self.folder = archive.store.folder
        self._archive = archive

    @cached_property
    def entries(self) -> dict[str, dict[str, str]]:
        """Key of a drop -> its fingerprint and batch."""
        contents = self.folder.read_many(list(self.folder.files(ROOM, ".json")))
        return {name.rpartition("/")[2].removesuffix(".json"): json.loads(text) for name, text in contents.items()}

    def key_of(self, name: str) -> str:
        """The keyed hash by which a drop of that name is known."""
        return "D" + self._archive.pseudonyms.clip(f"drop\0{name}")[1:]

    @property
    def ingested(self) -> dict[str, str]:
        """key -> fingerprint, of the drops that were dealt with."""
        return {key: entry["fingerprint"] for key, entry in self.entries.items()}

    def batch_of(self, drop: Drop) -> str:
        """The batch a drop went into; "" if it went into none."""
        return self.entries.get(drop.key, {}).get("batch", NO_BATCH)

    def members(self, batch: str) -> set[str]:
        """Keys of the drops of a batch."""
        return {key for key, entry in self.entries.items() if entry["batch"] == batch}

    @property
    def batches(self) -> set[str]:
        """Names of the batches that came by drops."""
        return {entry["batch"] for entry in self.entries.values()} - {NO_BATCH}

    def keep(self, drops: Sequence[Drop], batch: str) -> None:
        """Note that these drops, as they are now, went into a batch."""
        for drop in drops:
            self.entries[drop.key] = {"fingerprint": drop.fingerprint, "batch": batch}
            self.folder.write(f"{ROOM}/{drop.key}.json", json.dumps(self.entries[drop.key]).encode())

    def forget(self, drop: Drop) -> None:
        """Remove what is noted of a drop."""
        if self.entries.pop(drop.key, None) is not None:
            self.folder.remove_files([f"{ROOM}/{drop.key}.json"])


@dataclass(frozen=True)
class Outcome:
    """What became of some drops: the batch they went into, or why they were set aside. Holds no name of a sealed drop."""

    message: str
    batch: Batch | None = None
    error: Exception | None = None  # what nobody expected: the drop is as it was, and its run must fail


def find_drops(archive: Archive, keys: Sequence[str]) -> list[Drop]:
    """The drops of these keys as they lie in `incoming/` now; those that have gone are left out."""
    drop_register, wanted = DropRegister(archive), set(keys)
    drops = []
    for name in folders(archive.incoming):
        key = drop_register.key_of(name)
        if key in wanted:
            url = f"{archive.incoming.rstrip('/')}/{name}"
            known = key in drop_register.entries
            drops.append(Drop(name, url, key, examine(url)[0], "changed" if known else "new"))
    return drops


def ingest_drops(archive: Archive, drops: Sequence[Drop]) -> list[Outcome]:
    """Ingest complete drops: new ones together, as many to a batch as the profile says; a changed one into its batch.

    Returns
    -------
    list of Outcome
        One per batch, and one per drop that became none. A drop that makes no sense is moved to `quarantine/` in home
        with its reason. One that fails in a way nobody expected stays where it is; its outcome holds the error.
        Neither stops the others.
    """
    drop_register = DropRegister(archive)
    outcomes: list[Outcome] = []
    fresh: list[tuple[Drop, Found]] = []
    for drop in drops:
        try:
            found = look_at(archive, drop.url)
            _refuse_unreadable(found, drop)
        except (ManifestError, UnreadableFile, FileNotFoundError, ValueError) as error:
            outcomes.append(_set_aside(archive, drop_register, drop, error))
            continue
        except Exception as error:
            outcomes.append(_unexpected(drop, error))
            continue
        if drop_register.batch_of(drop):
            outcomes.append(_ingest_changed(archive, drop_register, drop, found))
        else:
            fresh.append((drop, found))
    most = archive.profile.incoming.drops_per_batch
    for at in range(0, len(fresh), most):
        with archive.ingesting:
            outcomes.append(_ingest_new(archive, drop_register, fresh[at : at + most]))
    return outcomes


def _unexpected(drop: Drop, error: Exception) -> Outcome:
    """Says which drop only where its name cannot be a patient's."""
    try:
        named = find_manifest(drop.url) is not None
    except OSError:
        named = False
    why = (
        f"drop {shown(drop.name)} could not be read: {error}"
        if named
        else f"a drop could not be read ({type(error).__name__})"
    )
    return Outcome(why, error=error)


def _ingest_new(archive: Archive, drop_register: DropRegister, fresh: list[tuple[Drop, Found]]) -> Outcome:
    drops = [drop for drop, _ in fresh]
    found = together([one for _, one in fresh])
    for known in archive.register.all():
        if known.digest == found.digest:  # a copy; or we were stopped before this was noted down
            drop_register.keep(drops, known.name)
            return Outcome(f"{_called(fresh)}: these very files are batch {known.name}", known)
    ingested = register(archive, found, _batch_name(archive, fresh))
    drop_register.keep(drops, ingested.batch.name if ingested.is_new else NO_BATCH)
    if not ingested.is_new:
        return Outcome(f"{_called(fresh)}: every row is known from earlier batches")
    return Outcome(f"{_called(fresh)}: {_counted(ingested, found.sealed)}", ingested.batch)


def _counted(ingested: Ingested, sealed: bool) -> str:
    """Of a sealed batch, whose files' names may be patients', warnings are counted, not quoted."""
    counts = f"batch {ingested.batch.name}, {ingested.n_files} files, {ingested.n_refused} refused"
    if sealed and ingested.warnings:
        return f"{counts}, {len(ingested.warnings)} warnings: `enrich ingest` of the folder shows them"
    return "".join([counts, *(f"; warning: {warning}" for warning in ingested.warnings)])


def _ingest_changed(archive: Archive, drop_register: DropRegister, drop: Drop, found: Found) -> Outcome:
    batch = drop_register.batch_of(drop)
    if len(drop_register.members(batch)) > 1:
        found = together([_others(archive, batch, drop), found])
    ingested = register(archive, found, batch)
    drop_register.keep([drop], batch)
    if not ingested.is_new:
        return Outcome(f"a drop of batch {batch} was touched, but holds what it held")
    return Outcome(f"a drop of batch {batch} changed: revision {ingested.batch.revision}", ingested.batch)


def _others(archive: Archive, name: str, drop: Drop) -> Found:
    """What the batch holds from its other drops: the rows whose files do not lie in this one."""
    batch = archive.batch(name)
    rows, refused = archive.register.rows(batch), archive.register.refused(batch)
    files = source_files(archive)

    def kept(table: pd.DataFrame) -> pd.DataFrame:
        in_drop = [_lies_below(files.address(str(path)), drop.url) for path in table["path"]]
        return table[[not below for below in in_drop]].reset_index(drop=True)

    rows = kept(rows)
    statements = rows.drop(columns="path").astype("string").fillna("").to_dict("split")["data"]
    return Found(rows, kept(refused), digest_of(statements), batch.source)


def _lies_below(path: str, folder: str) -> bool:
    return flat(path).startswith(folder.rstrip("/") + "/")


def together(found: Sequence[Found]) -> Found:
    """Several places as one batch. Of rows that say the same study, clip and frame, the first holds.

    One place stays as it is, so its digest is that of `enrich ingest`.
    """
    if len(found) == 1:
        return found[0]
    rows = pd.concat([one.rows for one in found], ignore_index=True)
    repeated = rows.duplicated(IDENTITY)
    same = rows.duplicated([*IDENTITY, "sha256"])
    clash = pd.DataFrame({"path": rows.loc[repeated & ~same, "path"]})
    clash = clash.assign(reason="another drop of this batch has another file for this study, clip and frame index")
    refused = pd.concat([*(one.refused for one in found), clash.astype("string")], ignore_index=True)
    return Found(
        rows[~repeated].reset_index(drop=True),
        refused,
        digest_of(sorted(one.digest for one in found)),
        f"{found[0].source} and {len(found) - 1} more",
        sealed=any(one.sealed for one in found),
    )


def _batch_name(archive: Archive, fresh: list[tuple[Drop, Found]]) -> str | None:
    """The first drop's name and how many more; a number where that name may be a patient's."""
    drop, found = fresh[0]
    if found.sealed:
        return None
    name = drop.name if len(fresh) == 1 else f"{drop.name}-and-{len(fresh) - 1}-more"
    try:
        wish = archive.register.new_name(name)
    except ValueError:  # a folder name of which nothing fit for a name is left
        return None
    taken = {batch.name for batch in archive.register.all()}
    return next(n for i in range(1, 1_000_000) if (n := wish if i == 1 else f"{wish}-{i}") not in taken)


def _called(fresh: list[tuple[Drop, Found]]) -> str:
    """Drops as they may be named in a log."""
    drop, found = fresh[0]
    first = "a DICOM drop" if found.sealed else f"drop {shown(drop.name)}"
    return first if len(fresh) == 1 else f"{first} and {len(fresh) - 1} more"


# ------------------------------------------------------------------------------------------------------- setting aside


def _refuse_unreadable(found: Found, drop: Drop) -> None:
    if len(found.rows):
        return
    if found.refused.empty:
        raise ManifestError(
            drop.url, "holds no manifest and no DICOM file", "add a manifest.csv (columns path, patient_id)"
        )
    first = found.refused.iloc[0]
    raise ManifestError(
        drop.url, f"none of its {len(found.refused)} files can be read; the first: {first.reason}", "copy them again"
    )


def _set_aside(archive: Archive, drop_register: DropRegister, drop: Drop, error: Exception) -> Outcome:
    """Move the drop to quarantine with a readable reason. One that cannot be moved stays, and is left alone until it changes."""
    named = (
        find_manifest(drop.url) is not None
    )  # else its name and its files' may be a patient's: written only beside the raw files
    text = (
        f"{error}\n\nThis folder was taken out of {archive.incoming} because it cannot be used as it is.\n"
        f"Correct it, remove this {REASON}, and move the folder back.\n"
    )
    what = f"drop {shown(drop.name)}" if named else "a drop without a manifest"
    why = str(error) if named else "nothing in it can be read"
    try:
        place = move_to_quarantine(archive, drop, text)
    except OSError as failure:
        drop_register.keep([drop], NO_BATCH)
        return Outcome(f"{what} is broken and could not be moved to quarantine ({type(failure).__name__}): {why}")
    drop_register.forget(drop)
    return Outcome(f"{what} was moved to {place if named else archive.home / QUARANTINE}: {why}")


def move_to_quarantine(archive: Archive, drop: Drop, text: str) -> str:
    """Move a drop out of `incoming/`, whole or not at all: it gets its name once its reason lies beside its files.

    Parameters
    ----------
    archive, drop
        From where.
    text
        The reason, for `REASON.txt`.

    Returns
    -------
    str
        The folder it lies in now.

    Raises
    ------
    OSError
        If it cannot be moved.
    """
    quarantine = archive.home / QUARANTINE
    quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = _with_room_for_more(drop.name)
    target = next(
        place for i in range(1, 10_000) if not (place := quarantine / (name if i == 1 else f"{name}-{i}")).exists()
    )
    beside = quarantine / f".{target.name}"
    fs, root = fsspec.core.url_to_fs(drop.url)
    if "file" in _protocols(fs):
        shutil.move(root, beside)
    else:
        fs.get(root, str(beside), recursive=True)
        fs.rm(root, recursive=True)
    (beside / REASON).write_text(text, encoding="utf-8")
    beside.rename(target)
    return shown(str(target))


def _with_room_for_more(name: str) -> str:
    """A file name may have 255 bytes: the first 200, so that a dot and a number go with them."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= 200 else encoded[:200].decode("utf-8", "ignore")


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def remove_read_drops(archive: Archive, drop_register: DropRegister, batch: str) -> int:
    """Remove the drops that went into a batch and lie there unchanged; only those of DICOM files alone.

    Returns
    -------
    int
        How many were removed.
    """
    removed = 0
    for name in folders(archive.incoming):
        entry = drop_register.entries.get(drop_register.key_of(name))
        url = f"{archive.incoming.rstrip('/')}/{name}"
        if entry is None or entry["batch"] != batch or find_manifest(url) or examine(url)[0] != entry["fingerprint"]:
            continue
        fs, root = fsspec.core.url_to_fs(url)
        fs.rm(root, recursive=True)
        removed += 1
    return removed
