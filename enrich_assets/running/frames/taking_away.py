"""Frames taken away as a dataset: pictures, labels, and the notes that tie them to what was computed from them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.home import Archive
from enrich_assets.archive.labelling.importing import Pictures
from enrich_assets.method.kinds import kind_of
from enrich_assets.running.frames.chosen import Chosen, UnknownFrames
from enrich_assets.studies.datasets import Item, write_dataset

NO_LICENCE = """No licence was stated when these frames were exported (`enrich export --licence TEXT`).

They come from patients. Ask whoever is responsible for the archive what may be done with them, and under which agreement, before they are
copied or published. Patients are known here by the ids of the archive; pictures are as the archive keeps them, de-identified where they
came as DICOM. PROVENANCE.json says which archive, which frames and how they were chosen.
"""


def export(archive: Archive, chosen: Chosen, form: str, out: Path, *, whole: bool = False, licence: str = "") -> str:
    """Write a dataset.

    Parameters
    ----------
    archive, chosen
        Whose frames.
    form
        A format of `studies.datasets`.
    out
        A new folder.
    whole
        The whole de-identified pictures from the source files instead of what the model sees; of classes only.
    licence
        Under which they may be used.

    Returns
    -------
    str
        What was written.

    Raises
    ------
    UnknownFrames
        If none of the frames is there, or masks are asked for with whole pictures.
    FileExistsError
        If `out` is there.
    """
    rows = chosen.there
    answers = kind_of(archive.profile.tasks[chosen.task].kind).answers
    if rows.empty:
        raise UnknownFrames(f"{chosen.title}: none of its frames is in the archive any more")
    if whole and answers == "mask":
        raise UnknownFrames("masks are kept as the model sees them: leave --whole out")
    classes = list(Catalogue(archive).classes(chosen.task))
    items = _items(archive, chosen.task, rows, classes, whole)
    n = write_dataset(items, form, out, classes, _provenance(archive, chosen, whole), licence or NO_LICENCE)
    unlabelled = int(rows["label"].isna().sum())
    rest = f", {unlabelled:,} of them without a label" if unlabelled else ""
    return f"{n:,} frames{rest}: {out}"


def _items(archive: Archive, task: str, rows: pd.DataFrame, classes: list[str], whole: bool) -> Iterator[Item]:
    catalogue = Catalogue(archive)
    frames, labels = catalogue.frames(), catalogue.labels()
    of_masks = kind_of(archive.profile.tasks[task].kind).answers == "mask"
    clips = frames.clips.drop_duplicates("path").set_index("path")
    mask_rows = labels.of_task(task).set_index("frame_id") if of_masks else None
    for start in range(0, len(rows), 256):
        part = rows.iloc[start : start + 256].reset_index(drop=True)
        pixels = frames.pixels(task, part)
        pictures = Pictures(archive, task, part) if whole else None
        for at, row in enumerate(part.itertuples()):
            label, mask = (None if pd.isna(row.label) else str(row.label)), None
            if mask_rows is not None:
                has_mask = label is not None
                mask = labels.masks(task, mask_rows.loc[[row.frame_id]].reset_index())[0] if has_mask else None
                label = None
            elif label not in classes:
                label = None
            shown: np.ndarray = pixels[at] if pictures is None else pictures(str(row.frame_id))
            source = clips["file_sha256"].get(row.path) if "file_sha256" in clips else None
            columns = {
                "patient_id": row.patient_id,
                "study_id": row.study_id,
                "clip_id": row.clip_id,
                "frame_index": row.frame_index,
                "pixel_digest": row.pixel_digest,
                "source_sha256": source,
            }
            yield Item(str(row.frame_id), int(row.position), str(row.split), shown, label, mask, columns)


def _provenance(archive: Archive, chosen: Chosen, whole: bool) -> dict[str, object]:
    """Nothing of where files lie: folders may be named after patients."""
    facts = {name: value.item() if isinstance(value, np.generic) else value for name, value in chosen.facts.items()}
    return {
        "what": chosen.title,
        **facts,
        "notes": list(chosen.notes),
        "pictures": "whole, from the de-identified source" if whole else f"as the model of {chosen.task} sees them",
        "profile": archive.profile.name,
        "batches": {batch.name: batch.digest for batch in archive.pinned},
        "made_by": f"enrich-assets {version('enrich-assets')}",
    }
