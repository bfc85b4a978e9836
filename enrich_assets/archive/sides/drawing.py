"""The sides of a batch's patients: what the manifest says of them, what was decided before, and the draw (`method.split`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from enrich_assets.archive.frames import Split
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.split import TEST, TRAIN, Placed, draw_split
from enrich_assets.settings import Profile
from enrich_assets.store.receipts import Cell, DamagedStore, Receipt, digest_of

if TYPE_CHECKING:
    from enrich_assets.archive.home import Archive

VERSION = 1  # of the step `split`: raising it would draw every batch again
MIGRATED = "sides/migrated.json"  # sides that came with a home of an earlier layout
STRATA = "strata"  # a table beside `split`, of which pools and rankings see nothing: it holds labels
MASK = "mask"  # the class of whoever has a mask
BY_EARLIER, BY_MANIFEST, BY_LAST_TIME, BY_SITE = "earlier batch", "manifest", "before", "site"
BY_LINK, BY_QUOTA = "near-duplicates", "quota"


def split_settings(profile: Profile) -> dict[str, Any]:
    """What of the profile decides sides: another value of it draws every batch again. Tasks and labels are no part of it."""
    split = profile.split
    drawn: dict[str, Any] = {"test_share": split.test_share, "salt": split.salt}
    if split.by == "site":
        drawn |= {"by": split.by, "column": profile.split_column, "leave_out": split.leave_out}
    if split.keep_together is not None:
        drawn |= {"keep_together": split.keep_together, "near_duplicate": profile.similarity.near_duplicate}
    return drawn


def settings_digest(profile: Profile) -> str:
    """The digest that a receipt of `split` holds when it was drawn as the profile asks."""
    return digest_of([VERSION, split_settings(profile)])


def classes_of_patients(rows: pd.DataFrame, profile: Profile) -> dict[str, frozenset[str]]:
    """Patient -> `column=label` of every usable label the manifest gives one, and `mask` of who has one.

    Parameters
    ----------
    rows
        Of a manifest.
    profile
        Names the label columns, and the labels that are no answer.
    """
    found: dict[str, set[str]] = {patient: set() for patient in rows["patient_id"]}
    for task in profile.tasks.values():
        column = "mask_path" if kind_of(task.kind).answers == "mask" else task.label
        if column not in rows:
            continue
        given = rows[["patient_id", column]].dropna().astype("string")
        given[column] = given[column].str.strip()
        for patient, label in given.drop_duplicates().itertuples(index=False):
            if column == "mask_path":
                found[patient].add(MASK)
            elif label and label not in task.ignore and (task.classes is None or label in task.classes):
                found[patient].add(f"{column}={label}")
    return {patient: frozenset(names) for patient, names in found.items()}


def named_sides(rows: pd.DataFrame) -> dict[str, str]:
    """Patient -> the manifest's split, where it names one."""
    named = rows.dropna(subset="split").drop_duplicates("patient_id")
    return dict(named.set_index("patient_id")["split"].items())


def sites_of_patients(rows: pd.DataFrame, column: str) -> dict[str, list[str]]:
    """Patient -> the sites that the manifest's column names of them, in order of name; none where it names none."""
    if column not in rows:
        return {}
    given = rows[["patient_id", column]].dropna().astype("string")
    given[column] = given[column].str.strip()
    given = given[given[column] != ""]
    return {str(patient): sorted(set(names)) for patient, names in given.groupby("patient_id")[column]}


def joined_groups(sites: Mapping[str, Iterable[str]], known: Mapping[str, str]) -> dict[str, str]:
    """Patient -> group: that of their site. Sites that share a patient are one group; its name is that of the first.

    Parameters
    ----------
    sites
        Patient -> sites.
    known
        Patient -> group, of earlier batches.
    """
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    everyone: dict[str, list[str]] = {patient: [group] for patient, group in known.items()}
    for patient, names in sites.items():
        everyone.setdefault(patient, []).extend(names)
    for _, names in sorted(everyone.items()):
        first, *others = sorted(find(name) for name in names)
        for other in others:
            root[other] = first
    return {patient: find(names[0]) for patient, names in everyone.items()}


@dataclass(frozen=True)
class Decided:
    """What some batches decided, oldest first."""

    batches: tuple[Mapping[str, Placed], ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)  # patient -> name of the group that stands on one side

    @classmethod
    def of(cls, split: Split) -> Decided:
        """What is stored. Patients of batches that were split by another rule stand in no stratum."""
        decided = cls()
        for receipt in split.receipts.values():
            strata = split.store.table(receipt, STRATA) if f"{STRATA}.parquet" in receipt.files else None
            decided = decided.followed_by(split.store.table(receipt, "split"), strata)
        return decided

    def followed_by(self, split: pd.DataFrame, strata: pd.DataFrame | None) -> Decided:
        """With one batch more."""
        sides = dict(zip(split["patient_id"], split["split"], strict=True))
        if strata is None:
            batch = {patient: Placed(side, stratum=None) for patient, side in sides.items()}
            return Decided((*self.batches, batch), self.groups)
        rows = strata.astype("string").fillna("").itertuples(index=False, name=None)
        batch, groups = {}, {}
        for patient, stratum, classes, group in rows:
            batch[patient] = Placed(sides[patient], frozenset(classes.splitlines()), stratum)
            if group:
                groups[patient] = group
        return Decided((*self.batches, batch), {**groups, **self.groups})


def _link_of(patient: str, linked: Mapping[str, str]) -> list[str]:
    """The name of a patient's group as that of a site no manifest can name."""
    return [f"\n{linked[patient]}"] if patient in linked else []


@dataclass(frozen=True)
class DrawnSides:
    """The sides of a batch's patients, as they are stored."""

    split: pd.DataFrame  # patient_id, split, decided_by, wish
    strata: pd.DataFrame  # patient_id, stratum, classes (joined by line breaks), group: which quota each counted for


def draw_sides(
    rows: pd.DataFrame,
    profile: Profile,
    before: Decided,
    last_time: Mapping[str, str] | None = None,
    linked: Mapping[str, str] | None = None,
) -> DrawnSides:
    """Decide the sides of a batch's patients.

    In this order: what an earlier batch decided; what the manifest names; what was decided when the batch was last split;
    the draw by quota. `split.leave_out` comes before the manifest: that site is the test side, everyone else trains.

    Parameters
    ----------
    rows
        Of the batch's manifest.
    profile
        Says the share, whether whole sites are drawn, and which columns are labels.
    before
        What the earlier batches decided.
    last_time
        Patient -> side, of whoever was split under the same settings without standing in an earlier batch.
    linked
        Patient -> group, of patients whom near-duplicates link, earlier ones too: they stand on one side (`keep_together`).
    """
    settings = profile.split
    decided = {patient for batch in before.batches for patient in batch}
    classes, wishes, last_time = classes_of_patients(rows, profile), named_sides(rows), last_time or {}
    given, sites, linked = {**last_time, **wishes}, {}, linked or {}
    if settings.by == "site":
        sites = sites_of_patients(rows, profile.split_column)
    together = {patient: [*sites.get(patient, ()), *_link_of(patient, linked)] for patient in {**sites, **linked}}
    groups = joined_groups(together, before.groups) if together or before.groups else {}
    if settings.by == "site" and settings.leave_out is not None:
        given = {p: TEST if settings.leave_out in sites.get(p, ()) else TRAIN for p in classes}
    drawn = draw_split(
        classes if settings.by == "patient" else dict.fromkeys(classes, frozenset[str]()),
        test_share=settings.test_share,
        salt=settings.salt,
        given={patient: side for patient, side in given.items() if patient in classes},
        before=before.batches,
        groups=groups,
    )

    followed = {linked[patient] for patient in (*decided, *given) if patient in linked}

    def decided_by(patient: str) -> str:
        if patient in decided:
            return BY_EARLIER
        if settings.leave_out is not None:
            return BY_SITE
        if patient in wishes:
            return BY_MANIFEST
        if patient in last_time:
            return BY_LAST_TIME
        return BY_LINK if linked.get(patient) in followed else BY_QUOTA

    patients = list(drawn)
    split = {
        "patient_id": patients,
        "split": [drawn[patient].side for patient in patients],
        "decided_by": [decided_by(patient) for patient in patients],
        "wish": [wishes.get(patient) for patient in patients],
    }
    strata = {
        "patient_id": patients,
        "stratum": [drawn[patient].stratum for patient in patients],
        "classes": ["\n".join(sorted(drawn[patient].classes)) for patient in patients],
        "group": [groups.get(patient) for patient in patients],
    }
    text = dict.fromkeys(("stratum", "classes", "group"), "string")
    return DrawnSides(pd.DataFrame(split).astype({"wish": "string"}), pd.DataFrame(strata).astype(text))


def keep_migrated_sides(archive: Archive, sides: Mapping[str, str]) -> None:
    """Keep the sides that an earlier version gave, for as long as the profile asks for the same draw."""
    kept = {"settings": settings_digest(archive.profile), "sides": dict(sorted(sides.items()))}
    archive.store.folder.write(MIGRATED, json.dumps(kept, indent=1).encode())


class LastTime:
    """What `split` held before it is made again: of this batch, and of later ones, which may have met the same patients.

    No edge of the graph: a batch does not follow from later ones. It is read so that a batch ingested again moves nobody.
    """

    def __init__(self, archive: Archive, batch: str) -> None:
        names = archive.batches
        at = names.index(batch) if batch in names else len(names)
        self._archive, self._batches = archive, names[at:]

    def sides(self, settings: str) -> dict[str, str]:
        """Patient -> side.

        Parameters
        ----------
        settings
            Digest of the step's settings: what was drawn under others does not hold.
        """
        sides: dict[str, str] = {}
        for batch in self._batches:
            for patient, side in self._of(Cell("split", batch), settings).items():
                sides.setdefault(patient, side)
        return {**self._migrated(settings), **sides}

    def _migrated(self, settings: str) -> dict[str, str]:
        content = self._archive.store.folder.read_many([MIGRATED]).get(MIGRATED)
        if content is None:
            return {}
        kept = json.loads(content)
        return dict(kept["sides"]) if kept["settings"] == settings else {}

    def _of(self, cell: Cell, settings: str) -> dict[str, str]:
        """Of the newest receipt that can be read; a lost one is no reason to draw again."""
        store = self._archive.store
        current = store.receipts.current(cell)
        for receipt in [current] if current is not None else self._earlier(cell):
            if receipt.settings != settings:
                continue
            try:
                return dict(Split(store, {cell.partition: receipt}).sides.items())
            except DamagedStore:
                continue
        return {}

    def _earlier(self, cell: Cell) -> list[Receipt]:
        receipts, folder = self._archive.store.receipts, self._archive.store.folder
        names = [
            file.rpartition("/")[2].removesuffix(".json") for file in folder.files(f"history/{cell.folder}", ".json")
        ]
        found = []
        for name in names:
            try:
                found.append(receipts.earlier(cell, name))
            except DamagedStore:
                continue
        return sorted((one for one in found if one is not None), key=lambda one: one.created_at, reverse=True)


def sides_now(archive: Archive) -> pd.DataFrame:
    """The side of every patient: as stored, and of batches that were not split yet as it will be (but for `keep_together`, which
    looks at pictures first).

    Returns
    -------
    pandas.DataFrame
        patient_id, split, decided_by; each patient once.
    """
    settings = settings_digest(archive.profile)
    decided, tables = Decided(), []
    for batch in archive.pinned:
        receipt, rows = archive.store.receipts.current(Cell("split", batch.name)), archive.register.rows(batch)
        if receipt is not None and receipt.settings == settings:
            stored = Split(archive.store, {batch.name: receipt})
            with suppress(DamagedStore):  # then as it will be when it is made again
                if set(rows["patient_id"]) == set(stored.sides.index):
                    more = Decided.of(stored)
                    decided = Decided((*decided.batches, *more.batches), {**more.groups, **decided.groups})
                    tables.append(stored.table("split"))
                    continue
        drawn = draw_sides(rows, archive.profile, decided, LastTime(archive, batch.name).sides(settings))
        decided = decided.followed_by(drawn.split, drawn.strata)
        tables.append(drawn.split)
    columns = ["patient_id", "split", "decided_by"]
    return pd.concat(tables)[columns].drop_duplicates("patient_id") if tables else pd.DataFrame(columns=columns)
