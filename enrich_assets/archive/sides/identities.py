"""What looks like a mistake about who is who: one file under two patients, ids that differ in case alone, ids that stand for none."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pandas as pd

MOST_NAMED = 5  # cases named one by one
# Words that a person writes where the patient is not known. What programs write for an empty cell is refused (`studies.manifest`).
PLACEHOLDERS = frozenset(
    ("na", "n.a.", "unknown", "unk", "anonymous", "anon", "anonymized", "anonymised", "test", "-", "?", "x")
)


def odd_identities(rows: pd.DataFrame, earlier: pd.DataFrame, called: Callable[[str], str] = str) -> list[str]:
    """Warnings on the patients of a batch, each with what to do.

    Parameters
    ----------
    rows
        Of the batch's manifest: path, patient_id, sha256.
    earlier
        The same of the batches before it.
    called
        What a path is called in a message.

    Returns
    -------
    list of str
        Sentences; none where nothing is odd.
    """
    both = pd.concat([earlier[COLUMNS].assign(is_new=False), rows[COLUMNS].assign(is_new=True)], ignore_index=True)
    return [*_same_bytes(both, called), *_nearly_equal(both), *_placeholders(rows, called)]


COLUMNS = ["path", "patient_id", "sha256"]


def _same_bytes(both: pd.DataFrame, called: Callable[[str], str]) -> list[str]:
    files = both.drop_duplicates(["sha256", "patient_id"])
    shared = files[files.groupby("sha256")["patient_id"].transform("size") > 1]
    shared = shared[shared.groupby("sha256")["is_new"].transform("any")]
    if shared.empty:
        return []
    cases = [
        " and ".join(f"{called(path)} (patient {patient})" for path, patient in group.itertuples(index=False))
        for _, group in shared.groupby("sha256", sort=False)[["path", "patient_id"]]
    ]
    what = "1 file stands" if len(cases) == 1 else f"{len(cases)} files stand"
    return [
        f"{what} under two patients or more, byte for byte: {_some(cases)}. If it is one patient, give all rows one patient_id; "
        "if not, one of them is a wrong copy: remove its row. Otherwise one picture may be trained on and tested on"
    ]


def _nearly_equal(both: pd.DataFrame) -> list[str]:
    ids = both.groupby("patient_id", sort=False).agg(path=("path", "first"), is_new=("is_new", "max")).reset_index()
    ids["plain"] = [_plain(str(patient)) for patient in ids["patient_id"]]
    alike = ids[ids.groupby("plain")["patient_id"].transform("size") > 1]
    alike = alike[alike.groupby("plain")["is_new"].transform("any")]
    if alike.empty:
        return []
    cases = [" and ".join(map(repr, group)) for _, group in alike.groupby("plain", sort=False)["patient_id"]]
    return [
        f"patients whose ids differ only in case, blanks or hyphens are taken as different patients: {_some(cases)}. If they are "
        "one, write the id in one way in the manifest and ingest the batch again under its name (--batch)"
    ]


def _placeholders(rows: pd.DataFrame, called: Callable[[str], str]) -> list[str]:
    ids = rows["patient_id"].astype("string")
    odd = rows[ids.str.strip().str.lower().isin(PLACEHOLDERS)]
    if odd.empty:
        return []
    cases = [
        f"{patient!r} ({len(group)} rows, the first: {called(group['path'].iloc[0])})"
        for patient, group in odd.groupby("patient_id", sort=False)
    ]
    return [
        f"these patient ids read like placeholders, and all rows of one count as one patient: {_some(cases)}. If several patients "
        "hide behind one, give each an id of its own"
    ]


def _plain(patient: str) -> str:
    text = unicodedata.normalize("NFKC", patient).casefold()
    return "".join(character for character in text if not character.isspace() and character not in "-_")


def _some(cases: list[str]) -> str:
    more = f"; and {len(cases) - MOST_NAMED:,} more" if len(cases) > MOST_NAMED else ""
    return "; ".join(cases[:MOST_NAMED]) + more
