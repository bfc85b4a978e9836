"""What leaks, to look at: pairs of frames side by side, worst first, and the patients they belong to.

Here: which pairs of the table `leaks` are shown and what stands under them. Finding them: `method/pairs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from enrich_assets.report import numbers
from enrich_assets.report.figures.grids import Cell, Grid
from enrich_assets.report.gallery import FramePicture, Pair, Pictures

MOST_PAIRS, MOST_PATIENTS = 12, 15


@dataclass(frozen=True)
class LeakGroup:
    """Pairs that are wrong in one way; `n` says how many there are, `sql` lists them all."""

    title: str
    sentence: str
    pairs: list[Pair]
    n: int
    sql: str


@dataclass(frozen=True)
class LeakPart:
    """All that the page shows of leaks; `was_looked` is False where nothing was compared yet."""

    was_looked: bool
    large: list[tuple[str, str]]
    warning: str  # for the findings, which rest on a split without leaks
    reservation: str
    groups: list[LeakGroup]
    patients: Grid
    n_patients: int


def leak_part(leaks: pd.DataFrame, metrics: Mapping[str, Any] | None, pictures: Pictures) -> LeakPart:
    """What leaks, as the page shows it.

    Parameters
    ----------
    leaks : pandas.DataFrame
        The published table, worst first.
    metrics : mapping or None
        Of the asset `leaks`: counts of all pairs, listed or not. None where it was not made.
    pictures : Pictures
        Where the frames' pictures come from.
    """
    across, contradicts = (leaks[name].fillna(False).astype(bool) for name in ("across_split", "labels_conflict"))
    between = leaks["relation"] == "between patients"
    kinds = [
        (
            "A train frame and a test frame",
            "A model is scored on what it was trained on: scores on these test frames flatter it.",
            across,
            "across_split",
        ),
        (
            "Contradicting labels on one side",
            "One of the two labels is likely wrong.",
            contradicts & ~across,
            "labels_conflict AND NOT across_split",
        ),
        (
            "Two patients on one side",
            "They may be one patient under two ids; intervals over patients take them for two.",
            between & ~across & ~contradicts,
            "patient_id <> other_patient_id AND NOT across_split AND labels_conflict IS NOT TRUE",
        ),
    ]
    groups = [
        LeakGroup(title, sentence, [_pair(r, pictures) for r in leaks[chosen].head(MOST_PAIRS).to_dict("records")],
                  int(chosen.sum()), f"SELECT * FROM leaks WHERE {condition}")  # nosec B608: shown on the page, never run
        for title, sentence, chosen, condition in kinds
    ]  # fmt: skip
    counts = dict(metrics or {})
    patients, n_patients = _patients(leaks[between])
    return LeakPart(
        metrics is not None or len(leaks) > 0,
        _large(leaks, counts),
        _warning(leaks, counts),
        _reservation(counts),
        [group for group in groups if group.n],
        patients,
        n_patients,
    )


def _n_across(leaks: pd.DataFrame, counts: dict[str, Any]) -> int:
    return int(counts.get("across_split", leaks["across_split"].fillna(False).astype(bool).sum()))


def _warning(leaks: pd.DataFrame, counts: dict[str, Any]) -> str:
    n = _n_across(leaks, counts)
    if not n:
        return ""
    pairs = (
        f"{numbers.count(n)} pairs of a train and a test frame are"
        if n != 1
        else "1 pair of a train and a test frame is"
    )
    return f"{pairs} nearly the same picture, so scores here may be too good."


def _large(leaks: pd.DataFrame, counts: dict[str, Any]) -> list[tuple[str, str]]:
    flags = {
        name: leaks[name].fillna(False).astype(bool) for name in ("across_split", "labels_conflict", "identical_pixels")
    }
    return [
        (numbers.count(_n_across(leaks, counts)), "near-duplicates across the split"),
        (numbers.count(leaks.loc[flags["across_split"], "other_id"].nunique()), "test frames among them"),
        (numbers.count(int(flags["labels_conflict"].sum())), "with contradicting labels"),
        (numbers.count(int(flags["identical_pixels"].sum())), "of identical pixels"),
    ]


def _reservation(counts: dict[str, Any]) -> str:
    if not counts.get("all_pairs_known", True):
        return "Not all pairs were looked at, because there are more than similarity.max_pairs: only identical pictures are shown."
    if counts.get("left_out"):
        return f"{numbers.count(counts['left_out'])} more pairs are as near and not listed (similarity.max_near_duplicates)."
    return ""


def _pair(row: Mapping[Any, Any], pictures: Pictures) -> Pair:
    def picture(prefix: str, frame_id: str) -> FramePicture:
        label = row[f"{prefix}label"]
        return FramePicture(
            frame_id,
            pictures.uri(frame_id),
            f"{row[f'{prefix}split']}, {'no label' if numbers.is_missing(label) else label}",
        )

    alike = "identical pixels" if row["identical_pixels"] else f"similarity {numbers.similarity(row['similarity'])}"
    return Pair(
        picture("", row["frame_id"]),
        picture("other_", row["other_id"]),
        f"{row['frame_id']} and {row['other_id']}: {alike}",
    )


def _patients(leaks: pd.DataFrame) -> tuple[Grid, int]:
    """Pairs of patients, those with the most pairs of frames first."""
    heads = ("patient", "and patient", "sides", "pairs of frames", "identical", "greatest similarity")
    sql = (
        "SELECT least(patient_id, other_patient_id) AS patient, greatest(patient_id, other_patient_id) AS other, "
        "count(*) AS pairs FROM leaks WHERE patient_id <> other_patient_id GROUP BY ALL ORDER BY pairs DESC, 1, 2"
    )
    if leaks.empty:
        return Grid(heads, [], sql), 0
    ends = leaks[["patient_id", "other_patient_id"]].astype(str)
    summed = (
        leaks.assign(one=ends.min(axis=1), other=ends.max(axis=1))
        .groupby(["one", "other"], as_index=False)
        .agg(
            pairs=("frame_id", "size"),
            identical=("identical_pixels", "sum"),
            across=("across_split", "any"),
            side=("split", "first"),
            greatest=("similarity", "max"),
        )
        .sort_values(["pairs", "greatest", "one", "other"], ascending=[False, False, True, True])
    )
    rows: list[list[Cell | list[Cell]]] = [
        [
            Cell(r.one),
            Cell(r.other),
            Cell("train and test" if r.across else f"both {r.side}", strong=bool(r.across)),
            Cell(numbers.count(r.pairs)),
            Cell(numbers.count(int(r.identical))),
            Cell(numbers.similarity(r.greatest)),
        ]
        for r in summed.head(MOST_PATIENTS).itertuples()
    ]
    return Grid(heads, rows, sql, text=3), len(summed)
