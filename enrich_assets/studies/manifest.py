"""The manifest: a table that says which file is which patient's, which study's, which clip's.

Finding it, bringing it to one shape, and refusing one that is structurally wrong. Whether the files it names exist or can
be read is not asked here (`examine`, `readers`): one bad file must not stop a batch, a wrong manifest must.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata

import pandas as pd

from enrich_assets.studies import addresses
from enrich_assets.studies.errors import ManifestError, listed
from enrich_assets.studies.tables import PARQUET, read_cells

IDENTITY = ("path", "patient_id", "study_id", "clip_id", "frame_index", "split", "mask_path")
# Columns that examining the files adds; they are never labels, and a manifest's own columns of these names are ignored.
MEASURED = ("sha256", "n_bytes", "mask_sha256", "series_time", "frame_times_ms")
MANIFEST_NAMES = ("manifest.csv", "manifest.parquet", "manifest.tsv")
TABLES = (".csv", ".tsv", ".txt", *PARQUET)
SPLITS = ("train", "test")
EMPTY_IDS = ("none", "nan", "null", "nat", "<na>", "n/a", "#n/a")  # what pandas, R and spreadsheets make of no patient

_SUBFOLDERS = 200  # looked into for manifests
# Beside control characters: what turns the direction of writing round, and lone surrogates.
_UNSAFE_IN_ID = re.compile(r"[%/\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def find_manifest(folder: str) -> str | None:
    """The manifest that stands directly in `folder` (`manifest.csv` before `manifest.parquet`), in any case, or None."""
    there = {name.lower(): name for name in addresses.names_in(folder)}
    return next((f"{folder.rstrip('/')}/{there[name]}" for name in MANIFEST_NAMES if name in there), None)


def is_table(path: str) -> bool:
    """Whether the name says that it is a table (as a manifest is)."""
    return path.lower().endswith(TABLES)


def refuse_folder_of_archives(folder: str) -> None:
    """Refuse a folder whose subfolders hold manifests: each is an archive of its own.

    Raises
    ------
    ManifestError
        Names up to five of them.
    """
    below = [f"{folder.rstrip('/')}/{name}" for name in addresses.names_in(folder)[:_SUBFOLDERS]]
    archives = [place for place in below if addresses.is_folder(place) and find_manifest(place)]
    if archives:
        raise ManifestError(
            folder,
            f"holds no manifest itself, but {len(archives)} of its folders do",
            f"ingest each: {', '.join(archives[:5])}",
        )


def no_manifest(place: str, instead: str = "") -> ManifestError | FileNotFoundError:
    """The refusal (to be raised) of a place where there is neither a manifest nor a DICOM file; `instead`: what else would do."""
    if not addresses.exists(place):
        return FileNotFoundError(f"{place}: there is no such file or folder; check the path")
    if not addresses.is_folder(place):
        return ManifestError(
            place,
            "is neither a table nor a folder",
            f"name a manifest ({', '.join(TABLES)}), or the folder of the files",
        )
    tables = [name for name in addresses.names_in(place) if is_table(name)]
    remedy = "add a manifest.csv (a row per file: path, patient_id)"
    if tables:
        remedy += f", or name the table that is one: {place.rstrip('/')}/{tables[0]}"
    if instead:
        remedy = f"{instead}; or {remedy}"
    return ManifestError(place, "holds no manifest and no DICOM file", remedy)


def label_columns(rows: pd.DataFrame) -> list[str]:
    """The columns that a task may name as labels: all but those that say what and where a row is."""
    return [column for column in rows.columns if column not in IDENTITY and column not in MEASURED]


def safe_id(text: str) -> str:
    """An id that can be a part of `study/clip/index`.

    Unicode is composed (NFC) and outer blanks go. `/`, `\\`, `%` and control characters become `%XX` as in a
    URL, and so do the dots of `.` and `..`: two different ids never become one, and an ordinary id stays as
    it is.
    """
    text = unicodedata.normalize("NFC", text).strip()
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return _UNSAFE_IN_ID.sub(lambda found: f"%{ord(found.group()):02X}", text)


def read_manifest(url: str) -> pd.DataFrame:
    """The rows of a manifest in one shape.

    Parameters
    ----------
    url : str
        A CSV (comma, semicolon, tab or bar; UTF-8, UTF-16 or Windows-1252) or Parquet file, or a folder that holds
        `manifest.csv` or `manifest.parquet`; a path or any fsspec URL.

    Returns
    -------
    DataFrame
        `path` (absolute), `patient_id`, `study_id`, `clip_id` (text, made safe by `safe_id`), `frame_index` (Int64; NA =
        the whole clip), `split` ('train', 'test' or NA), `mask_path` (absolute or NA), then every other column as text (NA
        where empty). Nothing is read as a number: patient "007" stays "007".

    Raises
    ------
    ManifestError
        It makes no sense as a whole; names file, line and column.
    FileNotFoundError
        There is no manifest.

    Notes
    -----
    Defaults: the study is the patient, the clip is the file's stem; where stems collide within a study, the file's path
    relative to the manifest. A split given for some rows of a patient holds for all of them.
    """
    url = addresses.absolute(url)
    if not is_table(url) and addresses.is_folder(url):
        found = find_manifest(url)
        if found is None:
            raise FileNotFoundError(f"{url}: holds neither {' nor '.join(MANIFEST_NAMES)}; write one, or name the file")
        url = found
    if not addresses.exists(url):
        raise FileNotFoundError(f"{url}: there is no such manifest; check the path")
    return _Checked(*read_cells(url, _column_name, expected="path"), url).rows()


def rows_of(table: pd.DataFrame, url: str) -> pd.DataFrame:
    """The rows of a manifest that was never written, in the shape of `read_manifest`.

    Parameters
    ----------
    table : DataFrame
        Cells of text, '' where empty; `path` absolute, or relative to the folder of `url`.
    url : str
        Where the manifest would lie.

    Raises
    ------
    ManifestError
        As `read_manifest`, each row's line being that of a manifest with one line of header.
    """
    if table.empty:
        return _Checked(pd.DataFrame(columns=list(IDENTITY), dtype="str"), [], url).shaped()
    return _Checked(table.reset_index(drop=True).copy(), list(range(2, len(table) + 2)), url).rows()


def _column_name(header: str) -> str:
    """Known columns are recognised in any case and with blanks or hyphens; a label keeps the name it has."""
    plain = re.sub(r"[\s\-]+", "_", header.strip().lower())
    return plain if plain in IDENTITY or plain in MEASURED else header.strip()


class _Checked:
    """One manifest on its way from cells (all text, '' where empty) to rows, with the line of each for messages."""

    def __init__(self, table: pd.DataFrame, lines: list[int], url: str) -> None:
        self.table = table
        self.lines = lines
        self.url = url

    def rows(self) -> pd.DataFrame:
        """The steps, in the order in which a person corrects a manifest: its columns, each cell, rows against rows."""
        self._require_columns()
        self._refuse_empty_cells()
        return self.shaped()

    def shaped(self) -> pd.DataFrame:
        """Rows of a table whose columns and cells are in order."""
        table = self.table
        folder = addresses.parent(self.url)
        named = {name: addresses.join(folder, name) for name in pd.concat([table["path"], table["mask_path"]]).unique()}
        rows = pd.DataFrame(index=table.index)
        rows["path"] = table["path"].map(named)
        for column in ("patient_id", "study_id", "clip_id"):
            rows[column] = table[column].map({text: safe_id(text) for text in table[column].unique()})
        rows["study_id"] = rows["study_id"].where(rows["study_id"] != "", rows["patient_id"])
        rows["clip_id"] = self._clip_ids(rows)
        rows["frame_index"] = self._frame_index()
        rows["split"] = self._split(rows["patient_id"])
        rows["mask_path"] = table["mask_path"].map(named).where(table["mask_path"] != "")
        for column in label_columns(table):
            if column and not column.startswith("Unnamed: "):
                rows[column] = table[column].where(table[column] != "")
        self._refuse_contradictions(rows)
        text = [column for column in rows.columns if column != "frame_index"]
        return rows.astype(dict.fromkeys(text, "str")).reset_index(drop=True)

    def _require_columns(self) -> None:
        """`path` and `patient_id` must be there, with rows below them; what else is not there is empty."""
        columns = self.table.columns
        for column in ("path", "patient_id"):
            if column not in columns:
                has = listed([c for c in columns if c], 10) or "no columns"
                raise ManifestError(self.url, f"has no column `{column}` (it has {has})", f"add `{column}`")
        if self.table.empty:
            raise ManifestError(self.url, "has a header but no rows", "add a row for each file")
        for column in IDENTITY:
            if column not in columns:
                self.table[column] = ""

    def _refuse_empty_cells(self) -> None:
        path, patient = self.table["path"], self.table["patient_id"]
        self._refuse_where(path == "", "is empty", "name the file of this row", "path")
        broken = path.str.contains("\n", regex=False)
        self._refuse_where(broken, "holds a line break", "look for a double quote that is never closed", "path")
        self._refuse_where(
            patient == "",
            "is empty",
            "every row needs its patient: the split into train and test goes by patient",
            "patient_id",
        )
        self._refuse_where(
            patient.str.strip().str.lower().isin(EMPTY_IDS),
            "is what a program writes for an empty cell, not a patient",
            "every row needs its patient's own id; leave rows out whose patient is not known",
            "patient_id",
        )

    def _refuse_where(self, wrong: pd.Series, reason: str, remedy: str, column: str) -> None:
        """Raise ManifestError for the first row in which `wrong` holds."""
        if wrong.any():
            raise ManifestError(self.url, reason, remedy, self.lines[int(wrong.to_numpy().argmax())], column)

    def _clip_ids(self, rows: pd.DataFrame) -> pd.Series:
        """The clip as given, else the file's stem, else (two files of a study have this stem) its relative path."""
        folder = addresses.parent(self.url)
        missing = rows["clip_id"] == ""
        stems = {path: posixpath.splitext(posixpath.basename(path))[0] for path in rows["path"].unique()}
        stem = rows["path"].map(stems)
        files_of_stem = rows["path"].groupby([rows["study_id"], stem]).transform("nunique")
        full = rows["path"].map(
            {path: path.removeprefix(folder.rstrip("/") + "/") for path in rows.loc[files_of_stem > 1, "path"].unique()}
        )
        chosen = stem.where(files_of_stem == 1, full)
        return rows["clip_id"].where(~missing, chosen.map({t: safe_id(t) for t in chosen.unique()}))

    def _frame_index(self) -> pd.Series:
        text = self.table["frame_index"].str.replace(r"\.0+$", "", regex=True)  # what a spreadsheet makes of 12
        wrong = (text != "") & ~text.str.fullmatch(r"\d{1,9}")
        self._refuse_where(
            wrong, "is not a frame number", "count from 0; leave it empty for the whole clip", "frame_index"
        )
        return pd.to_numeric(text.where(text != ""), errors="coerce").astype("Int64")

    def _split(self, patient: pd.Series) -> pd.Series:
        """The side of each row's patient, by whichever of the patient's rows gives one; NA where none does."""
        text = self.table["split"].str.lower()
        self._refuse_where(
            (text != "") & ~text.isin(SPLITS),
            "is neither train nor test",
            "write train, test, or leave it empty",
            "split",
        )
        given = text.where(text != "")
        sides = given.groupby(patient).transform("nunique")
        if (sides > 1).any():
            first = given.groupby(patient).transform("first")
            self._refuse_where(
                (sides > 1) & given.notna() & (given != first),
                "puts a patient on the other side than an earlier row does",
                "a patient belongs to train or to test, never to both",
                "split",
            )
        return given.groupby(patient).transform("first")

    def _refuse_contradictions(self, rows: pd.DataFrame) -> None:
        """A study and a file belong to one patient, a file to one clip, a frame to one row, a whole clip to one file."""
        first_patient = rows.groupby("study_id")["patient_id"].transform("first")
        self._refuse_where(
            rows["patient_id"] != first_patient,
            "is the study of another patient in an earlier row",
            "make study_id unique, for instance by putting the patient before it",
            "study_id",
        )
        first_patient = rows.groupby("path")["patient_id"].transform("first")
        self._refuse_where(
            rows["patient_id"] != first_patient,
            "is listed for another patient in an earlier row",
            "a file belongs to one patient",
            "path",
        )
        clip = ["study_id", "clip_id"]
        first_clip = (rows["study_id"] + "/" + rows["clip_id"]).groupby(rows["path"]).transform("first")
        self._refuse_where(
            rows["study_id"] + "/" + rows["clip_id"] != first_clip,
            "is listed under another study or clip in an earlier row",
            "one file is one clip; tell its frames apart by frame_index",
            "path",
        )
        self._refuse_where(
            rows.duplicated([*clip, "frame_index"]),
            "stands for the same study, clip and frame as an earlier row",
            "remove one, or tell them apart by clip_id or frame_index",
            "frame_index" if rows["frame_index"].notna().any() else "clip_id",
        )
        whole = rows["path"].where(rows["frame_index"].isna())
        whole_file = whole.groupby([rows["study_id"], rows["clip_id"]]).transform("first")
        self._refuse_where(
            whole_file.notna() & (rows["path"] != whole_file),
            "is another file than the one that holds the whole clip",
            "give it a clip_id of its own",
            "path",
        )
