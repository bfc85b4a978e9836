"""What was ingested: studies, files, clips, frames, and labels."""

from __future__ import annotations

import pandas as pd

from enrich_assets.archive.frames import SIMILARITY, Frames, digest_column
from enrich_assets.archive.labelling.reading import manifest_labels
from enrich_assets.archive.tables.source import Everything, Tables, concat, time
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.batches import Batch

FILE_COLUMNS = ["path", "sha256", "batch", "status", "reason", "warning", "n_frames"]
LABEL_COLUMNS = ["frame_id", "task", "label", "mask_path", "mask_digest", "source", "author", "recorded_at", "current"]


def ingested_tables(everything: Everything) -> Tables:
    """The tables studies, files, clips and frames, of the batches that are read and split."""
    read, split = everything.frames, everything.split
    there = everything.studies.receipts.keys() & read.receipts.keys() & split.receipts.keys()
    batches = [batch for batch in everything.history.batches if batch.name in there]
    of_batches = Frames(read.store, {batch.name: read.receipts[batch.name] for batch in batches})
    frames = of_batches.with_sides(split)
    clips = concat([_clips(of_batches, batch.name) for batch in batches])
    tables: Tables = {"files": concat([_files(everything, batch, frames) for batch in batches])}
    if not len(frames) or not len(clips):
        return tables
    tables["clips"] = _clip_table(clips, frames)
    tables["studies"] = _study_table(clips, frames, {batch.name: batch for batch in batches})
    columns = ["frame_id", "clip_id", "study_id", "patient_id", "batch", "split", "frame_index", "pixel_digest", "path"]
    tables["frames"] = frames.assign(pixel_digest=frames[digest_column(SIMILARITY)])[columns]
    return tables


def _clips(frames: Frames, batch: str) -> pd.DataFrame:
    table = frames.store.table(frames.receipts[batch], "clips")
    if not len(table):
        return table
    crop = [f"{top} {left} {side} {side}" for top, left, side in table[f"box_{SIMILARITY}"]]
    return table.assign(batch=batch, crop=crop)


def _files(everything: Everything, batch: Batch, frames: pd.DataFrame) -> pd.DataFrame:
    """A row per source file of a batch, the refused ones with their reason."""
    store, receipt = everything.frames.store, everything.frames.receipts[batch.name]
    warnings = store.table(receipt, "clips").set_index("path")["warnings"].replace("", None)
    rows = store.table(everything.studies.receipts[batch.name], "rows").drop_duplicates("path")
    at_ingestion = store.table(everything.studies.receipts[batch.name], "refused")
    refused = pd.concat([at_ingestion, store.table(receipt, "refused")], ignore_index=True)
    reasons = dict(refused[["path", "reason"]].itertuples(index=False))
    counts = frames[frames["batch"] == batch.name].groupby("path").size()
    read = rows.assign(status="read", n_frames=rows["path"].map(counts).fillna(0).astype(int))
    read.loc[read["path"].isin(reasons) & (read["n_frames"] == 0), "status"] = "refused"
    read["reason"], read["warning"] = read["path"].map(reasons), read["path"].map(warnings.to_dict())
    known = set(read["path"])
    never_read = pd.DataFrame(
        [
            {"path": path, "status": "refused", "reason": reason, "n_frames": 0}
            for path, reason in reasons.items()
            if path not in known
        ]
    )
    parts = [part.assign(batch=batch.name).reindex(columns=FILE_COLUMNS) for part in (read, never_read)]
    return concat(parts)


def _clip_table(clips: pd.DataFrame, frames: pd.DataFrame) -> pd.DataFrame:
    sides = frames.drop_duplicates("patient_id").set_index("patient_id")["split"]
    first = clips.drop_duplicates("clip_id").set_index("clip_id")
    count = frames.groupby("clip_id").size()
    table = first.assign(n_frames=count.reindex(first.index), split=first["patient_id"].map(sides)).reset_index()
    columns = ["clip_id", "study_id", "patient_id", "batch", "split", "path", "file_sha256"]
    return table[[*columns, "n_frames", "height", "width", "crop"]]


def _study_table(clips: pd.DataFrame, frames: pd.DataFrame, batches: dict[str, Batch]) -> pd.DataFrame:
    studies = frames.groupby("study_id", sort=False).agg(
        patient_id=("patient_id", "first"),
        batch=("batch", "first"),
        split=("split", "first"),
        n_clips=("clip_id", "nunique"),
        n_frames=("frame_id", "size"),
    )
    studies["received_at"] = time(studies["batch"].map(lambda name: batches[name].received_at))
    studies["source"] = studies["batch"].map(lambda name: batches[name].source)
    studies["deidentification"] = clips.groupby("study_id")["deidentification"].agg(
        lambda actions: "; ".join(dict.fromkeys(action for action in actions if action))
    )
    return studies.reset_index()


def label_tables(everything: Everything) -> Tables:
    """The tables labels and label_problems. Labels that were replaced stay, marked not current."""
    labels, tasks = everything.labels, everything.profile.tasks
    imported = everything.history.annotations.all()
    parts: list[pd.DataFrame] = []
    for name in tasks:
        current = labels.of_task(name).assign(task=name, current=True)
        if current.empty:
            continue
        parts += [current, _replaced_imports(imported[imported["task"] == name], current)]
        parts.append(_replaced_manifest_labels(everything, name, current))
    problems = concat(
        [
            labels.store.table(receipt, f"{name}_problems").assign(task=name, batch=batch)
            for name in tasks
            for batch, receipt in labels.receipts.items()
        ]
    )
    table = concat(parts)
    if table.empty:
        return {"label_problems": problems}
    table["recorded_at"] = time(_said_at(everything, imported, table))
    return {"labels": table[LABEL_COLUMNS], "label_problems": problems}


def _said_at(everything: Everything, imported: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """When each label was given: as its file says, else when it was imported; of a manifest, when its batch came."""
    said = imported["recorded_at"].fillna(imported["imported_at"])
    by_entry = dict(zip(zip(imported["entry"], imported["frame_id"], strict=True), said, strict=True))
    batches = {batch.name: batch.received_at for batch in everything.history.batches}
    rows = table[["entry", "frame_id", "batch"]].itertuples(index=False)
    times = [by_entry[row.entry, row.frame_id] if row.entry else batches.get(row.batch) for row in rows]
    return pd.Series(times, index=table.index, dtype="string")


def _replaced_imports(imported: pd.DataFrame, current: pd.DataFrame) -> pd.DataFrame:
    """Imports that a later one has replaced."""
    merged = imported.merge(current[["frame_id", "entry", "batch"]].rename(columns={"entry": "held"}), on="frame_id")
    replaced = merged[merged["held"] != merged["entry"]]
    return replaced.assign(current=False, mask_path=None, mask_digest=None)


def _replaced_manifest_labels(everything: Everything, name: str, current: pd.DataFrame) -> pd.DataFrame:
    """Manifest labels of frames that an import has relabelled since."""
    relabelled = set(current.loc[current["source"] != "manifest", "frame_id"])
    task = everything.profile.tasks[name]
    if not relabelled or kind_of(task.kind).answers != "class":
        return pd.DataFrame()
    frames, history = everything.frames, everything.history
    parts = [
        manifest_labels(
            Frames(frames.store, {b.name: frames.receipts[b.name]}), history.manifest(b), task.label
        ).assign(batch=b.name)
        for b in history.batches
        if b.name in frames.receipts
    ]
    labels = concat(parts)
    labels = labels[labels["frame_id"].isin(relabelled)] if len(labels) else labels
    return labels.assign(task=name, current=False, mask_path=None, mask_digest=None) if len(labels) else labels
