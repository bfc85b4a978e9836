"""What is missing or damaged in a home: each finding with what `enrich repair` does about it, or why nothing can be done here.

Every stored file that a current receipt names is compared with its digest; so are the manifests of the batches and imported labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import dagster as dg

from enrich_assets.archive.home import LAYOUT_FILE, Archive
from enrich_assets.archive.key import KeyLost
from enrich_assets.core.planner import Planner
from enrich_assets.core.step import Step
from enrich_assets.defs.mount import Mount
from enrich_assets.running.upkeep.databases import (
    database_files,
    put_aside,
    tell_dagster,
    unknown_to_dagster,
    unknown_to_mlflow,
    why_damaged,
)
from enrich_assets.store.annotations import Annotations
from enrich_assets.store.batches import COPY
from enrich_assets.store.integrity import record_of, whole_text
from enrich_assets.store.receipts import Cell, DamagedStore, Receipt, history_file

RUNS_AGAIN = "`enrich repair` makes it again"
AT_ONCE = "`enrich repair` mends it"


@dataclass(frozen=True)
class Finding:
    """Something that is missing or damaged.

    Parameters
    ----------
    what, harm
        Which thing, and what is wrong with it.
    remedy
        What is done about it, or what somebody must do.
    mend
        Does it, as far as it is not done by the run that follows; None: nothing can be done here.
    """

    what: str
    harm: str
    remedy: str
    mend: Callable[[], object] | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.harm}; {self.remedy}"


def in_the_home(archive: Archive) -> Iterator[Finding]:
    """Of the home itself: profile, layout, databases."""
    folder = archive.store.folder
    if archive.profile_kept.lost_text is not None:
        yield Finding("enrich.yaml", "is gone", "its last state was kept and is put back", archive.profile_kept.restore)
    if folder.exists("batches") and not folder.exists("arrivals") and not _is_json(archive, LAYOUT_FILE):

        def mend() -> None:
            folder.remove(LAYOUT_FILE)
            archive.mark_layout()

        yield Finding(folder.path(LAYOUT_FILE), "is gone or damaged", AT_ONCE, mend)
    for file in database_files(archive):
        if (why := why_damaged(file)) is not None:
            put = lambda file=file: put_aside(file)  # noqa: E731
            yield Finding(str(file), f"cannot be read ({why})", "it is put aside, and another one begun", put)


def of_the_key(archive: Archive) -> Iterator[Finding]:
    """Of the key: which one batches depend on, their registers say, so those are looked at before."""
    try:
        archive.pseudonyms  # noqa: B018
    except KeyLost as lost:
        yield Finding("the key", str(lost), "nothing can be done here")


def in_the_registers(archive: Archive) -> Iterator[Finding]:
    """Of what was ingested: batches, imported labels, drops."""
    folder = archive.store.folder
    for entry in folder.files("batches", "/batch.json"):
        if not _is_record(archive, entry):
            name, copy = entry.split("/")[1], f"{entry.rpartition('/')[0]}/{COPY}"
            if _is_record(archive, copy):
                put = lambda entry=entry, copy=copy: folder.write(entry, folder.read(copy))  # noqa: E731
                yield Finding(folder.path(entry), "is not readable", "its copy is put back", put)
                continue
            remedy = f"remove {folder.path(entry.rpartition('/')[0])} and ingest that batch again with `--batch {name}`"
            yield Finding(folder.path(entry), "is not readable", remedy)
    try:
        batches = archive.register.all()
        for batch in batches:
            for file, how in archive.register.damaged(batch).items():
                again = f"ingest {batch.source} again with `--batch {batch.name}`"
                yield Finding(
                    folder.path(f"{batch.folder}/{file}"), f"is {how}", f"nothing here can make it again: {again}"
                )
    except DamagedStore:
        pass  # named above
    log = Annotations(folder)
    try:
        for entry_ in log.entries():
            for file, why in log.damaged(entry_).items():
                yield Finding(f"imported labels {file}", why, "until then the labels of that batch cannot be read")
    except DamagedStore as damage:
        yield Finding("imported labels", str(damage), "until then no labels can be read or imported")
    for name in folder.files("drops", ".json"):
        if not _is_json(archive, name):
            forget = lambda name=name: folder.remove(name)  # noqa: E731
            yield Finding(folder.path(name), "is not readable", "it is forgotten, and the drop looked at again", forget)


def in_the_store(archive: Archive, planner: Planner) -> Iterator[Finding]:
    """Of what was made: receipts, their files, their history, what is published."""
    asked_for = {
        declared.cell(cell.partition): declared for declared in _all(planner) for cell in planner.cells(declared)
    }
    for cell, declared in asked_for.items():
        receipt = archive.store.receipts.current(cell)
        if receipt is None:
            yield from _lost_receipt(archive, cell)
            continue
        damage = archive.store.damaged(receipt)
        if damage:
            harm = "; ".join(
                f"{archive.store.folder.path(archive.store.path(receipt, n))} is {how}" for n, how in damage.items()
            )
            try:
                planner.require_sources(declared, cell.partition, harm)
            except DamagedStore as error:
                yield Finding(str(cell), str(error), "it is left as it is")
                continue
            yield Finding(str(cell), harm, RUNS_AGAIN, partial(_step_back, archive, cell))
            continue
        if isinstance(declared, Step) and declared.product is not None:
            why = archive.products.why_not_all_here(declared.products, receipt.digest)
            if why is not None:
                yield Finding(str(cell), why, "`enrich repair` publishes it again", lambda: None)
        file = history_file(cell, receipt.name)
        if _parsed(archive, file) != receipt:
            write = lambda receipt=receipt: archive.store.receipts.write(receipt)  # noqa: E731
            yield Finding(
                archive.store.folder.path(file), "is gone or damaged", "it is written again from the current one", write
            )
    yield from _lost_history(archive, set(asked_for))


def in_the_records(archive: Archive, planner: Planner, instance: dg.DagsterInstance, mount: Mount) -> Iterator[Finding]:
    """Of what Dagster and MLflow should know of the cells that are there."""
    unknown = unknown_to_dagster(planner, instance, mount)
    if unknown:
        mend = lambda: tell_dagster(unknown, instance, mount)  # noqa: E731
        yield Finding(
            "Dagster", f"has not heard of {len(unknown)} cells that are there", "they are reported to it", mend
        )
    evaluations = [
        receipt for key in planner.graph.steps if key.endswith("/evaluation") for receipt in planner.held(key).values()
    ]
    unrecorded = unknown_to_mlflow(archive, evaluations)
    if unrecorded:

        def forget() -> None:
            for receipt in unrecorded:
                archive.store.receipts.forget(receipt.cell)

        yield Finding(
            "MLflow", f"does not know {len(unrecorded)} evaluations", "they are scored and recorded again", forget
        )


# ---------------------------------------------------------------------------------------------------------------- parts


def _all(planner: Planner) -> Iterator[Step]:
    yield from planner.graph.steps.values()
    yield from planner.graph.checks.values()  # type: ignore[misc]


def _lost_receipt(archive: Archive, cell: Cell) -> Iterator[Finding]:
    """A current receipt that cannot be read, or is not there though the cell has a past."""
    name, receipts = f"receipts/{cell.folder}.json", archive.store.receipts
    unreadable = cell in receipts.unreadable
    if not unreadable and not receipts.past(cell):
        return
    harm = "is not a receipt any more" if unreadable else "is gone"
    last = _last_whole(archive, cell)
    if last is not None:
        mend = lambda: receipts.write(last)  # noqa: E731
        yield Finding(archive.store.folder.path(name), harm, "the last one of its history is put back", mend)
    else:
        yield Finding(archive.store.folder.path(name), harm, RUNS_AGAIN, lambda: receipts.forget(cell))


def _last_whole(archive: Archive, cell: Cell, before: int | None = None) -> Receipt | None:
    """The newest receipt of a cell whose files are all what it says."""
    for receipt in reversed(archive.store.receipts.past(cell)):
        if (before is None or receipt.revision < before) and not archive.store.damaged(
            receipt, with_notes=before is None
        ):
            return receipt
    return None


def _step_back(archive: Archive, cell: Cell) -> None:
    """Take a damaged cell out of the current state. What it held before stays: a ranking goes on from its last state, so it
    comes to the same order again."""
    receipts = archive.store.receipts
    damaged = receipts.current(cell)
    earlier = _last_whole(archive, cell, damaged.revision) if damaged is not None else None
    receipts.forget(cell)
    if earlier is not None and damaged is not None and earlier.inputs != damaged.inputs:
        receipts.write(earlier)


def _lost_history(archive: Archive, mended: set[Cell]) -> Iterator[Finding]:
    """Earlier receipts that cannot be read, and those that chains of today lead to and that are gone."""
    receipts, folder = archive.store.receipts, archive.store.folder
    current = {history_file(r.cell, r.name) for cell in mended if (r := receipts.current(cell)) is not None}
    for name in receipts.damaged_history():
        if name not in current:
            aside = partial(_put_aside, archive, name)
            yield Finding(
                folder.path(name), "is not a receipt any more", "what it said cannot be had; it is put aside", aside
            )
    there = set(folder.files("history", ".json")) | current
    broken: dict[str, str] = {}
    for cell in mended:
        receipt = receipts.current(cell)
        for read, (_, of_then) in (receipt.read if receipt is not None else {}).items():
            file = history_file(Cell.parse(read), of_then)
            if file not in there:
                broken.setdefault(file, str(cell))
    if broken:
        first, reader = next(iter(broken.items()))
        yield Finding(
            "lineage",
            f"{len(broken)} earlier receipts are gone that cells of today were made from (first: {first}, read by {reader})",
            "they cannot be had; the numbers hold, their chains end there",
        )


def _put_aside(archive: Archive, name: str) -> None:
    folder = archive.store.folder
    folder.write(f"damaged/{name}", folder.read(name))
    folder.remove(name)


def _parsed(archive: Archive, name: str) -> Receipt | None:
    try:
        return Receipt.model_validate_json(whole_text(archive.store.folder.read(name)))
    except (FileNotFoundError, ValueError):
        return None


def _is_record(archive: Archive, name: str) -> bool:
    try:
        record_of(archive.store.folder.read(name))
    except (FileNotFoundError, ValueError):
        return False
    return True


def _is_json(archive: Archive, name: str) -> bool:
    try:
        return isinstance(json.loads(archive.store.folder.read(name)), dict)
    except (FileNotFoundError, ValueError):
        return False
