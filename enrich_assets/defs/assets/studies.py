"""What was ingested, batch by batch: studies, frames, split, which frames are labelled, and the labels."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from enrich_assets.archive.decoding import PART_FRAMES, Decoding
from enrich_assets.archive.frames import SIMILARITY, Frames, Split, embedding_view
from enrich_assets.archive.home import Archive
from enrich_assets.archive.labelling.reading import LabelSources
from enrich_assets.archive.labels import LabelPresence, Labels
from enrich_assets.archive.sides import STRATA, VERSION, Decided, LastTime, draw_sides, split_settings
from enrich_assets.archive.sources import (
    GONE,
    ImportedLabels,
    Manifest,
    SourceFiles,
    lost_files,
    lost_masks,
    source_files,
)
from enrich_assets.archive.values import Plain, Value
from enrich_assets.core.partitions import Partitions
from enrich_assets.core.reads import Read, earlier, part, same, source, up_to
from enrich_assets.core.step import CellContext, CheckOutcome, StepOutput, check, step
from enrich_assets.core.where import Where
from enrich_assets.method.hyperparameters import OnnxEmbedding
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.together import groups_together, linked_patients
from enrich_assets.settings import Profile
from enrich_assets.studies.manifest import SPLITS

if TYPE_CHECKING:
    from enrich_assets.studies.readers import View

GROUP = "ingestion"
IDENTITY = ["path", "sha256", "n_bytes", "patient_id", "study_id", "clip_id", "frame_index", "split"]


@step(
    "studies",
    Partitions.BATCH,
    reads={"manifest": source("manifest")},
    settings=lambda where: where.profile.sites or None,
    group=GROUP,
    kinds=("parquet",),
)
def studies(cell: CellContext, manifest: Manifest) -> StepOutput:
    """What was ingested: one row per file with its digest and identity; what was refused, and why."""
    rows, refused = manifest.rows, manifest.refused
    files = rows.drop_duplicates("path")
    metrics = {
        "patients": int(rows["patient_id"].nunique()),
        "studies": int(rows["study_id"].nunique()),
        "files_read": len(files),
        "files_refused": len(refused),
        "megabytes": round(float(files["n_bytes"].sum()) / 1e6, 1),
    }
    return StepOutput(
        tables={"rows": rows.reindex(columns=[*IDENTITY, *(cell.settings or ())]), "refused": refused},
        metrics=metrics,
        metadata={"refused": refused.head(20)} if len(refused) else {},
    )


def views_of(profile: Profile) -> "dict[str, View]":
    """View -> crop, share, side: how each picture of a frame is cut."""
    frames = profile.frames
    views: dict[str, View] = {SIMILARITY: (frames.crop, frames.crop_fraction, frames.side)}
    for name, task in profile.tasks.items():
        views[name] = (*profile.crop_of(task), task.size)
    for name, embedding in profile.embeddings.items():
        if isinstance(embedding, OnnxEmbedding):
            views[embedding_view(name)] = (*profile.crop_of(embedding), embedding.size)
    return views


def files_that_came_back(archive: Archive, frames: Frames) -> str | None:
    """Files that were not there when the batch was read may be again: then they are read. What was read never is."""
    if not frames.metrics["files_refused"]:
        return None
    refused, files = frames.table("refused"), source_files(archive)
    for path in refused.loc[refused["reason"].str.startswith(GONE), "path"]:
        try:
            files.digest_of(path)
        except (OSError, LookupError):
            continue
        return f"{path} is there again"
    return None


@step(
    "frames",
    Partitions.BATCH,
    reads={"studies": same("studies"), "files": source("files", counts=False)},
    settings=lambda where: {"frames": where.profile.frames, "views": views_of(where.profile)},
    holds=Frames,
    group=GROUP,
    kinds=("numpy", "opencv"),
    again=files_that_came_back,
    lost_sources=lost_files,
)
def frames(cell: CellContext, studies: Value, files: SourceFiles) -> StepOutput:
    """Decoded, de-identified, cropped greyscale frames (uint8), at 64x64 and at each task's size."""
    decoding = Decoding(cell.partition, files, cell.settings["frames"], cell.settings["views"])
    with cell.progress("decoding", "files") as advance:
        tables = decoding.decode(studies.table("rows"), cell.draft, advance)
    frame_table, clips, refused = tables["frames"], tables["clips"], tables["refused"]
    per_clip = frame_table.groupby("clip_id").size() if len(frame_table) else pd.Series([0])
    metrics = {
        "frames": len(frame_table),
        "clips": int(frame_table["clip_id"].nunique()),
        "files_refused": len(refused),
        "files_with_warnings": int(clips["warnings"].ne("").sum()),
        "frames_per_clip_median": float(per_clip.median()),
        "part_frames": PART_FRAMES,
    }
    odd = clips.loc[clips["warnings"] != "", ["path", "warnings"]]
    notable = {"refused": refused, "warnings": odd}
    return StepOutput(
        tables=tables, metrics=metrics, metadata={name: table.head(20) for name, table in notable.items() if len(table)}
    )


def sides_decided_before(where: Where, split: Split, studies: Value) -> Plain:
    """Sides that patients of this batch were given when they first came."""
    return Plain(split.decided(set(studies.table("rows")["patient_id"])))


def all_sides_decided_before(where: Where, split: Split, studies: Value) -> Plain:
    """The same of every earlier patient, for this batch's may go together with any; in the order of ingestion."""
    return Plain(split.sides.to_dict())


def _split_reads(where: Where) -> dict[str, Read]:
    """Without `keep_together` no picture is looked at. With it pictures link patients, but never decide a side once more."""
    together = where.profile.split.keep_together is not None
    sides = all_sides_decided_before if together else sides_decided_before
    reads = {
        "studies": same("studies"),
        "before": part(earlier("split"), sides, of=("studies",)),
        # None of these counts: labels that come later, or are corrected, decide no side again, and what rounding left over moves nobody.
        "manifest": source("manifest", counts=False),
        "drawn": earlier("split", counts=False),
        "last_time": source("last_sides", counts=False),
    }
    return {**reads, "frames": up_to("frames", counts=False)} if together else reads


@step(
    "split",
    Partitions.BATCH,
    reads=_split_reads,
    settings=lambda where: split_settings(where.profile),
    version=VERSION,
    holds=Split,
    group=GROUP,
    kinds=("parquet",),
)
def split(
    cell: CellContext,
    studies: Value,
    before: Plain,
    manifest: Manifest,
    drawn: Split,
    last_time: LastTime,
    frames: Frames | None = None,
) -> StepOutput:
    """Patient -> train or test: as before, by the manifest, else by quota, class by class. Nobody ever moves."""
    sides = draw_sides(
        manifest.rows,
        cell.where.profile,
        Decided.of(drawn),
        last_time.sides(cell.draft.settings),
        linked=_linked(cell, frames) if frames is not None else None,
    )
    counts = sides.split["split"].value_counts()
    return StepOutput(
        tables={"split": sides.split, STRATA: sides.strata},
        metrics={"patients_train": int(counts.get("train", 0)), "patients_test": int(counts.get("test", 0))},
    )


def _linked(cell: CellContext, frames: Frames) -> dict[str, str]:
    """Patient -> group, of those linked by nearly identical pictures of this batch and any so far; nobody who stands alone."""
    table = frames.frame_table
    names, codes = np.unique(table["patient_id"].astype(object), return_inverse=True)
    links = linked_patients(
        frames.pixels(SIMILARITY, table),
        codes,
        n_earlier=int((table["batch"] != cell.partition).sum()),
        near_duplicate=cell.settings["near_duplicate"],
    )
    groups = groups_together(list(names), [(names[a], names[b]) for a, b in links])
    sizes = Counter(groups.values())
    return {patient: group for patient, group in groups.items() if sizes[group] > 1}


@check("split", Partitions.BATCH, reads={"split": same("split"), "before": earlier("split")}, blocking=True)
def patients_disjoint(cell: CellContext, split: Split, before: Split) -> CheckOutcome:
    """No patient stands on both sides, in this batch or across batches."""
    table = split.table("split")
    one_batch = table.groupby("patient_id")["split"].nunique()
    earlier_sides = table["patient_id"].map(before.sides)
    moved = table.loc[earlier_sides.notna() & (earlier_sides != table["split"]), "patient_id"]
    wrong = sorted({*one_batch.index[one_batch > 1], *moved, *table.loc[~table["split"].isin(SPLITS), "patient_id"]})
    return CheckOutcome(
        not wrong,
        f"{len(wrong)} patients on both sides, or on none: {', '.join(wrong[:5])}"
        if wrong
        else "each patient on one side",
    )


@check("split", Partitions.BATCH, reads={"split": same("split")})
def manifest_moves_nobody(cell: CellContext, split: Split) -> CheckOutcome:
    """The manifest asks for no other side than the one a patient was given by an earlier batch."""
    table = split.table("split")
    moved = table.loc[table["wish"].notna() & (table["wish"] != table["split"]), "patient_id"].tolist()
    return CheckOutcome(
        not moved,
        f"the manifest wants to move {len(moved)} patients that an earlier batch put on the other side; they stay: "
        f"{', '.join(moved[:5])}"
        if moved
        else "the manifest moves nobody",
    )


LABEL_READS = {
    "frames": same("frames"),
    "manifest": source("manifest"),
    "imported": source("imported_labels", of=("frames",)),
    "files": source("files", counts=False),
}


def label_settings(where: Where) -> dict[str, Any]:
    """What of the tasks decides which labels are usable."""
    return {
        name: task.model_dump(mode="json", include={"kind", "label", "classes", "ignore"} | _of_masks(task.kind))
        for name, task in where.profile.tasks.items()
    }


def _of_masks(kind: str) -> set[str]:
    """Masks are cut like the task's picture; that picture is in `frames`, but for its size."""
    return {"size"} if kind_of(kind).answers == "mask" else set()


@step(
    "label_presence",
    Partitions.BATCH,
    reads=LABEL_READS,
    settings=label_settings,
    holds=LabelPresence,
    group=GROUP,
    kinds=("parquet",),
    lost_sources=lost_masks,
)
def label_presence(
    cell: CellContext, frames: Frames, manifest: Manifest, imported: ImportedLabels, files: SourceFiles
) -> StepOutput:
    """Which frames carry a usable label for each task: never which label. Pools and rankings see only this."""
    sources = LabelSources(frames, manifest, imported, files, cell.where.profile.frames.slices)
    tables = {name: sources.read(name, task).table[["frame_id"]] for name, task in cell.where.profile.tasks.items()}
    return StepOutput(tables=tables, metrics={f"labelled_{name}": len(table) for name, table in tables.items()})


@step(
    "labels",
    Partitions.BATCH,
    reads=LABEL_READS,
    settings=label_settings,
    holds=Labels,
    version=2,
    group=GROUP,
    kinds=("parquet",),
    lost_sources=lost_masks,
)
def labels(
    cell: CellContext, frames: Frames, manifest: Manifest, imported: ImportedLabels, files: SourceFiles
) -> StepOutput:
    """The labels and masks themselves, joined only after a subset was chosen."""
    sources = LabelSources(frames, manifest, imported, files, cell.where.profile.frames.slices)
    output = StepOutput(tables={}, arrays={}, metrics={"classes": {}, "highest_class": {}}, metadata={})
    tables, arrays, metadata = {}, {}, {}
    for name, task in cell.where.profile.tasks.items():
        read = sources.read(name, task)
        tables[name] = read.table
        tables[f"{name}_problems"] = read.problems
        tables[f"{name}_ignored"] = pd.DataFrame({"frame_id": read.ignored}, dtype="string")
        if read.masks is not None:
            arrays[f"{name}_masks"] = read.masks
        output.metrics[f"labelled_{name}"] = len(read.table)
        output.metrics[f"problems_{name}"] = len(read.problems)
        output.metrics["classes"][name] = sorted(set(read.table["label"].dropna()))
        output.metrics["highest_class"][name] = (
            int(read.masks.max()) if read.masks is not None and read.masks.size else 0
        )
        metadata[f"labels_{name}"] = read.table["label"].value_counts().rename_axis("label").reset_index(name="frames")
        if len(read.problems):
            metadata[f"problems_{name}"] = read.problems.head(20)
    output.tables, output.arrays, output.metadata = tables, arrays, metadata
    return output
