"""Frames handed out to be labelled, with what their labels are expected to add; and what is said of labels that came back."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.curation import Evaluations, current_evaluations
from enrich_assets.archive.home import Archive
from enrich_assets.archive.labelling.importing import Imported, Pictures
from enrich_assets.archive.labelling.so_far import LabelsSoFar
from enrich_assets.archive.labelling.worklist import advice, next_frames
from enrich_assets.archive.sides.sites import with_site
from enrich_assets.archive.values import Value
from enrich_assets.core.planner import Planner
from enrich_assets.core.where import arms_of
from enrich_assets.defs.assets import graph_of
from enrich_assets.method.kinds import kind_of
from enrich_assets.studies.labels import export_worklist

TINY = 5  # labels; a class of fewer cannot be told from a misspelling, nor be learned
MOST_PROBLEMS = 20  # named one by one
WITH_CLASSES = ("label-studio", "coco", "cvat")  # formats that list what there is to choose from


class NothingToLabel(ValueError):
    """No worklist can be written: why, and what to do."""


@dataclass(frozen=True)
class HandedOut:
    """A worklist that was written, and what to say of it."""

    rows: pd.DataFrame
    images: Path
    lines: tuple[str, ...]


def hand_out(
    archive: Archive,
    task: str,
    n: int,
    form: str,
    out: Path,
    *,
    side: str = "train",
    classes: Sequence[str] = (),
    image_url: str = "/data/local-files/?d=",
) -> HandedOut:
    """Write which frames to label next, with their pictures.

    Parameters
    ----------
    archive, task, n, side
        As of `label_next`.
    form
        A format of `studies.labels`.
    out
        The file; one that is there is replaced.
    classes
        To choose from, where neither the profile nor labels name them.
    image_url
        As of `export_worklist`.

    Raises
    ------
    NothingToLabel
        If no frame is left, or nobody knows the classes.
    MissingArtefact
        As of `label_next`.
    """
    rows, sentence = next_rows(archive, task, n, side)
    names = class_names(archive, task, classes) if form in WITH_CLASSES else []
    answers = kind_of(archive.profile.tasks[task].kind).answers
    images = export_worklist(
        rows, Pictures(archive, task, rows), form, out, names, answers=answers, image_url=image_url
    )
    lines = [
        f"{len(rows)} frames to label: {out}",
        *(_label_studio_lines(out, images) if form == "label-studio" else ()),
        *(_cvat_lines(out) if form == "cvat" else ()),
    ]
    sentence = " ".join(filter(None, (_near_copies(archive, rows), sentence)))
    return HandedOut(rows, images, (*lines, sentence))


def next_rows(archive: Archive, task: str, n: int, side: str) -> tuple[pd.DataFrame, str]:
    """As `label_next`, of frames that are there. Raises NothingToLabel, MissingArtefact."""
    if not archive.batches:
        raise NothingToLabel("no studies were ingested yet: `enrich ingest PATH`, then `enrich run --no-training`")
    rows, sentence = label_next(archive, task, n, side)
    if rows.empty:
        frames = Catalogue(archive).frame_table()
        if not (frames["split"] == side).any():
            raise NothingToLabel(
                f"no frame is on the {side} side: ingest more patients, or name sides in a column `split` of the manifest"
            )
        other = "" if side == "test" else "; `--test-set` asks for frames of test patients"
        raise NothingToLabel(f"{task}: every {side} frame has a label already{other}")
    return rows, sentence


def class_names(archive: Archive, task: str, given: Sequence[str] = ()) -> list[str]:
    """The classes that a labeller chooses from: the profile's, else those given and those of the labels so far.

    Raises
    ------
    NothingToLabel
        If these are fewer than two (for masks: no structure), or some are given although the profile names its own.
    """
    settings = archive.profile.tasks[task]
    known = LabelsSoFar(Catalogue(archive)).classes(task)
    if settings.classes is not None:
        if given and set(given) != set(settings.classes):
            raise NothingToLabel(f"the profile names the classes of {task} already: {', '.join(settings.classes)}")
        extra = settings.ignore if kind_of(settings.kind).answers == "class" else ()
        return [*settings.classes, *extra]
    if kind_of(settings.kind).answers == "mask" and given:
        known = list(given)
    names = list(dict.fromkeys([*given, *known, *settings.ignore]))
    if len([name for name in names if name not in settings.ignore]) < 2:
        example = "background,LV,LA" if kind_of(settings.kind).answers == "mask" else "healthy,ill"
        raise NothingToLabel(
            f"nobody says what there is to choose from: name the classes of {task} in the profile (`tasks: {{{task}: {{classes: "
            f"[{example.replace(',', ', ')}]}}}}`), or with --classes {example}"
        )
    return names


def _near_copies(archive: Archive, rows: pd.DataFrame) -> str:
    """How many of them are nearly what is labelled already; '' where none is."""
    least = archive.profile.similarity.near_duplicate
    n = int((rows["similarity_to_labelled"].fillna(-1) >= least).sum())
    if not n:
        return ""
    return f"{n} of the {len(rows)} are near-copies of labelled frames (cosine {least:g} or more): their labels are expected to add little."


def _cvat_lines(out: Path) -> Iterator[str]:
    yield f"  make a CVAT project with these labels (Raw): {out.with_name(f'{out.stem}_labels.json')}"
    yield f"  then Actions, Import dataset, CVAT 1.1: {out.with_name(f'{out.stem}_dataset.zip')} (makes a task with the pictures)"
    yield "  afterwards export the task as 'CVAT for images 1.1': `enrich labels import` reads the zip"


def _label_studio_lines(out: Path, images: Path) -> Iterator[str]:
    root = images.absolute().parent
    interface = out.with_name(f"{out.stem}_interface.xml")
    yield f"  its labelling interface (Settings, Labeling Interface, Code): {interface}"
    yield (
        "  to show the pictures, Label Studio is started with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
        f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}"
    )
    yield f"  and the project gets a source storage (Settings, Cloud Storage, Local files) of the folder {images.absolute()}"
    yield "  `enrich worklist --push URL` does all of that but the start"


def imported_lines(archive: Archive, task: str, found: Imported) -> Iterator[str]:
    """What to say of labels that were imported: how many, what was wrong, classes never seen before, classes of few labels."""
    yield f"{found.n_imported} labels imported, {found.n_unchanged} as they were, {len(found.problems)} not used"
    for item, reason in found.problems.head(MOST_PROBLEMS).itertuples(index=False):
        yield f"  {item}: {reason}"
    if len(found.problems) > MOST_PROBLEMS:
        yield f"  and {len(found.problems) - MOST_PROBLEMS:,} more"
    settings = archive.profile.tasks[task]
    if kind_of(settings.kind).answers == "class" and settings.classes is None:
        yield from _class_lines(archive, task, found.new_classes)
    if found.n_imported:
        yield "next: `enrich run`"


def _class_lines(archive: Archive, task: str, new: dict[str, int]) -> Iterator[str]:
    """Warnings of classes that may be misspellings: a single one of them is a class of its own, and no model is trained."""
    counts = LabelsSoFar(Catalogue(archive)).of_task(task)["label"].astype(str).value_counts()
    sizes = {str(name): int(n) for name, n in counts.items()}
    old = [name for name in sizes if name not in new]
    if new and old:
        listed = ", ".join(f"{name!r} ({n}{_like(name, old)})" for name, n in new.items())
        yield f"warning: classes never seen before: {listed}; there were: {', '.join(old)}"
    tiny = [f"{name!r} ({n})" for name, n in sizes.items() if n < TINY and len(sizes) > 1]
    if tiny:
        yield f"warning: classes of fewer than {TINY} labels: {', '.join(tiny)}; no model is trained while test frames lack a class"
    if (new and old) or tiny:
        yield (
            f"  a misspelling is mended by importing those frames again; `tasks: {{{task}: {{classes: [...]}}}}` in the profile "
            "refuses unknown classes"
        )


def _like(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, 1)
    return f", like {nearest[0]!r}" if nearest else ""


def label_next(archive: Archive, task: str, n: int, side: str) -> tuple[pd.DataFrame, str]:
    """What to label next, and what that is expected to add. What was imported since the last run counts as labelled.

    Parameters
    ----------
    archive, task
        Whose frames.
    n
        How many.
    side
        train or test.

    Returns
    -------
    frames : pandas.DataFrame
        Columns of `archive.labelling.worklist.COLUMNS`, the first to label first.
    advice : str
        A sentence or two.

    Raises
    ------
    MissingArtefact
        If frames, labels or vectors were not made yet.
    """
    catalogue, settings = Catalogue(archive), archive.profile.tasks[task]
    frames, labels = catalogue.frame_table(), LabelsSoFar(catalogue)
    if settings.quota_per_site is not None:
        manifests = pd.concat([archive.register.rows(batch) for batch in archive.pinned], ignore_index=True)
        frames = with_site(frames, manifests, archive.profile)
    rows = next_frames(task, settings, n, frames, labels, catalogue.vectors(), side=side)
    concluded = Value(archive.store, Planner(archive, graph_of(archive.profile)).held(f"{task}/comparison"))
    return rows, advice(task, settings, n, frames, labels, evaluations_of(archive, task).table(), concluded)


def evaluations_of(archive: Archive, task: str) -> Evaluations:
    """The evaluations of a task that hold for the subsets of today."""
    planner = Planner(archive, graph_of(archive.profile))
    arms = arms_of(archive.profile.tasks[task])
    held = {
        asset: {arm: Value(archive.store, planner.held(f"{task}/{arm}/{asset}")) for arm in arms}
        for asset in ("evaluation", "subset")
    }
    return current_evaluations(held["evaluation"], held["subset"])
