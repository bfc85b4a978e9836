"""The files behind the rows of a manifest: is each there, what are its bytes; and one digest of rows and bytes together.

The pixels are not looked at here (`readers`), nor is anything remembered (`store`).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from enrich_assets.studies import addresses, zips
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.files import NotAFile
from enrich_assets.studies.manifest import label_columns, safe_id
from enrich_assets.studies.zips import members

Advance = Callable[[int, int, dict[str, float]], None]
_THREADS = 8  # hashing and waiting for storage both let go of the interpreter


def examine(rows: pd.DataFrame, advance: Advance | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Look at the files that rows name, and read every byte of them once.

    Parameters
    ----------
    rows : DataFrame
        What `read_manifest` or `scan_dicom` gives.
    advance : callable, optional
        Hears how many files were read, of how many.

    Returns
    -------
    rows : DataFrame
        With `sha256`, `n_bytes` (Int64) and `mask_sha256` (NA without mask). A row whose file is missing, empty or cannot
        be opened is left out; of a row whose mask is missing, only the mask is. A zip of several files becomes a row for
        each file in it (clip `<clip>-<file's name>`).
    refused : DataFrame
        `path` and `reason` of what was left out, each file once.
    """
    rows = rows.assign(
        **{column: rows[column].map(_as_it_lies, na_action="ignore") for column in ("path", "mask_path")}
    )
    rows, refused = _unpacked(rows)
    files, unusable_files = _digests(rows["path"].unique(), advance)
    masks, unusable_masks = _digests(rows["mask_path"].dropna().unique(), None)
    refused += [{"path": path, "reason": reason} for path, reason in (*unusable_files.items(), *unusable_masks.items())]
    rows = rows[rows["path"].isin(list(files))].reset_index(drop=True)
    rows["sha256"] = rows["path"].map({path: digest for path, (digest, _) in files.items()}).astype("str")
    rows["n_bytes"] = rows["path"].map({path: size for path, (_, size) in files.items()}).astype("Int64")
    rows["mask_sha256"] = rows["mask_path"].map({path: digest for path, (digest, _) in masks.items()}).astype("str")
    rows["mask_path"] = rows["mask_path"].where(rows["mask_sha256"].notna())
    return rows, pd.DataFrame(refused, columns=["path", "reason"], dtype="str")


def manifest_digest(rows: pd.DataFrame) -> str:
    """The identity of what is to be ingested: its manifest's rows together with the bytes of every file and mask.

    Parameters
    ----------
    rows : DataFrame
        What `examine` gives.

    Returns
    -------
    str
        sha256 in hex over paths below their common folder, bytes, ids, splits and labels. The same for any order of rows
        and columns and wherever the folder lies; another for any other file, id, split, label or mask.
    """
    folder = addresses.common_folder([*rows["path"], *rows["mask_path"].dropna()])
    columns = ["sha256", "patient_id", "study_id", "clip_id", "split", "mask_sha256", *sorted(label_columns(rows))]
    identity = rows[columns].assign(
        path=rows["path"].map(lambda path: addresses.relative(path, folder)),
        frame_index=rows["frame_index"].astype("str"),
    )
    lines = sorted(
        json.dumps(
            {name: str(value) for name, value in zip(identity.columns, row, strict=True) if not pd.isna(value)},
            sort_keys=True,
        )
        for row in identity.itertuples(index=False)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _as_it_lies(path: str) -> str:
    """The path as the file is called: manifests compose letters with their accents, a Mac decomposes them."""
    if path.isascii() or addresses.exists(path):
        return path
    forms = (unicodedata.normalize(form, path) for form in ("NFC", "NFD"))
    return next((form for form in forms if addresses.exists(form)), path)


def _digests(paths: Iterable[str], advance: Advance | None) -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    """Digest and size of each path that has them; and of the others, why not."""
    paths = list(paths)
    with ThreadPoolExecutor(_THREADS) as threads:
        outcomes: dict[str, tuple[str, int] | str] = {}
        for path, outcome in zip(paths, threads.map(_digest, paths), strict=True):
            outcomes[path] = outcome
            if advance is not None:
                advance(len(outcomes), len(paths), {})
    digests = {path: outcome for path, outcome in outcomes.items() if not isinstance(outcome, str)}
    return digests, {path: outcome for path, outcome in outcomes.items() if isinstance(outcome, str)}


def _digest(path: str) -> tuple[str, int] | str:
    """Digest and size, or why there is none."""
    try:
        digest, size = addresses.digest_and_size(path)
    except (FileNotFoundError, NotADirectoryError, KeyError):
        return "there is no such file; check the path in the manifest"
    except NotAFile as problem:
        return str(problem)
    except Exception as error:
        return f"cannot be opened ({type(error).__name__}); check its permissions"
    return (digest, size) if size else "is empty; copy it again"


def _unpacked(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Zips of several files replaced by a row for each file in them; and the zips that cannot be opened."""
    refused: list[dict[str, str]] = []
    is_zip = rows["path"].str.lower().str.endswith(".zip") & ~rows["path"].str.startswith("zip://")
    several: dict[str, list[str]] = {}
    for path in rows.loc[is_zip, "path"].unique():
        try:
            names = members(path)
        except UnreadableFile as error:
            refused.append({"path": path, "reason": f"{error.reason}; {error.remedy}"})
            rows = rows[rows["path"] != path]
            continue
        if len(names) != 1:
            several[path] = names
    if not several:
        return rows.copy(), refused
    parts = []
    for _, row in rows.iterrows():
        for name in several.get(row["path"], [""]):
            part = row.copy()
            if name:
                part["path"] = zips.address_of(row["path"], name)
                part["clip_id"] = f"{row['clip_id']}-{safe_id(name)}"
            parts.append(part)
    return pd.DataFrame(parts, columns=rows.columns).astype(rows.dtypes).reset_index(drop=True), refused
