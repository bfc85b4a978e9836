"""A folder of DICOM files without a manifest: who, which study, which clip, in which order, read from the headers."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from contextlib import closing

import pandas as pd

from enrich_assets.studies import addresses, zips
from enrich_assets.studies.dicom.deidentify import attribute_text, first_date_and_time, patient_identifier
from enrich_assets.studies.dicom.header import looks_like_dicom, open_dataset
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.files import NotAFile
from enrich_assets.studies.isolation import in_order, isolated
from enrich_assets.studies.manifest import IDENTITY
from enrich_assets.studies.pseudonyms import Pseudonyms
from enrich_assets.studies.zips import members

_WANTED = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "InstanceNumber", "Modality"),
    *("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "StudyTime", "SeriesDate", "SeriesTime"),
    *("AcquisitionDate", "AcquisitionTime", "NumberOfFrames", "Rows", "Columns", "FrameTime"),
)
_DICOMDIR = "1.2.840.10008.1.3.10"
NO_DICOM = "is not DICOM"
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
# In these, each single image is a view of its own; elsewhere the single images of a series are slices of one
# stack.
_STILLS = frozenset(("US", "IVUS", "ES", "XC", "OT", "SC", "GM", "SM", "OP"))


def scan_dicom(
    folder_url: str,
    pseudonyms: Pseudonyms,
    patient_of: Callable[[str], str | None] | None = None,
    advance: Callable[[int, int, dict[str, float]], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows like a manifest's for every DICOM image below a folder (with or without suffix, in zips too).

    Parameters
    ----------
    folder_url : str
        A local path or any fsspec URL. DICOMDIR, hidden files and the `_READY` mark are passed over.
    pseudonyms : Pseudonyms
        Patients and studies become keyed hashes; clips a keyed hash of the instance, or of the series where its single
        images make one stack (MR, CT; `frame_index` then counts them by InstanceNumber).
    patient_of : callable, optional
        Address of a file -> its patient, whatever the header says; None: the file is refused. Without it the header says.
    advance : callable, optional
        Hears how many files were looked into; of how many is not known (0).

    Returns
    -------
    rows : DataFrame
        The columns of `read_manifest` and `series_time` (shifted date, ISO; NA where unknown), ordered by patient, time of
        the series, number in it.
    refused : DataFrame
        `path` and `reason`.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    """
    images: list[dict[str, object]] = []
    refused: list[dict[str, str]] = []
    with closing(in_order(_looked_into, _candidates(addresses.absolute(folder_url)))) as looked_into:
        for number, (path, found) in enumerate(looked_into, start=1):
            if advance is not None:
                advance(number, 0, {})
            try:
                if isinstance(found, UnreadableFile):
                    raise found
                if found.get("SOPClassUID") != _DICOMDIR:
                    images.append(_described(path, found, pseudonyms, patient_of))
            except UnreadableFile as error:
                refused.append({"path": path, "reason": _reason(error)})
    rows = pd.DataFrame(
        images,
        columns=[
            "path",
            "patient_id",
            "study_id",
            "clip_id",
            "series",
            "still",
            "number",
            "instance",
            "series_time",
        ],
    )
    rows = _without_copies(rows, pseudonyms, refused)
    rows = rows.sort_values(
        ["patient_id", "series_time", "study_id", "series", "number", "instance"],
        kind="stable",
        na_position="last",
    ).reset_index(drop=True)
    stacked = rows["still"].eq(False) & (rows.groupby("series")["path"].transform("size") > 1)
    rows["frame_index"] = pd.Series(pd.NA, index=rows.index, dtype="Int64")
    rows.loc[stacked, "frame_index"] = rows[stacked].groupby("series").cumcount().astype("Int64")
    rows.loc[stacked, "clip_id"] = rows.loc[stacked, "series"]
    rows["split"] = pd.Series(pd.NA, index=rows.index)
    rows["mask_path"] = pd.Series(pd.NA, index=rows.index)
    text = [name for name in (*IDENTITY, "series_time") if name != "frame_index"]
    shaped = rows[[*IDENTITY, "series_time"]].astype(dict.fromkeys(text, "str"))
    return shaped, pd.DataFrame(refused, columns=["path", "reason"], dtype="str")


def _reason(error: UnreadableFile) -> str:
    return error.reason + (f"; {error.remedy}" if error.remedy else "")


Header = dict[str, str]  # keyword -> value as text, '' where it is absent, empty or malformed


def _candidates(folder: str) -> Iterator[tuple[str, UnreadableFile | None]]:
    """Every file there is, those of zips too; with its problem each one that cannot be opened."""
    for path, problem in addresses.below(folder):
        base = posixpath.basename(path)
        inside = addresses.relative(path, addresses.flat(folder).rstrip("/"))
        if any(part.startswith(".") for part in inside.split("/")) or base.upper() in ("DICOMDIR", "_READY"):
            continue
        if problem is not None:
            yield path, UnreadableFile(path, problem.reason, problem.remedy)
            continue
        try:
            if _first_bytes(path)[:4] == b"PK\x03\x04":
                yield from ((zips.address_of(path, member), None) for member in members(path))
            else:
                yield path, None
        except UnreadableFile as error:
            yield path, error


def _first_bytes(path: str) -> bytes:
    try:
        with addresses.open_binary(path) as file:
            return file.read(264)
    except NotAFile as problem:
        raise UnreadableFile(path, problem.reason, problem.remedy) from None
    except (OSError, KeyError) as error:
        raise UnreadableFile(path, f"cannot be opened ({type(error).__name__})", "check its permissions") from None


def _looked_into(candidate: tuple[str, UnreadableFile | None]) -> tuple[str, Header | UnreadableFile]:
    """A file and what is wanted of its header, which a child process parses; or why there is none."""
    path, problem = candidate
    if problem is not None:
        return path, problem
    try:
        if zips.parts(path) is None and not looks_like_dicom(_first_bytes(path)):
            remedy = (
                "unpack it" if path.lower().endswith(ARCHIVES) else "give the folder a manifest.csv to use other images"
            )
            raise UnreadableFile(path, NO_DICOM, remedy)
        with addresses.at_hand(path) as place:
            return path, isolated(path, read_header, place)
    except UnreadableFile as error:
        return path, error
    except OSError as error:
        return path, UnreadableFile(path, f"cannot be opened ({type(error).__name__})", "check its permissions")


def read_header(path: str) -> Header:
    """What the child does: the attributes that a row needs, as text. Raises UnreadableFile."""
    dataset = open_dataset(path, only=_WANTED)
    return {keyword: attribute_text(dataset, keyword) for keyword in _WANTED}


def _described(
    path: str, header: Header, pseudonyms: Pseudonyms, patient_of: Callable[[str], str | None] | None
) -> dict[str, object]:
    """One image's row, with what orders it among others. Raises UnreadableFile where nothing identifies it."""
    if not header["Rows"] or not header["Columns"]:
        raise UnreadableFile(path, "is DICOM without an image (a report or a waveform?)", "leave it out")
    patient = patient_identifier(header) if patient_of is None else patient_of(path)
    instance = header["SOPInstanceUID"]
    if not patient or not instance:
        raise UnreadableFile(
            path,
            "its header names neither patient nor study, or no instance",
            "name it in a manifest.csv with a patient_id",
        )
    n_frames, number = header["NumberOfFrames"], header["InstanceNumber"]
    return {
        "path": path,
        "patient_id": pseudonyms.patient(patient),
        "study_id": pseudonyms.study(header["StudyInstanceUID"], patient),
        "clip_id": pseudonyms.clip(instance, patient),
        "series": pseudonyms.clip(header["SeriesInstanceUID"] or instance, patient),
        "still": n_frames not in ("", "0", "1") or header["Modality"] in _STILLS,
        "number": int(number) if number.lstrip("-").isdecimal() else 0,
        "instance": instance,
        "series_time": first_date_and_time(header, pseudonyms, patient),
    }


def _without_copies(rows: pd.DataFrame, pseudonyms: Pseudonyms, refused: list[dict[str, str]]) -> pd.DataFrame:
    """A file exported twice counts once. One instance in several forms (recompressed, cut) gives as many
    clips: the later ones by path get a clip_id by a keyed hash of their bytes."""
    shared = rows[rows.duplicated("clip_id", keep=False)].sort_values("path", kind="stable")
    seen: dict[tuple[str, str], str] = {}
    for index, path, clip in shared[["path", "clip_id"]].itertuples():
        digest = addresses.source_digest(path)
        if original := seen.get((clip, digest)):
            refused.append({"path": path, "reason": f"is a copy of {original}"})
            rows = rows.drop(index)
            continue
        if any(known == clip for known, _ in seen):
            rows.loc[index, "clip_id"] = pseudonyms.clip(f"{clip}\0{digest}")
        seen[clip, digest] = path
    return rows
