"""A folder of pictures and clips without a manifest: which patient each file is of, guessed from its path.

What was guessed is said (`guess_lines`), and can be written down as a manifest to be corrected (`as_manifest`). DICOM files among them
are counted here and read by `dicom`.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from urllib.parse import unquote

import pandas as pd

from enrich_assets.studies import addresses
from enrich_assets.studies.errors import ManifestError, listed
from enrich_assets.studies.files import NotAFile
from enrich_assets.studies.manifest import IDENTITY, rows_of

GROUPS = ("patient", "study", "clip", "frame")
COLUMNS = ("path", "patient_id", "study_id", "clip_id", "frame_index")
_PASSED_OVER = ("_ready", "thumbs.db", "desktop.ini", "dicomdir")
# Folders whose pictures say where things are in other pictures.
_MASKS = re.compile(r"^(masks?|labels?(tr|ts)?|seg(mentations?)?|annotations?|ground_?truth|gt)$", re.IGNORECASE)
_HEAD = 264


class PatientRule:
    """Where the patient stands in the path of a file, seen from the folder that is ingested.

    Parameters
    ----------
    text : str
        `folder`: the first folder of the path. `stem`: the file's name without its suffix. Anything else is a regular
        expression, searched for in the path: its group `patient` (else its first group, else all that it finds) is the patient;
        groups `study`, `clip` and `frame` say the rest.

    Raises
    ------
    ValueError
        It is no regular expression, or has a group `frame` without `clip`.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._pattern: re.Pattern[str] | None = None
        if text in ("folder", "stem"):
            return
        try:
            self._pattern = re.compile(text)
        except re.error as error:
            raise ValueError(f"{text!r} is neither `folder`, `stem` nor a regular expression: {error}") from error
        groups = set(self._pattern.groupindex)
        if odd := sorted(groups - set(GROUPS)):
            raise ValueError(f"{text!r} names the group {odd[0]}; there are: {', '.join(GROUPS)}")
        if "frame" in groups and "clip" not in groups:
            raise ValueError(f"{text!r} names a frame but no clip; put (?P<clip>...) around what its frames share")

    def of(self, path: str) -> dict[str, str] | None:
        """What the path says: `patient`, and those of `study`, `clip`, `frame` that are known; None where it does not fit.

        Parameters
        ----------
        path : str
            Below the folder that is ingested, with slashes.
        """
        if self.text == "stem":
            return {"patient": posixpath.splitext(posixpath.basename(path))[0]}
        if self._pattern is None:
            patient, *further = path.split("/")[:-1] or [""]
            return {"patient": patient, "study": "/".join([patient, *further])} if patient else None
        found = self._pattern.search(path)
        if found is None:
            return None
        named = {name: text for name, text in found.groupdict().items() if text}
        named.setdefault("patient", (found.group(1) or "") if found.re.groups else found.group())
        return named if named["patient"].strip() else None

    @property
    def why_not(self) -> str:
        """Why a file has no patient by this rule, and what to do."""
        if self._pattern is None:
            return "lies in no folder of a patient; move it into one, or use another --patient-from"
        return f"its path does not match {self.text!r}; correct the expression, or move the file away"


@dataclass(frozen=True)
class MediaFolder:
    """What lies below a folder, by a rule.

    Attributes
    ----------
    table : DataFrame
        `COLUMNS` (text, '' where not known) of pictures, clips and zips, and `kind` (still, video, volume, zip); absolute paths.
    of_dicom : DataFrame
        `path` and `patient_id` of the DICOM files.
    refused : DataFrame
        `path`, `reason`.
    passed_over : Counter
        Suffix -> number of the files of no kind that is read.
    """

    folder: str
    rule: PatientRule
    table: pd.DataFrame
    of_dicom: pd.DataFrame
    refused: pd.DataFrame
    passed_over: Counter[str]

    @property
    def dicom(self) -> list[str]:
        """Addresses of the DICOM files."""
        return list(self.of_dicom["path"])

    def rows(self) -> pd.DataFrame:
        """As `read_manifest` gives them. Raises ManifestError where two files would be the same frame."""
        table = self.table[list(COLUMNS)]
        full = table[table["clip_id"] != ""]
        twice = full[full.duplicated(["study_id", "clip_id", "frame_index"], keep=False)]
        if len(twice):
            same = twice.groupby(["study_id", "clip_id", "frame_index"], sort=False)["path"].agg(list).iloc[0]
            raise ManifestError(
                self.folder,
                f"{self.rule.text!r} makes the same study, clip and frame of {listed(self._short(same), 2)}",
                "let the groups study, clip and frame tell them apart",
            )
        studies = table[table["study_id"] != ""].groupby("study_id")["patient_id"].nunique()
        if (studies > 1).any():
            raise ManifestError(
                self.folder,
                f"{self.rule.text!r} gives the study {studies.idxmax()!r} to {studies.max()} patients",
                "put what tells the patients apart into the group study, too",
            )
        return rows_of(table, f"{self.folder.rstrip('/')}/(guessed by --patient-from)")

    def _short(self, paths: list[str]) -> list[str]:
        return [addresses.relative(path, addresses.flat(self.folder).rstrip("/")) for path in paths]


def scan_media(folder: str, rule: PatientRule) -> MediaFolder:
    """Look through a folder: the kind of each file by its first bytes, its patient by the rule. Hidden files are passed over.

    Parameters
    ----------
    folder : str
        A local path or any fsspec URL.
    rule : PatientRule

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    """
    from enrich_assets.studies.readers import Kind, kind_of  # loads the decoders

    folder = addresses.absolute(folder)
    rows: list[dict[str, str]] = []
    of_dicom: list[dict[str, str]] = []
    refused: list[dict[str, str]] = []
    passed_over: Counter[str] = Counter()
    for path, problem in addresses.below(folder):
        inside = addresses.relative(path, addresses.flat(folder).rstrip("/"))
        if _is_passed_over(inside):
            continue
        head, reason = (b"", str(problem)) if problem is not None else _first_bytes(path)
        kind = kind_of(head, path)
        if kind is None and not reason:
            passed_over[posixpath.splitext(inside)[1].lower() or "no suffix"] += 1
            continue
        named = rule.of(inside)
        if not reason and named is not None and not named.get("frame", "0").isdecimal():
            reason = f"its frame {named['frame']!r} is no number; let the group frame hold digits only"
        if reason or named is None:
            refused.append({"path": path, "reason": reason or rule.why_not})
        elif kind is Kind.DICOM:
            of_dicom.append({"path": path, "patient_id": named["patient"]})
        else:
            assert kind is not None
            rows.append({"path": path, "kind": kind.value, **_cells(named)})
    table = pd.DataFrame(rows, columns=[*COLUMNS, "kind"], dtype="str")
    return MediaFolder(
        folder,
        rule,
        table.assign(study_id=_plain_studies(table["study_id"])),
        pd.DataFrame(of_dicom, columns=["path", "patient_id"], dtype="str"),
        pd.DataFrame(refused, columns=["path", "reason"], dtype="str"),
        passed_over,
    )


def _plain_studies(studies: pd.Series) -> pd.Series:
    """`p01/day1` as `p01-day1`, unless two studies would be called alike."""
    plain = studies.str.replace("/", "-", regex=False)
    return plain if plain.nunique() == studies.nunique() else studies


def _is_passed_over(inside: str) -> bool:
    parts = inside.lower().split("/")
    return any(part.startswith(".") or part == "__macosx" for part in parts) or parts[-1] in _PASSED_OVER


def _first_bytes(path: str) -> tuple[bytes, str]:
    """What tells the kind of a file; or why it cannot be read, and what to do."""
    try:
        with addresses.open_binary(path) as file:
            head = file.read(_HEAD)
    except NotAFile as problem:
        return b"", str(problem)
    except (OSError, KeyError) as error:
        return b"", f"cannot be opened ({type(error).__name__}); check its permissions"
    return head, "" if head else "is empty; copy it again"


def _cells(named: dict[str, str]) -> dict[str, str]:
    """The cells of a manifest. A frame's number counts from what the name says; leading zeros are no part of it."""
    frame = named.get("frame", "")
    return {
        "patient_id": named["patient"],
        "study_id": named.get("study", ""),
        "clip_id": named.get("clip", ""),
        "frame_index": frame.lstrip("0") or "0" if frame else "",
    }


def guess_lines(media: MediaFolder) -> tuple[str, ...]:
    """What was guessed, for whoever can tell whether it is right: it names folders and files, so it is kept nowhere.

    Parameters
    ----------
    media : MediaFolder
    """
    table, rule = media.table, media.rule
    of_kind = Counter(table["kind"])
    n_files = len(table) + len(media.dicom)
    if not n_files:
        return ()
    counted = [
        (of_kind["video"], "clips"),
        (of_kind["still"], "pictures"),
        (of_kind["volume"], "volumes"),
        (of_kind["zip"], "zips"),
    ]
    counted.append((len(media.dicom), "DICOM files"))
    kinds = ", ".join(f"{n:,} {_one(unit, n)}" for n, unit in counted if n)
    by_patient = Counter([*table["patient_id"], *media.of_dicom["patient_id"]])
    n_patients = len(by_patient)
    names = listed([f"{name} ({n})" for name, n in sorted(by_patient.items())], 4)
    lines = [
        f"no manifest: guessed from the paths (--patient-from {rule.text}), {kinds} of {n_patients:,} {_one('patients', n_patients)}"
        + ("" if media.dicom else f": {names}")
    ]
    if of_kind["still"] and not (table["frame_index"] != "").any():
        lines.append("  each picture is a clip of its own; groups (?P<clip>...) and (?P<frame>...) would join them")
    inside = [addresses.relative(path, addresses.flat(media.folder).rstrip("/")) for path in table["path"]]
    odd = sorted({part for path in inside for part in path.split("/")[:-1] if _MASKS.match(part)})
    if odd:
        lines.append(
            f"  warning: pictures in {listed(odd, 3)} look like masks and are taken as frames; name them in a manifest (mask_path)"
        )
    if media.passed_over:
        suffixes = listed([f"{suffix} {n:,}" for suffix, n in media.passed_over.most_common()], 4)
        n = media.passed_over.total()
        lines.append(f"  passed over: {n:,} {_one('files', n)} of kinds that are not read ({suffixes})")
    if len(media.dicom):
        lines.append("  DICOM files are among them: paths are sealed, and patients, studies and clips are keyed hashes")
    elif len(table):
        lines.append(
            "  these names stand in tables and reports as they are; if they are people's, write a manifest of other ids"
        )
    lines.append(
        f"  to correct it: --patient-from {quoted(rule.text)} --write-manifest FILE, edit, `enrich ingest FILE`"
    )
    return tuple(lines)


def _one(unit: str, n: int) -> str:
    return unit.removesuffix("s") if n == 1 else unit


def quoted(text: str) -> str:
    """As a shell takes it for one word."""
    return shlex.quote(text)


def as_manifest(media: MediaFolder, beside: str, labels: tuple[str, ...] = ()) -> pd.DataFrame:
    """The guess as a manifest to be corrected.

    Parameters
    ----------
    media : MediaFolder
    beside : str
        The folder that the manifest will lie in: paths are relative to it where they lie below.
    labels : tuple of str
        Columns left empty, to be filled in.

    Returns
    -------
    DataFrame
        Of text: `path`, `patient_id`, `study_id`, `clip_id`, `frame_index`, `split`, and the labels; a row per file.

    Raises
    ------
    ManifestError
        As `MediaFolder.rows`.
    """
    rows = media.rows()
    table = pd.concat([rows[list(IDENTITY)], media.of_dicom], ignore_index=True)
    table["path"] = [addresses.relative(path, beside.rstrip("/")) for path in table["path"]]
    text = table[[*COLUMNS, "split"]].astype("string").fillna("")
    ids = ["patient_id", "study_id", "clip_id"]
    text[ids] = text[ids].map(unquote)  # `safe_id` makes them safe again when the manifest is read
    return text.assign(**dict.fromkeys(labels, "")).sort_values("path", ignore_index=True)


def suggestion(folder: str) -> str:
    """What --patient-from would make of a folder that holds media, by the names of its files; '' where it holds none.

    Parameters
    ----------
    folder : str
        A local path or any fsspec URL.
    """
    from enrich_assets.studies.readers import kind_of

    folder = addresses.absolute(folder)
    inside = [
        addresses.relative(path, addresses.flat(folder).rstrip("/"))
        for path, problem in addresses.below(folder)
        if problem is None
    ]
    media = [path for path in inside if not _is_passed_over(path) and kind_of(b"", path) is not None]
    if not media:
        return ""
    folders = {path.split("/")[0] for path in media if "/" in path}
    ways = [f"`--patient-from folder` would make {len(folders):,} patients"] if folders else []
    ways.append(f"`--patient-from stem` {len({posixpath.splitext(posixpath.basename(path))[0] for path in media}):,}")
    return f"it holds {len(media):,} pictures and clips: say where their paths name the patient ({', '.join(ways)}, a REGEX any)"
