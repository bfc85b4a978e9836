"""Studies ingested: what lies at a place is read, what is known stays where it is, the rest becomes a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from enrich_assets.archive.home import Archive
from enrich_assets.archive.sides.identities import COLUMNS, odd_identities
from enrich_assets.archive.sources import source_files
from enrich_assets.progress import progress
from enrich_assets.store.batches import Batch
from enrich_assets.studies.addresses import is_folder
from enrich_assets.studies.errors import ManifestError
from enrich_assets.studies.examine import examine, manifest_digest
from enrich_assets.studies.files import is_text, shown
from enrich_assets.studies.manifest import (
    find_manifest,
    is_table,
    label_columns,
    no_manifest,
    read_manifest,
    refuse_folder_of_archives,
)
from enrich_assets.studies.media_folder import MediaFolder, PatientRule, guess_lines, scan_media, suggestion
from enrich_assets.studies.pseudonyms import Pseudonyms
from enrich_assets.studies.sealed_paths import seal, short_name

IDENTITY = ["study_id", "clip_id", "frame_index"]
Identity = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What lies at a place, before it is ingested."""

    rows: pd.DataFrame
    refused: pd.DataFrame  # path, reason
    digest: str
    source: str
    sealed: bool = False  # no manifest: nothing the sender named (folders, files) may be stored or published
    guesses: tuple[str, ...] = ()  # what was taken from paths, for whoever can tell whether it is right


@dataclass(frozen=True)
class Ingested:
    """What became of one call of `ingest`."""

    batch: Batch  # that holds these files
    is_new: bool  # False: these very files were ingested before
    n_files: int
    n_known: int  # rows of earlier batches, left where they are
    n_refused: int
    warnings: tuple[str, ...] = ()  # what looks like a mistake about who is who; may name files and patients
    guesses: tuple[str, ...] = ()


def ingest(archive: Archive, path: str, batch: str | None = None, patient_from: PatientRule | None = None) -> Ingested:
    """Ingest a manifest, a folder that holds one, a folder of DICOM files, or one of pictures and clips, as one batch.

    Parameters
    ----------
    archive
        Into which.
    path
        A file or a folder, at any fsspec URL.
    batch
        Its name; a batch of that name gets another revision. None: it is numbered.
    patient_from
        Of a folder without a manifest: where the paths name the patient.

    Returns
    -------
    Ingested
        The batch, and how many files are new, known or refused. Rows whose file, identity and content are known from
        earlier batches stay where they are; single bad files are refused one by one and listed.

    Raises
    ------
    ManifestError
        For a manifest that makes no sense as a whole.
    FileNotFoundError
        If nothing lies there.
    ValueError
        For a name that fits no batch.
    """
    return register(archive, look_at(archive, path, patient_from), batch)


def look_at(archive: Archive, path: str, patient_from: PatientRule | None = None) -> Found:
    """What lies at a path, each file examined, nothing kept yet.

    A DICOM folder without a manifest may be named after a patient, its files too: their paths are sealed.

    Raises
    ------
    ManifestError
        If there is neither a manifest nor a DICOM file, or the manifest makes no sense as a whole.
    FileNotFoundError
        If nothing lies there.
    """
    if not is_text(path):
        raise ManifestError(
            shown(path), "has a name that is not UTF-8, and no file in it can be written down", "rename it"
        )
    if patient_from is not None:
        return _guessed(archive, path, patient_from)
    if is_table(path) or find_manifest(path):
        rows, refused = _examined(read_manifest(path))
        rows, refused = in_order(rows, [*IDENTITY, "path"]), in_order(refused, ["path"])
        return Found(rows, refused, manifest_digest(rows), path)
    if not is_folder(path):
        raise no_manifest(path)
    refuse_folder_of_archives(path)
    from enrich_assets.studies.dicom import NO_DICOM, scan_dicom  # late: only who ingests DICOM needs pydicom

    with progress("reading headers", "files") as advance:
        rows, unreadable = scan_dicom(path, archive.pseudonyms, advance=advance)
    if rows.empty and unreadable["reason"].str.startswith(f"{NO_DICOM};").all():
        raise no_manifest(path, suggestion(path))
    rows, refused = _examined(rows)
    return _sealed(archive, path, rows, pd.concat([unreadable, refused], ignore_index=True))


def _examined(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    with progress("reading", "files") as advance:
        return examine(rows, advance)


def in_order(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Rows in one order, whatever the manifest's: the VAE, ties between frames and the split must not follow from it."""
    return rows.sort_values(columns, kind="stable", na_position="first", ignore_index=True)


def register(archive: Archive, found: Found, batch: str | None = None) -> Ingested:
    """Keep what lies at a place as one batch, unless it is known. Raises ValueError for a name that fits no batch."""
    with archive.ingesting:
        archive.mark_layout()
        ingested = _register(archive, found, batch)
    archive.look_again()
    return ingested


def _register(archive: Archive, found: Found, wish: str | None) -> Ingested:
    known = archive.register.all()
    for before in known:
        if before.digest == found.digest and wish in (None, before.name):
            return Ingested(before, False, len(found.rows), len(found.rows), len(found.refused))
    name = archive.register.new_name(wish)
    compared = _compare(archive, found.rows, [batch for batch in known if batch.name != name])
    refused = pd.concat([found.refused, compared.contradicting], ignore_index=True)
    rows = compared.new
    if rows.empty and refused.empty and compared.holders:
        holder = next(batch for batch in known if batch.name == compared.holders[0])
        return Ingested(holder, False, 0, compared.n_known, 0)
    rows = rows.assign(**{column: rows[column].astype("string") for column in label_columns(rows)})
    batch = archive.register.add(name, found.digest, found.source, rows, refused)
    others = [archive.register.rows(before)[COLUMNS] for before in known if before.name != name]
    earlier = pd.concat(others) if others else rows.head(0)
    called = source_files(archive).address if found.sealed else str
    odd = odd_identities(rows, earlier, called)
    return Ingested(batch, True, rows["path"].nunique(), compared.n_known, len(refused), tuple(odd), found.guesses)


# --------------------------------------------------------------------------------------------------- without a manifest


def look_through(path: str, patient_from: PatientRule) -> MediaFolder:
    """What lies below a folder without a manifest, with the patients of its paths.

    Raises
    ------
    ManifestError
        If it has a manifest, or holds nothing of a kind that is read.
    FileNotFoundError
        If nothing lies there.
    """
    manifest = path if is_table(path) else find_manifest(path)
    if manifest:
        raise ManifestError(
            manifest, "says who the patients are", "leave --patient-from out, or move the manifest away"
        )
    if not is_folder(path):
        raise no_manifest(path)
    media = scan_media(path, patient_from)
    if media.table.empty and not media.dicom:
        if media.refused.empty:
            raise no_manifest(path)
        first = media.refused.iloc[0]
        raise ManifestError(
            path, f"of none of its {len(media.refused):,} files the patient is known: {first['path']}", first["reason"]
        )
    return media


def _guessed(archive: Archive, path: str, patient_from: PatientRule) -> Found:
    """Pictures and clips as a manifest would name them; where DICOM is among them, all is sealed."""
    media = look_through(path, patient_from)
    rows, refused = media.rows(), [media.refused]
    if media.dicom:
        from enrich_assets.studies.dicom import scan_dicom

        known = {str(row.path): row.patient_id for row in media.of_dicom.itertuples()}
        with progress("reading headers", "files") as advance:
            of_dicom, unreadable = scan_dicom(path, archive.pseudonyms, known.get, advance)
        rows = pd.concat([_hashed(rows, archive.pseudonyms), of_dicom], ignore_index=True).astype(of_dicom.dtypes)
        refused.append(unreadable[unreadable["path"].isin(list(media.dicom))])
    rows, unusable = _examined(rows)
    together = pd.concat([*refused, unusable], ignore_index=True)
    guesses = guess_lines(media)
    if media.dicom:
        return replace(_sealed(archive, path, rows, together), guesses=guesses)
    rows, together = in_order(rows, [*IDENTITY, "path"]), in_order(together, ["path"])
    return Found(rows, together, manifest_digest(rows), path, guesses=guesses)


def _hashed(rows: pd.DataFrame, pseudonyms: Pseudonyms) -> pd.DataFrame:
    """Patients, studies and clips as those of DICOM files are: keyed hashes."""
    of = list(rows[["patient_id", "study_id", "clip_id"]].itertuples(index=False))
    return rows.assign(
        patient_id=[pseudonyms.patient(patient) for patient, _, _ in of],
        study_id=[pseudonyms.study(study, patient) for patient, study, _ in of],
        clip_id=[pseudonyms.clip(f"{study}/{clip}", patient) for patient, study, clip in of],
    )


# ------------------------------------------------------------------------------------------- what was ingested before


@dataclass(frozen=True)
class _Compared:
    """Rows of a batch by what is known of them."""

    new: pd.DataFrame
    n_known: int
    holders: tuple[str, ...]  # names of the batches that hold the known ones
    contradicting: pd.DataFrame  # path, reason


@dataclass(frozen=True)
class _Known:
    """A row of an earlier batch."""

    batch: str
    sha256: str
    statements: frozenset[tuple[str, str]]  # what it says besides: (column, value)


def _compare(archive: Archive, rows: pd.DataFrame, batches: list[Batch]) -> _Compared:
    """New rows, known ones, and those that contradict what was ingested before, with the reason.

    A row is its identity: study, clip, frame index (empty: the whole clip). By that identity
    - known, with the same file and statements: it stays where it is;
    - known, with another file or statement: a contradiction;
    - not known, but its clip is, and one of the two means the whole clip: a contradiction;
    - else it is new.
    """
    known = {
        identity: _Known(batch.name, sha256, statements)
        for batch in batches
        for identity, sha256, statements in _statements(archive.register.rows(batch))
    }
    clips = {identity[:2]: row.batch for identity, row in known.items()}
    whole_clips = {identity[:2] for identity in known if not identity[2]}
    new: list[int] = []
    holders: list[str] = []
    contradictions: list[tuple[str, str]] = []
    for at, (identity, sha256, statements) in enumerate(_statements(rows)):
        path = str(rows["path"].iloc[at])
        before = known.get(identity)
        if before is None:
            clip = identity[:2]
            overlaps = clip in clips and (clip in whole_clips or not identity[2])
            if overlaps:
                contradictions.append((path, _SAME_CLIP.format(batch=clips[clip])))
            else:
                new.append(at)
        elif reason := _contradiction(before, sha256, statements):
            contradictions.append((path, reason))
        else:
            holders.append(before.batch)
    table = pd.DataFrame(contradictions, columns=["path", "reason"], dtype="string")
    most_first = tuple(sorted(set(holders), key=lambda name: -holders.count(name)))
    return _Compared(rows.iloc[new].reset_index(drop=True), len(holders), most_first, table)


def _contradiction(before: _Known, sha256: str, statements: frozenset[tuple[str, str]]) -> str | None:
    if sha256 != before.sha256:
        return _CLASH
    changed = sorted({column for column, _ in statements ^ before.statements})
    return _CORRECTION.format(changed=", ".join(changed), batch=before.batch) if changed else None


_CLASH = (
    "another file with the same study, clip and frame index was ingested before; give this one its own clip_id, or "
    "ingest it under the batch name of the one it replaces"
)
_SAME_CLIP = (
    "its clip is in batch {batch} already, there as a whole and here frame by frame (or the other way round); put "
    "the rows into the manifest of that batch and ingest it again with `--batch {batch}`"
)
_CORRECTION = (
    "is known from batch {batch} with another {changed}; to correct that, ingest the whole of that batch again with "
    "`--batch {batch}`"
)


def _statements(rows: pd.DataFrame) -> Iterator[tuple[Identity, str, frozenset[tuple[str, str]]]]:
    """Of each row: its identity, the digest of its file, and what else it says (split, mask, labels)."""
    columns = ["split", "mask_sha256", *label_columns(rows)]
    text = rows.reindex(columns=[*IDENTITY, "sha256", *columns]).astype("string")
    for row in text.fillna("").itertuples(index=False, name=None):
        identity, (sha256, *values) = row[: len(IDENTITY)], row[len(IDENTITY) :]
        yield identity, sha256, frozenset((c, v) for c, v in zip(columns, values, strict=True) if v)


# ------------------------------------------------------------------------------------------------------ sealed folders


def _sealed(archive: Archive, path: str, rows: pd.DataFrame, refused: pd.DataFrame) -> Found:
    digest = manifest_digest(rows)
    sealed = {p: seal(p, archive.pseudonyms) for p in {*rows["path"], *refused["path"]}}
    reasons = [_without_path(reason, path, sealed) for reason in refused["reason"]]
    refused = refused.assign(path=refused["path"].map(sealed), reason=reasons).astype("string")
    rows = rows.assign(path=rows["path"].map(sealed))
    return Found(rows, refused, digest, seal(path, archive.pseudonyms, is_folder=True), sealed=True)


def _without_path(reason: str, folder: str, sealed: dict[str, str]) -> str:
    """A reason that names another file of a sealed folder, with that name sealed too."""
    head, match, tail = reason.partition(folder)
    if not match:
        return reason
    return head + (short_name(sealed[folder + tail]) if folder + tail in sealed else "another file of the folder")
