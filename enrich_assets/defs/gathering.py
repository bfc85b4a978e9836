"""Drops become batches: which go together, what a changed one does to its batch, what is set aside and why.

Which drops are complete: `studies/drops.py`. Who looks, and when: `sensors.py`.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import pandas as pd

from enrich_assets.archive import Archive, Arriving
from enrich_assets.store.arrivals import Arrival
from enrich_assets.store.receipts import digest_of
from enrich_assets.studies.addresses import flat
from enrich_assets.studies.drops import Drop
from enrich_assets.studies.errors import ManifestError, UnreadableFile
from enrich_assets.studies.manifest import find_manifest

REGISTER = "arrivals/drops.json"
QUARANTINE, REASON = "quarantine", "REASON.txt"
NO_BATCH = ""  # of a drop that was set aside, or brought nothing new


class DropRegister:
    """Which drop went into which batch, and how it looked then. Kept in the store, for the sensor's cursor may be reset.

    Folder names of DICOM exports may be patients' names; the register knows a drop by a keyed hash of its name.
    """

    def __init__(self, archive: Archive) -> None:
        self.folder = archive.store.folder
        self.pseudonyms = archive.pseudonyms
        self.entries: dict[str, dict[str, str]] = (
            json.loads(self.folder.read(REGISTER)) if self.folder.exists(REGISTER) else {}
        )

    def key_of(self, name: str) -> str:
        return "D" + self.pseudonyms.clip(f"drop\0{name}")[1:]

    @property
    def taken(self) -> dict[str, str]:
        return {key: entry["fingerprint"] for key, entry in self.entries.items()}

    def batch_of(self, drop: Drop) -> str:
        return self.entries.get(drop.key, {}).get("batch", NO_BATCH)

    def members(self, batch: str) -> set[str]:
        return {key for key, entry in self.entries.items() if entry["batch"] == batch}

    @property
    def batches(self) -> set[str]:
        return {entry["batch"] for entry in self.entries.values()} - {NO_BATCH}

    def keep(self, drops: Sequence[Drop], batch: str) -> None:
        self.entries |= {drop.key: {"fingerprint": drop.fingerprint, "batch": batch} for drop in drops}
        self.folder.write(REGISTER, json.dumps(self.entries, indent=0).encode())

    def forget(self, drop: Drop) -> None:
        if self.entries.pop(drop.key, None) is not None:
            self.folder.write(REGISTER, json.dumps(self.entries, indent=0).encode())


@dataclass(frozen=True)
class Outcome:
    """What became of some drops: the batch they went into, or why they were set aside. Holds no name of a sealed drop."""

    said: str
    arrival: Arrival | None = None


def take_in_drops(archive: Archive, register: DropRegister, drops: Sequence[Drop]) -> list[Outcome]:
    """Take in complete drops: new ones together, as many to a batch as the profile says; a changed one into its batch.

    A drop that makes no sense is moved to `quarantine/` in home with its reason, and the next is looked at.
    """
    outcomes: list[Outcome] = []
    fresh: list[tuple[Drop, Arriving]] = []
    for drop in drops:
        try:
            arriving = archive.read(drop.url)
            _refuse_unreadable(arriving, drop)
        except (ManifestError, UnreadableFile, FileNotFoundError, ValueError) as error:
            outcomes.append(_set_aside(archive, register, drop, error))
            continue
        if register.batch_of(drop):
            outcomes.append(_take_in_changed(archive, register, drop, arriving))
        else:
            fresh.append((drop, arriving))
    most = archive.profile.incoming.gather
    for at in range(0, len(fresh), most):
        with archive.arriving:
            outcomes.append(_take_in_new(archive, register, fresh[at : at + most]))
    return outcomes


def _take_in_new(archive: Archive, register: DropRegister, found: list[tuple[Drop, Arriving]]) -> Outcome:
    drops = [drop for drop, _ in found]
    arriving = gathered([arriving for _, arriving in found])
    for known in archive.arrivals.all():
        if known.digest == arriving.digest:  # a copy; or we were stopped before this was noted down
            register.keep(drops, known.batch)
            return Outcome(f"{_called(found)}: these very files are batch {known.batch}", known)
    taken = archive.take_in(arriving, _batch_name(archive, found))
    batch = taken.arrival.batch if taken.is_new else NO_BATCH
    register.keep(drops, batch)
    if not taken.is_new:
        return Outcome(f"{_called(found)}: every row is known from earlier batches")
    return Outcome(f"{_called(found)}: batch {batch}, {taken.n_files} files, {taken.n_refused} refused", taken.arrival)


def _take_in_changed(archive: Archive, register: DropRegister, drop: Drop, arriving: Arriving) -> Outcome:
    batch = register.batch_of(drop)
    if len(register.members(batch)) > 1:
        arriving = gathered([_others(archive, batch, drop), arriving])
    taken = archive.take_in(arriving, batch)
    register.keep([drop], batch)
    if not taken.is_new:
        return Outcome(f"a drop of batch {batch} was touched, but holds what it held")
    return Outcome(f"a drop of batch {batch} changed: revision {taken.arrival.revision}", taken.arrival)


def _others(archive: Archive, batch: str, drop: Drop) -> Arriving:
    """What the batch holds from its other drops: the rows whose files do not lie in this one."""
    rows, refused = archive.arrivals.rows(batch), archive.arrivals.refused(batch)

    def kept(table: pd.DataFrame) -> pd.DataFrame:
        mine = [_lies_below(archive.address(str(path)), drop.url) for path in table["path"]]
        return table[[not m for m in mine]].reset_index(drop=True)

    rows = kept(rows)
    said = rows.drop(columns="path").astype("string").fillna("").to_dict("split")["data"]
    return Arriving(rows, kept(refused), digest_of(said), archive.arrivals.get(batch).source)


def _lies_below(path: str, folder: str) -> bool:
    return flat(path).startswith(folder.rstrip("/") + "/")


def gathered(arriving: Sequence[Arriving]) -> Arriving:
    """Several places as one arrival. Of rows that say the same study, clip and frame, the first holds.

    One place stays as it is, so its digest is that of `enrich ingest`.
    """
    if len(arriving) == 1:
        return arriving[0]
    rows = pd.concat([one.rows for one in arriving], ignore_index=True)
    identity = ["study_id", "clip_id", "frame_index"]
    again = rows.duplicated(identity)
    same = rows.duplicated([*identity, "sha256"])
    clash = pd.DataFrame({"path": rows.loc[again & ~same, "path"]})
    clash = clash.assign(reason="another drop of this batch has another file for this study, clip and frame index")
    refused = pd.concat([*(one.refused for one in arriving), clash.astype("string")], ignore_index=True)
    return Arriving(
        rows[~again].reset_index(drop=True),
        refused,
        digest_of(sorted(one.digest for one in arriving)),
        f"{arriving[0].source} and {len(arriving) - 1} more",
        sealed=any(one.sealed for one in arriving),
    )


def _batch_name(archive: Archive, found: list[tuple[Drop, Arriving]]) -> str | None:
    """The first drop's name and how many more; a number where that name may be a patient's."""
    drop, arriving = found[0]
    if arriving.sealed:
        return None
    name = drop.name if len(found) == 1 else f"{drop.name}-and-{len(found) - 1}-more"
    wish, taken = archive.arrivals.new_name(name), set(archive.batches)
    return next(n for i in range(1, 1_000_000) if (n := wish if i == 1 else f"{wish}-{i}") not in taken)


def _called(found: list[tuple[Drop, Arriving]]) -> str:
    """Drops as they may be named in a log."""
    drop, arriving = found[0]
    first = "a DICOM drop" if arriving.sealed else f"drop {drop.name}"
    return first if len(found) == 1 else f"{first} and {len(found) - 1} more"


# ------------------------------------------------------------------------------------------------------- setting aside


def _refuse_unreadable(arriving: Arriving, drop: Drop) -> None:
    if len(arriving.rows):
        return
    if arriving.refused.empty:
        raise ManifestError(
            drop.url, "holds no manifest and no DICOM file", "add a manifest.csv (columns path, patient_id)"
        )
    first = arriving.refused.iloc[0]
    raise ManifestError(
        drop.url, f"none of its {len(arriving.refused)} files can be read; the first: {first.reason}", "copy them again"
    )


def _set_aside(archive: Archive, register: DropRegister, drop: Drop, error: Exception) -> Outcome:
    """Move the drop to quarantine with a readable reason. One that cannot be moved stays, and is left alone until it changes."""
    named = (
        find_manifest(drop.url) is not None
    )  # else its name and its files' may be a patient's: said only beside the raw files
    text = (
        f"{error}\n\nThis folder was taken out of {archive.incoming} because it cannot be used as it is.\n"
        f"Correct it, remove this {REASON}, and move the folder back.\n"
    )
    what = f"drop {drop.name}" if named else "a drop without a manifest"
    why = str(error) if named else "nothing in it can be read"
    try:
        place = move_to_quarantine(archive, drop, text)
    except OSError as failure:
        register.keep([drop], NO_BATCH)
        return Outcome(f"{what} is broken and could not be moved to quarantine ({type(failure).__name__}): {why}")
    register.forget(drop)
    return Outcome(f"{what} was moved to {place if named else archive.home / QUARANTINE}: {why}")


def move_to_quarantine(archive: Archive, drop: Drop, text: str) -> str:
    """Whole or not at all: the drop is brought beside, its reason written, then the folder gets its name."""
    quarantine = archive.home / QUARANTINE
    quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = next(
        place
        for i in range(1, 10_000)
        if not (place := quarantine / (drop.name if i == 1 else f"{drop.name}-{i}")).exists()
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
    return str(target)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def remove_read_drops(archive: Archive, register: DropRegister, batch: str) -> int:
    """Remove the drops of DICOM files alone that went into the batch, as they stood then; how many."""
    from enrich_assets.studies.drops import examine, folders

    removed = 0
    for name in folders(archive.incoming):
        entry = register.entries.get(register.key_of(name))
        url = f"{archive.incoming.rstrip('/')}/{name}"
        if entry is None or entry["batch"] != batch or find_manifest(url) or examine(url)[0] != entry["fingerprint"]:
            continue
        fs, root = fsspec.core.url_to_fs(url)
        fs.rm(root, recursive=True)
        removed += 1
    return removed
