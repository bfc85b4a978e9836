"""The archive: home, profile and store as one plain object, and the taking in of new studies.

Dagster's resource and the command line both hand it around; nothing here knows of either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from enrich_assets.settings import Profile, home, load_profile, profile_source
from enrich_assets.store.arrivals import Arrival, Arrivals
from enrich_assets.store.artefacts import Store
from enrich_assets.store.frames import Frames
from enrich_assets.store.receipts import Cell
from enrich_assets.store.tracking import Tracking
from enrich_assets.studies.dicom.deidentify import Pseudonyms

IDENTITY = ["study_id", "clip_id", "frame_index"]


@dataclass(frozen=True)
class Ingested:
    """What became of one call of `ingest`."""

    arrival: Arrival
    is_new: bool  # False: these very files had arrived before
    n_files: int
    n_known: int  # rows of earlier batches, left where they are
    n_refused: int


@dataclass(frozen=True)
class Arriving:
    """What lies at a place, before it is taken in."""

    rows: pd.DataFrame
    refused: pd.DataFrame  # path, reason
    digest: str
    source: str
    sealed: bool = False  # no manifest: nothing the sender named (folders, files) may be stored or said


class Archive:
    """`home` holds the databases and the key; the store may lie at any fsspec URL (`ENRICH_STORE`)."""

    def __init__(self, home_folder: Path, profile: Profile, store_url: str | None = None) -> None:
        self.home = home_folder
        self.profile = profile
        self.store = Store(store_url or os.environ.get("ENRICH_STORE") or str(home_folder / "store"))
        self.arrivals = Arrivals(self.store.folder)
        self.frames = Frames(self.store)
        self.test_sets: dict[
            tuple[str, tuple[str, ...]], tuple[pd.DataFrame, str]
        ] = {}  # by task and the digests they come from
        self._tracking: dict[str, Tracking] = {}
        self._vectors = lru_cache(maxsize=64)(self._read_vectors)

    @classmethod
    def open(cls) -> Archive:
        """The archive of this environment: ENRICH_HOME, ENRICH_PROFILE, ENRICH_STORE."""
        folder = home()
        return cls(folder, load_profile(profile_source(folder)))

    @property
    def batches(self) -> list[str]:
        return self.arrivals.batches()

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        return Pseudonyms.load_or_create(str(self.home / "pseudonym.key"))

    @property
    def published(self) -> Path:
        return self.home / "enrich.duckdb"

    @property
    def report(self) -> Path:
        return self.home / "report.html"

    @property
    def incoming(self) -> str:
        return self.profile.incoming.url or str(self.home / "incoming")

    @property
    def tracking_uri(self) -> str:
        return self.profile.tracking.uri or f"sqlite:///{self.home / 'mlflow.db'}"

    def tracking(self, task: str) -> Tracking:
        """The MLflow recorder of a task, one per archive and task."""
        if task not in self._tracking:
            settings = self.profile.tracking
            self._tracking[task] = Tracking(
                self.tracking_uri, f"enrich/{task}", dagster_url=settings.dagster_url, mlflow_url=settings.ui_url
            )
        return self._tracking[task]

    # ------------------------------------------------------------------------------------------------------ taking in

    def ingest(self, path: str, batch: str | None = None) -> Ingested:
        """Take in a manifest, a folder that holds one, or a folder of DICOM files, as one batch.

        Rows whose file, identity and content are known from earlier batches stay where they are. Raises ManifestError
        for a manifest that makes no sense as a whole; single bad files are refused one by one and listed.
        """
        return self.take_in(self.read(path), batch)

    def read(self, path: str) -> Arriving:
        """What lies there, each file examined, nothing kept yet. Raises ManifestError, FileNotFoundError.

        A folder without a manifest may be named after a patient, its files too: their paths are sealed.
        """
        from enrich_assets.studies.addresses import is_folder
        from enrich_assets.studies.dicom.folder import NO_DICOM, scan_dicom
        from enrich_assets.studies.dicom.sealed_paths import seal
        from enrich_assets.studies.examine import arrival_digest, examine
        from enrich_assets.studies.manifest import (
            find_manifest,
            is_table,
            no_manifest,
            read_manifest,
            refuse_folder_of_archives,
        )

        if is_table(path) or find_manifest(path):
            rows, refused = examine(read_manifest(path))
            return Arriving(rows, refused, arrival_digest(rows), path)
        if not is_folder(path):
            raise no_manifest(path)
        refuse_folder_of_archives(path)
        rows, unreadable = scan_dicom(path, self.pseudonyms)
        if rows.empty and unreadable["reason"].str.startswith(f"{NO_DICOM};").all():
            raise no_manifest(path)
        rows, refused = examine(rows)
        refused = pd.concat([unreadable, refused], ignore_index=True)
        digest = arrival_digest(rows)
        sealed = {p: seal(p, self.pseudonyms) for p in {*rows["path"], *refused["path"]}}
        reasons = [_without_path(reason, path, sealed) for reason in refused["reason"]]
        refused = refused.assign(path=refused["path"].map(sealed), reason=reasons).astype("string")
        return Arriving(
            rows.assign(path=rows["path"].map(sealed)),
            refused,
            digest,
            seal(path, self.pseudonyms, is_folder=True),
            sealed=True,
        )

    @cached_property
    def arriving(self) -> FileLock:
        """Held while a batch is named and registered: a sensor and an `enrich ingest` may do so at once."""
        self.home.mkdir(parents=True, exist_ok=True)
        return FileLock(str(self.home / ".arrivals.lock"))

    def take_in(self, arriving: Arriving, batch: str | None = None) -> Ingested:
        """Register what was read as one batch, unless it is known."""
        with self.arriving:
            return self._take_in(arriving, batch)

    def _take_in(self, arriving: Arriving, batch: str | None) -> Ingested:
        from enrich_assets.studies.manifest import label_columns

        rows, refused, digest = arriving.rows, arriving.refused, arriving.digest
        for known in self.arrivals.all():
            if known.digest == digest and batch in (None, known.batch):
                return Ingested(known, False, len(rows), len(rows), len(refused))
        name = self.arrivals.new_name(batch)
        rows, n_known, not_taken = self._apart(rows, except_batch=name)
        refused = pd.concat([refused, not_taken], ignore_index=True)
        if rows.empty and refused.empty and self.batches:
            return Ingested(self.arrivals.all()[-1], False, 0, n_known, 0)
        rows = rows.assign(**{c: rows[c].astype("string") for c in label_columns(rows)})
        arrival = self.arrivals.register(name, digest, arriving.source, rows, refused)
        return Ingested(arrival, True, rows["path"].nunique(), n_known, len(refused))

    def address(self, path: str) -> str:
        """Where a source file lies: a sealed path opened, any other as it is. Raises LookupError without the right key."""
        from enrich_assets.studies.dicom.sealed_paths import is_sealed, unseal

        return unseal(path, self.pseudonyms) if is_sealed(path) else path

    def source_digest(self, path: str) -> str:
        """sha256 of a source file, or a folder of masks, as it lies there now. Raises OSError, LookupError."""
        from enrich_assets.studies import addresses

        return addresses.source_digest(self.address(path))

    def require_unchanged(self, path: str, sha256: str) -> None:
        """Raises UnreadableFile for a source file that is not what it was when it was taken in."""
        from enrich_assets.studies.errors import UnreadableFile

        try:
            now = self.source_digest(path)
        except OSError as error:
            raise UnreadableFile(path, "is no longer there", "bring it back, then `enrich run`") from error
        if now != sha256:
            raise UnreadableFile(
                path,
                "has changed since it was taken in",
                "ingest it again, under the name of its batch (--batch)",
            )

    def _apart(self, rows: pd.DataFrame, *, except_batch: str) -> tuple[pd.DataFrame, int, pd.DataFrame]:
        """Split rows into new ones, a count of known ones, and those that contradict what arrived before, with the reason."""
        known = {
            identity: (batch, sha256, told)
            for batch in self.batches
            if batch != except_batch
            for identity, sha256, told in _told(self.arrivals.rows(batch))
        }
        clips = {identity[:2]: batch for identity, (batch, *_) in known.items()}
        whole = {identity[:2] for identity in known if not identity[2]}
        new, contradictions, n_known = [], [], 0
        for at, (identity, sha256, told) in enumerate(_told(rows)):
            if identity not in known:
                clip = identity[:2]
                if clip in clips and (clip in whole or not identity[2]):
                    contradictions.append((rows["path"].iloc[at], _SAME_CLIP.format(batch=clips[clip])))
                else:
                    new.append(at)
                continue
            batch, sha256_known, told_before = known[identity]
            if sha256 != sha256_known:
                contradictions.append((rows["path"].iloc[at], _CLASH))
            elif changed := sorted({column for column, _ in told ^ told_before}):
                contradictions.append(
                    (rows["path"].iloc[at], _CORRECTION.format(changed=", ".join(changed), batch=batch))
                )
            else:
                n_known += 1
        said = pd.DataFrame(contradictions, columns=["path", "reason"], dtype="string")
        return rows.iloc[new].reset_index(drop=True), n_known, said

    # --------------------------------------------------------------------------------------------------- what is there

    def frame_table(self, batches: list[str] | None = None) -> pd.DataFrame:
        """All frames with their side of the split, batch after batch."""
        batches = self.batches if batches is None else batches
        table = self.frames.table(batches)
        sides = pd.concat([self.split(batch) for batch in batches], ignore_index=True) if batches else None
        if sides is None:
            return table.assign(split=pd.Series(dtype="string"))
        return table.merge(sides.drop_duplicates("patient_id")[["patient_id", "split"]], on="patient_id", how="left")

    def frame_row(self, frame_id: str) -> pd.DataFrame:
        """The one row of the frame table. Raises KeyError."""
        clip_id = frame_id.rpartition("/")[0]
        for batch in self.batches:
            table = self.frames.table([batch])
            found = table[(table["clip_id"] == clip_id) & (table["frame_id"] == frame_id)]
            if len(found):
                return found
        raise KeyError(f"no frame {frame_id!r} in this archive")

    def split(self, batch: str) -> pd.DataFrame:
        """Columns patient_id, split."""
        return self.store.table(self.store.receipts.require(Cell("split", batch)), "split")

    def labels(self, task: str, batches: list[str] | None = None) -> pd.DataFrame:
        """Current labels of a task: frame_id, label (class name), mask_row (-1 without mask), batch, ..."""
        tables = [
            self.store.table(self.store.receipts.require(Cell("labels", batch)), task)
            for batch in (self.batches if batches is None else batches)
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["frame_id", "label"])

    def ignored(self, task: str) -> set[str]:
        """Frames that a labeller could not tell: imported labels among the task's `ignore`."""
        receipts = (self.store.receipts.require(Cell("labels", batch)) for batch in self.batches)
        return {frame for r in receipts for frame in self.store.table(r, f"{task}_ignored")["frame_id"]}

    def masks(self, task: str, labels: pd.DataFrame) -> np.ndarray:
        """Masks named by rows of `labels`, in that order: (n, side, side) uint8 class indices."""
        out: np.ndarray | None = None
        rows = labels["mask_row"].to_numpy()
        for batch, members in labels.reset_index(drop=True).groupby("batch", sort=False).groups.items():
            stored = self.store.array(self.store.receipts.require(Cell("labels", str(batch))), f"{task}_masks")
            at = np.asarray(members)
            if out is None:
                out = np.empty((len(labels), *stored.shape[1:]), np.uint8)
            out[at] = stored[rows[at]]
        return out if out is not None else np.empty((0, 0, 0), np.uint8)

    def classes(self, task: str) -> tuple[str, ...]:
        """The class names of a task: the profile's, else those found, in alphabetical order (masks: by index)."""
        named = self.profile.tasks[task].classes
        if named is not None:
            return named
        found: set[str] = set()
        highest = 0
        for batch in self.batches:
            receipt = self.store.receipts.require(Cell("labels", batch))
            seen = receipt.figures.get("classes", {}).get(task, [])
            found.update(map(str, seen))
            highest = max(highest, receipt.figures.get("highest_class", {}).get(task, 0))
        if self.profile.tasks[task].kind == "segmentation":
            return ("background", *(f"class_{i}" for i in range(1, highest + 1)))
        return tuple(sorted(found))

    def positive(self, task: str) -> str:
        return self.profile.tasks[task].positive or self.classes(task)[-1]

    def pool(self, task: str, batches: list[str] | None = None) -> pd.DataFrame:
        """Train frames the task may choose from: frame_id, patient_id, clip_id, batch, pixel_digest, position in parts."""
        tables = [
            self.store.table(self.store.receipts.require(Cell(f"{task}/pool", batch)), "pool")
            for batch in (self.batches if batches is None else batches)
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["frame_id"])

    def vectors(self, frames: pd.DataFrame) -> np.ndarray:
        """Fixed-point embeddings of rows of a frame table (columns batch, frame_id), in that order: (n, 128) int16."""
        out: np.ndarray | None = None
        ids = frames["frame_id"].to_numpy()
        for batch, members in frames.reset_index(drop=True).groupby("batch", sort=False).groups.items():
            receipt = self.store.receipts.require(Cell("embeddings", str(batch)))
            stored, position = self._vectors(receipt.digest, str(batch))
            at = np.asarray(members)
            if out is None:
                out = np.empty((len(frames), stored.shape[1]), np.int16)
            out[at] = stored[position.loc[ids[at]].to_numpy()]
        return out if out is not None else np.empty((0, 128), np.int16)

    def _read_vectors(self, digest: str, batch: str) -> tuple[np.ndarray, pd.Series]:
        receipt = self.store.receipts.require(Cell("embeddings", batch))
        ids = self.frames.table([batch])["frame_id"]
        return self.store.array(receipt, "vectors"), pd.Series(np.arange(len(ids)), index=ids)


_CLASH = (
    "another file with the same study, clip and frame index arrived before; give this one its own clip_id, or "
    "ingest it under the batch name of the one it replaces"
)
_SAME_CLIP = (
    "its clip arrived in batch {batch} already, there as a whole and here frame by frame (or the other way round); put "
    "the rows into the manifest of that batch and ingest it again with `--batch {batch}`"
)
_CORRECTION = (
    "is known from batch {batch} with another {changed}; to correct that, ingest the whole of that batch again with "
    "`--batch {batch}`"
)


def _told(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], str, set[tuple[str, str]]]]:
    """Of each row: its identity, the digest of its file, and what else it says (split, mask, labels)."""
    from enrich_assets.studies.manifest import label_columns

    columns = ["split", "mask_sha256", *label_columns(rows)]
    text = rows.reindex(columns=[*IDENTITY, "sha256", *columns]).astype("string")
    for row in text.fillna("").itertuples(index=False, name=None):
        identity, (sha256, *values) = row[: len(IDENTITY)], row[len(IDENTITY) :]
        yield identity, sha256, {(c, v) for c, v in zip(columns, values, strict=True) if v}


def _without_path(reason: str, folder: str, sealed: dict[str, str]) -> str:
    """A reason that names another file of a sealed folder, with that name sealed too."""
    head, found, tail = reason.partition(folder)
    if not found:
        return reason
    return head + sealed.get(folder + tail, "another file of the folder")
