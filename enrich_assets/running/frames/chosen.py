"""Which frames an evaluation, a subset or a worklist stands for, with what is known of each; and whether they are still the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.frames import digest_column
from enrich_assets.archive.home import Archive
from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.pairs.distinct import first_of_near_duplicates
from enrich_assets.store.identity import subset_id
from enrich_assets.store.published import query
from enrich_assets.store.receipts import Cell

COLUMNS = ("position", "frame_id", "patient_id", "study_id", "clip_id", "frame_index", "split", "label", "pixel_digest")
LEAST_LETTERS = 6  # of an id that is not given whole


class UnknownFrames(LookupError):
    """No frames go by that name: which names there are, or what to do."""


@dataclass(frozen=True)
class Chosen:
    """Frames in their order.

    Attributes
    ----------
    title : str
        What they are, in a line.
    task : str
    table : DataFrame
        `COLUMNS`, and `batch`, `part`, `row`, `path` of those that are there (missing of others); `label` is today's.
    facts : dict
        What else is known: ids, arm, budget, seed, score.
    notes : tuple of str
        What a reader must know.
    """

    title: str
    task: str
    table: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def there(self) -> pd.DataFrame:
        """The rows whose frames are still in the archive."""
        return self.table[self.table["part"].notna()].astype({"part": int, "row": int}).reset_index(drop=True)


def chosen_by(archive: Archive, name: str) -> Chosen:
    """The frames that an evaluation or a subset stands on.

    Parameters
    ----------
    archive
        Whose.
    name
        Its id, or the beginning of it.

    Raises
    ------
    UnknownFrames
        There is none, or more than one.
    MissingArtefact
        If no frames were decoded.
    """
    if not archive.published.exists():
        raise UnknownFrames(f"{archive.published} is not there yet: `enrich run` publishes what was chosen")
    facts = _facts(archive, name)
    frames = query(
        str(archive.published),
        "SELECT position, frame_id FROM subset_frames WHERE subset_id = ? ORDER BY position",
        [facts["subset_id"]],
    )
    table = described(archive, str(facts["task"]), frames)
    notes = _notes(facts, table)
    budget = f"{facts['arm']}, {len(frames):,} frames, seed {facts['seed']}"
    title = f"{facts['task']}: {budget}"
    if "evaluation_id" in facts:
        title = f"{facts['task']}: {budget}, {facts['metric']} {facts['value']:.4f} on {facts['n_test']} test frames"
    return Chosen(title, str(facts["task"]), table, facts, notes)


def _facts(archive: Archive, name: str) -> dict[str, Any]:
    """What the published tables say of the one evaluation or subset whose id begins so."""
    if len(name) < LEAST_LETTERS or not name.isalnum():
        raise UnknownFrames(
            f'{name!r} is no id: name the first {LEAST_LETTERS} letters at least (enrich sql "SELECT evaluation_id, subset_id FROM '  # nosec B608: words for the user
            'evaluations WHERE current")'
        )
    for table, key in (("evaluations", "evaluation_id"), ("subsets", "subset_id")):
        found = query(
            str(archive.published),
            f"SELECT * FROM {table} WHERE starts_with({key}, ?) ORDER BY current DESC, {key}",  # nosec B608: constants
            [name],
        )
        if found[key].nunique() > 1:
            raise UnknownFrames(f"{found[key].nunique()} {table} begin with {name!r}: name more of it")
        if len(found):
            return {column: value for column, value in found.iloc[0].items() if not pd.isna(value)}
    raise UnknownFrames(f'no evaluation and no subset is called {name} (enrich sql "FROM evaluations" lists them)')


def of_worklist(archive: Archive, task: str, n: int | None = None) -> Chosen:
    """The frames that the last run proposed for labelling, the first `n` of them.

    Raises
    ------
    MissingArtefact
        If none was made yet.
    """
    receipt = archive.store.receipts.require(Cell(f"{task}/worklist"))
    rows = archive.store.table(receipt, "worklist")
    rows = rows if n is None else rows.head(n)
    table = described(archive, task, rows[["position", "frame_id"]])
    return Chosen(
        f"{task}: the {len(rows):,} frames to label next", task, table, {"task": task, "digest": receipt.digest}
    )


def described(archive: Archive, task: str, frames: pd.DataFrame) -> pd.DataFrame:
    """Frames named by `position` and `frame_id`, with `COLUMNS` and where their pixels are."""
    catalogue = Catalogue(archive)
    known = catalogue.frame_table().rename(columns={digest_column(task): "pixel_digest"})
    wanted = ["frame_id", *COLUMNS[2:7], "pixel_digest", "batch", "part", "row", "path"]
    labels = catalogue.labels().of_task(task)
    if "label" not in labels:
        labels = labels.assign(label=None)
    if kind_of(archive.profile.tasks[task].kind).answers == "mask":
        labels = labels.assign(label="mask")
    table = frames.merge(known.reindex(columns=wanted), on="frame_id", how="left")
    table = table.merge(labels[["frame_id", "label"]], on="frame_id", how="left")
    return table[[*COLUMNS, "batch", "part", "row", "path"]]


def _notes(facts: dict[str, Any], table: pd.DataFrame) -> tuple[str, ...]:
    """Whether these are the very pixels that the subset was named by, and whether anything chose otherwise since."""
    notes = []
    gone = int(table["part"].isna().sum())
    if gone:
        notes.append(f"{gone} of its frames are no longer in the archive")
    elif subset_id(table["frame_id"], table["pixel_digest"].astype(str)) == facts["subset_id"]:
        notes.append("frames and pixels are the very ones it was made from (the id of the subset, computed again)")
    else:
        notes.append("the frames were decoded otherwise since: names agree, pixels do not (`enrich lineage` says more)")
    if not facts.get("current", True):
        notes.append("it is of an earlier state of the archive or the profile")
    return tuple(notes)


def with_test_set(archive: Archive, chosen: Chosen) -> Chosen:
    """The same with the test frames of its task behind them. Raises MissingArtefact if there is no test set."""
    receipt = archive.store.receipts.require(Cell(f"{chosen.task}/test_set"))
    test = archive.store.table(receipt, "test_set")[["frame_id"]]
    first = 1 + int(chosen.table["position"].max()) if len(chosen.table) else 0
    test = test.assign(position=range(first, first + len(test)))[["position", "frame_id"]]
    both = pd.concat([chosen.table, described(archive, chosen.task, test)], ignore_index=True)
    return replace(chosen, table=both, facts={**chosen.facts, "n_test_frames": len(test)})


def without_near_duplicates(archive: Archive, chosen: Chosen, cosine: float) -> Chosen:
    """The same without frames that are nearly the same as one before them (by the profile's first embedding).

    Parameters
    ----------
    archive, chosen
        Of frames that are there.
    cosine
        From this similarity on, two frames are nearly the same.
    """
    rows = chosen.there
    vectors = Catalogue(archive).vectors().of(rows)
    kept = first_of_near_duplicates(vectors, round(cosine * SCALE**2))
    note = f"{len(rows) - len(kept)} near-duplicates (cosine from {cosine:g}) were left out, the first of each kept"
    facts = {**chosen.facts, "near_duplicates_from": cosine, "near_duplicates_left_out": len(rows) - len(kept)}
    return replace(chosen, table=rows.iloc[kept].reset_index(drop=True), facts=facts, notes=(*chosen.notes, note))
