"""What arrived: studies, frames, split, which frames are labelled, and the labels. All by batch."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.defs.labelling import read_labels
from enrich_assets.defs.partitions import batches
from enrich_assets.defs.steps import Made, Step, Work, dep, digests
from enrich_assets.method.images.preprocessing import Box, cone_mask, crop, pixel_digests, resize, window
from enrich_assets.method.split import side_of
from enrich_assets.settings import Profile, TaskSettings, settings_dict
from enrich_assets.store.frames import FRAME_COLUMNS, SIMILARITY, digest_column, frame_ids
from enrich_assets.store.receipts import Cell, digest_of
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.manifest import SPLITS
from enrich_assets.studies.readers.reading import Clip, read_clip

GROUP = "arrival"
PART_FRAMES = 1000  # about so many frames go into one stored part
FRAMES_OF_A_VIDEO = 60  # a guess, to group files into parts before they are decoded


def steps(profile: Profile) -> list[Step]:
    views = _views(profile)
    tasks = {
        name: task.model_dump(mode="json", include={"kind", "label", "classes", "ignore"})
        for name, task in profile.tasks.items()
    }
    return [
        Step(
            key="studies",
            partitions=batches,
            inputs=lambda archive, batch: {"arrival": archive.arrivals.get(batch).digest},
            make=_studies,
            settings=None,
            group=GROUP,
            kinds=("parquet",),
            description="What arrived: one row per file with its digest and identity; what was refused, and why.",
        ),
        Step(
            key="frames",
            partitions=batches,
            inputs=lambda archive, batch: digests(archive, ("studies", batch)),
            make=_frames,
            version=2,
            settings=[settings_dict(profile.frames), views],
            group=GROUP,
            kinds=("numpy", "opencv"),
            description="Decoded, de-identified, cropped greyscale frames (uint8), at 64x64 and at each task's size.",
            deps=(dep("studies"),),
        ),
        Step(
            key="split",
            partitions=batches,
            inputs=lambda archive, batch: {
                **digests(archive, ("frames", batch)),
                "decided before": digest_of(_decided(archive, batch)),
            },
            make=_split,
            version=2,
            settings=settings_dict(profile.split),
            group=GROUP,
            kinds=("parquet",),
            description="Patient -> train or test: by the manifest, else by a hash of the patient's id. Nobody ever moves.",
            deps=(dep("frames"),),
            checks=(
                dg.AssetCheckSpec(
                    "patients_disjoint",
                    asset=dg.AssetKey("split"),
                    blocking=True,
                    description="No patient stands on both sides, in this batch or across batches.",
                ),
            ),
        ),
        Step(
            key="labelled",
            partitions=batches,
            inputs=_label_inputs,
            make=_labelled,
            settings=tasks,
            group=GROUP,
            kinds=("parquet",),
            description="Which frames carry a usable label for each task: never which label. Pools and rankings see only this.",
            deps=(dep("frames"),),
        ),
        Step(
            key="labels",
            partitions=batches,
            inputs=_label_inputs,
            make=_labels,
            version=2,
            settings=tasks,
            group=GROUP,
            kinds=("parquet",),
            description="The labels and masks themselves, joined only after a subset was chosen.",
            deps=(dep("frames"),),
        ),
    ]


def _views(profile: Profile) -> dict[str, Any]:
    """View -> crop, share, side: how each picture of a frame is cut."""
    views: dict[str, Any] = {SIMILARITY: [profile.frames.crop, profile.frames.share, profile.frames.side]}
    for name, task in profile.tasks.items():
        views[name] = [*profile.crop_of(task), task.size]
    return views


# ----------------------------------------------------------------------------------------------------------- studies


def _studies(work: Work) -> Made:
    rows = work.archive.arrivals.rows(work.partition)
    refused = work.archive.arrivals.refused(work.partition)
    identity = ["path", "sha256", "n_bytes", "patient_id", "study_id", "clip_id", "frame_index", "split"]
    work.draft.table("rows", rows.reindex(columns=identity))
    work.draft.table("refused", refused)
    files = rows.drop_duplicates("path")
    figures = {
        "patients": int(rows["patient_id"].nunique()),
        "studies": int(rows["study_id"].nunique()),
        "files_read": len(files),
        "files_refused": len(refused),
        "megabytes": round(float(files["n_bytes"].sum()) / 1e6, 1),
    }
    return Made(figures, {"refused": markdown(refused.head(20))} if len(refused) else {})


# ------------------------------------------------------------------------------------------------------------ frames


def _frames(work: Work) -> Made:
    rows = work.archive.store.table(work.receipt("studies", work.partition), "rows")
    # A file of several rows (a video of which single frames carry masks) is decoded once.
    files = [(str(path), group) for path, group in rows.groupby("path", sort=False)]
    views = _views(work.archive.profile)
    tables = {name: [table] for name, table in _no_rows(views).items()}
    done = 0
    with work.progress("decoding", "files") as advance, ThreadPoolExecutor(cpu_count() or 1) as threads:
        for number, part in enumerate(_parts(files)):
            if not work.draft.has(f"refused-{number:04d}.parquet", note=True):
                _decode_part(work, number, part, views, threads)
            for name, found in tables.items():
                found.append(_read_part(work, f"{name}-{number:04d}", views))
            done += len(part)
            advance(done, len(files), {"frames": float(sum(map(len, tables["frames"])))})
    frames, clips, refused = (
        pd.concat([table for table in found if len(table)] or found[:1], ignore_index=True) for found in tables.values()
    )
    for name, table in (("frames", frames), ("clips", clips), ("refused", refused)):
        work.draft.table(name, table)
    per_clip = frames.groupby("clip_id").size() if len(frames) else pd.Series([0])
    figures = {
        "frames": len(frames),
        "clips": int(frames["clip_id"].nunique()),
        "files_refused": len(refused),
        "files_with_warnings": int(clips["warnings"].ne("").sum()),
        "frames_per_clip_median": float(per_clip.median()),
        "part_frames": PART_FRAMES,
    }
    odd = clips.loc[clips["warnings"] != "", ["path", "warnings"]]
    told = {"refused": refused, "warnings": odd}
    return Made(figures, {name: markdown(table.head(20)) for name, table in told.items() if len(table)})


def _parts(files: list[tuple[str, pd.DataFrame]]) -> Iterator[list[tuple[str, pd.DataFrame]]]:
    part: list[tuple[str, pd.DataFrame]] = []
    weight = 0
    for path, rows in files:
        part.append((path, rows))
        weight += 1 if path.lower().endswith((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")) else FRAMES_OF_A_VIDEO
        if weight >= PART_FRAMES:
            yield part
            part, weight = [], 0
    if part:
        yield part


def _decode_part(
    work: Work, number: int, part: list[tuple[str, pd.DataFrame]], views: dict[str, Any], threads: ThreadPoolExecutor
) -> None:
    decoded = list(_in_order(threads, work.archive, part, views))
    kept = [found for found in decoded if not isinstance(found, UnreadableFile)]
    nothing = _no_rows(views)
    frames = pd.concat([found["frames"] for found in kept], ignore_index=True) if kept else nothing["frames"]
    repeated = frames["frame_id"].duplicated()
    refusals = [
        (found.path, f"{found.reason}; {found.remedy}") for found in decoded if isinstance(found, UnreadableFile)
    ]
    refusals += [
        (row.path, f"frame {row.frame_id} stands in the manifest twice; only the first is taken")
        for row in frames[repeated].itertuples()
    ]
    for view, (_, _, side) in views.items():
        pixels = [found["pixels"][view] for found in kept] or [np.empty((0, side, side), np.uint8)]
        work.draft.array(f"{view}/{number:04d}", np.concatenate(pixels))
    frames = frames.assign(batch=work.partition, part=number, row=np.arange(len(frames)))[~repeated]
    clips = pd.DataFrame([found["clip"] for found in kept], columns=nothing["clips"].columns)
    refused = pd.DataFrame(refusals, columns=["path", "reason"], dtype="string")
    for name, table in (
        ("frames", frames),
        ("clips", clips),
        ("refused", refused),
    ):  # refused last: it says the part is whole
        work.draft.table(f"{name}-{number:04d}", table, note=True)


def _no_rows(views: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """The tables of a batch of which no file can be read."""
    clip = ["clip_id", "study_id", "patient_id", "path", "file_sha256", "n_frames", "height", "width"]
    clip += ["warnings", "deidentification", *(f"box_{view}" for view in views)]
    frame = [*FRAME_COLUMNS, *(digest_column(view) for view in views)]
    columns = {"frames": frame, "clips": clip, "refused": ["path", "reason"]}
    counts = ("frame_index", "part", "row", "n_frames", "height", "width")
    return {
        name: pd.DataFrame({c: pd.Series(dtype="int64" if c in counts else "string") for c in names})
        for name, names in columns.items()
    }


def _read_part(work: Work, name: str, views: dict[str, Any]) -> pd.DataFrame:
    import io

    work.draft.has(f"{name}.parquet", note=True)
    for view in views:
        work.draft.has(f"{view}/{name.rpartition('-')[2]}.npy")
    return pd.read_parquet(io.BytesIO(work.draft.read(f"{name}.parquet")))


def _in_order(
    threads: ThreadPoolExecutor, archive: Archive, files: list[tuple[str, pd.DataFrame]], views: dict[str, Any]
) -> Iterator[dict[str, Any] | UnreadableFile]:
    """Decode on all cores, a few files ahead, results in the order of the manifest."""
    ahead: list[Future[dict[str, Any] | UnreadableFile]] = []
    width = 2 * (cpu_count() or 1)
    for path, rows in files:
        ahead.append(threads.submit(_decode, archive, path, rows, views))
        if len(ahead) >= width:
            yield ahead.pop(0).result()
    yield from (future.result() for future in ahead)


def _decode(archive: Archive, path: str, rows: pd.DataFrame, views: dict[str, Any]) -> dict[str, Any] | UnreadableFile:
    """One file: its frames in every view, their digests, and where they were cut."""
    settings, first = archive.profile.frames, rows.iloc[0]
    try:
        archive.require_unchanged(path, first.sha256)
        clip = read_clip(archive.address(path), pseudonyms=archive.pseudonyms)
        positions, indices = _chosen(path, clip, rows, settings.every, settings.max_per_clip)
        pixels, boxes = _cut(path, clip, positions, views)
    except UnreadableFile as refusal:
        return UnreadableFile(path, refusal.reason, refusal.remedy)  # under the name it is known by, sealed or not
    clip_id = f"{first.study_id}/{first.clip_id}"
    table: dict[str, Any] = {
        "frame_id": frame_ids(clip_id, indices),
        "study_id": first.study_id,
        "clip_id": clip_id,
        "patient_id": first.patient_id,
        "frame_index": indices,
        "path": path,
    }
    for view in views:
        table[digest_column(view)] = pixel_digests(pixels[view])
    described = {
        "clip_id": clip_id,
        "study_id": first.study_id,
        "patient_id": first.patient_id,
        "path": path,
        "file_sha256": first.sha256,
        "n_frames": len(indices),
        "height": clip.frames.shape[1],
        "width": clip.frames.shape[2],
        "warnings": "; ".join(clip.warnings),
        "deidentification": "; ".join(clip.actions),
        **{f"box_{view}": [box.top, box.left, box.side] for view, box in boxes.items()},
    }
    return {"frames": pd.DataFrame(table), "pixels": pixels, "clip": described}


def _cut(
    path: str, clip: Clip, positions: list[int], views: dict[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Box]]:
    """View -> the frames at these positions as the view shows them, and where it was cut. Raises UnreadableFile."""
    chosen = clip.frames[positions]
    asked = any(crop_to == "cone" for crop_to, _, _ in views.values())
    cone = cone_mask(clip.frames) if asked else np.ones(clip.frames.shape[1:], bool)
    boxes = {view: window(cone, crop_to, share) for view, (crop_to, share, _) in views.items()}
    try:
        return {view: resize(crop(chosen, boxes[view]), side) for view, (_, _, side) in views.items()}, boxes
    except ValueError as error:
        raise UnreadableFile(
            path, f"cannot be cut as the profile says: {error}", "choose another `crop`, or leave the file out"
        ) from error


def _chosen(path: str, clip: Clip, rows: pd.DataFrame, every: int, most: int | None) -> tuple[list[int], list[int]]:
    """Positions in the file and frame indices in the clip. Frames named one by one are always taken."""
    n = len(clip.frames)
    named = [int(index) for index in rows["frame_index"].dropna()]
    if n == 1 and not clip.is_partial:  # a still: the manifest says which frame of its clip it is
        if len(named) > 1:
            raise UnreadableFile(
                path, f"is one picture, but the manifest names frames {named} of it", "correct frame_index"
            )
        return [0], [named[0] if named else 0]
    beyond = [index for index in named if not 0 <= index < n]
    if beyond:
        raise UnreadableFile(
            path, f"the manifest names frame {beyond[0]}, the clip has {n} frames (0 to {n - 1})", "correct frame_index"
        )
    if not rows["frame_index"].isna().any():
        return named, named
    taken = list(range(0, n, every))
    if most is not None and len(taken) > most:
        taken = [taken[round(i)] for i in np.linspace(0, len(taken) - 1, most)]
    both = sorted({*taken, *named})
    return both, both


# ------------------------------------------------------------------------------------------------------------- split


def _wished(archive: Archive, batch: str) -> dict[str, str | None]:
    """Patient -> the manifest's split, or None where it leaves the side to the hash."""
    rows = archive.store.table(archive.store.receipts.require(Cell("studies", batch)), "rows")
    said = rows.dropna(subset="split").drop_duplicates("patient_id").set_index("patient_id")["split"].to_dict()
    return {patient: said.get(patient) for patient in sorted(set(rows["patient_id"]))}


def _decided(archive: Archive, batch: str) -> dict[str, str]:
    """Sides that patients of this batch were given when they first came."""
    mine = set(archive.frames.table([batch])["patient_id"])
    decided: dict[str, str] = {}
    for earlier in archive.batches[: archive.batches.index(batch)]:
        table = archive.split(earlier)
        for row in table[table["patient_id"].isin(mine)].itertuples():
            decided.setdefault(row.patient_id, row.split)
    return decided


def _split(work: Work) -> Made:
    settings = work.archive.profile.split
    decided = _decided(work.archive, work.partition)
    rows, moved = [], []
    for patient, wished in _wished(work.archive, work.partition).items():
        side = decided.get(patient) or wished or side_of(patient, settings.test_share, settings.salt)
        if wished is not None and wished != side:
            moved.append(patient)
        rows.append((patient, side, "earlier batch" if patient in decided else "manifest" if wished else "hash"))
    table = pd.DataFrame(rows, columns=["patient_id", "split", "decided_by"])
    work.draft.table("split", table)
    sound = bool(table["split"].isin(SPLITS).all() and not table["patient_id"].duplicated().any())
    check = dg.AssetCheckResult(
        check_name="patients_disjoint",
        passed=sound and not moved,
        severity=dg.AssetCheckSeverity.WARN if sound else dg.AssetCheckSeverity.ERROR,
        description=(
            f"the manifest wants to move {len(moved)} patients that an earlier batch put on the other side; they stay: "
            f"{', '.join(moved[:5])}"
            if moved
            else "each patient on one side"
        ),
    )
    sides = table["split"].value_counts()
    return Made(
        {"patients_train": int(sides.get("train", 0)), "patients_test": int(sides.get("test", 0))}, checks=[check]
    )


# ------------------------------------------------------------------------------------------------------------ labels


def _label_inputs(archive: Archive, batch: str) -> Mapping[str, str]:
    from enrich_assets.defs.labelling import imported

    found = imported(archive, batch)
    return {
        **digests(archive, ("frames", batch)),
        "arrival": archive.arrivals.get(batch).digest,
        "imports": digest_of(sorted(set(found["entry"]))),
    }


def _labelled(work: Work) -> Made:
    counts = {}
    for name in work.archive.profile.tasks:
        table = read_labels(work.archive, work.partition, name).table
        work.draft.table(name, table[["frame_id"]])
        counts[f"labelled_{name}"] = len(table)
    return Made(counts)


def _labels(work: Work) -> Made:
    figures: dict[str, Any] = {"classes": {}, "highest_class": {}}
    metadata: dict[str, Any] = {}
    for name, task in work.archive.profile.tasks.items():
        found = read_labels(work.archive, work.partition, name)
        table, masks, problems = found.table, found.masks, found.problems
        work.draft.table(name, table)
        work.draft.table(f"{name}_problems", problems)
        work.draft.table(f"{name}_ignored", pd.DataFrame({"frame_id": found.ignored}, dtype="string"))
        if masks is not None:
            work.draft.array(f"{name}_masks", masks)
        figures[f"labelled_{name}"] = len(table)
        figures[f"problems_{name}"] = len(problems)
        figures["classes"][name] = _classes_found(task, table)
        figures["highest_class"][name] = int(masks.max()) if masks is not None and masks.size else 0
        metadata[f"labels_{name}"] = markdown(
            table["label"].value_counts().rename_axis("label").reset_index(name="frames")
        )
        if len(problems):
            metadata[f"problems_{name}"] = markdown(problems.head(20))
    return Made(figures, metadata)


def _classes_found(task: TaskSettings, table: pd.DataFrame) -> list[str]:
    return sorted(set(table["label"].dropna())) if task.kind == "classification" else []


def markdown(table: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """A small table for the UI."""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    lines += [
        "| " + " | ".join(str(v).replace("|", "\\|") for v in row) + " |" for row in table.itertuples(index=False)
    ]
    return dg.MetadataValue.md("\n".join(lines))
