"""Where studies come from: the manifest columns that the profile names as `sites`, and whether classes go together with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from enrich_assets.archive.sides.drawing import sites_of_patients
from enrich_assets.method.statistics.association import Association, class_by_site
from enrich_assets.profiles import BUILT_IN, profile_source
from enrich_assets.settings import Profile

SITE = "site"  # the column that `with_site` adds
BETWEEN = " + "  # between the names of a study whose files name several sites


def study_sites(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The site of each study.

    Parameters
    ----------
    rows
        Of manifests, or of the tables `rows` of `studies`: study_id and the columns.
    columns
        Those that name sites; one that is not there names none.

    Returns
    -------
    pandas.DataFrame
        study_id, site_column, site; no row where none is named. A study whose files name several sites is of `A + B`.
    """
    parts = []
    for column in columns:
        if column not in rows:
            continue
        given = rows[["study_id", column]].dropna().astype("string")
        given[column] = given[column].str.strip()
        given = given[given[column] != ""].drop_duplicates().sort_values(["study_id", column])
        sites = given.groupby("study_id")[column].agg(BETWEEN.join).rename("site").reset_index()
        parts.append(sites.assign(site_column=column))
    names = ["study_id", "site_column", "site"]
    return pd.concat(parts, ignore_index=True)[names].astype("string") if parts else pd.DataFrame(columns=names)


def named_sites(rows: pd.DataFrame, column: str) -> list[str]:
    """The sites that a manifest's column names, each once, in order of name."""
    return sorted({site for sites in sites_of_patients(rows, column).values() for site in sites})


def profile_leaving_out(home: Path, column: str, site: str) -> dict[str, Any]:
    """The profile, as YAML would say it, of a home that extends this one and leaves a site out."""
    source = profile_source(home)
    extends = source if source in BUILT_IN else str(Path(source).resolve())
    return {"extends": extends, "split": {"by": "site", "column": column, "leave_out": site}}


def with_site(frames: pd.DataFrame, rows: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """A frame table with the column `SITE`, by the first of the profile's `sites`; a study of none is a site of its own.

    Parameters
    ----------
    frames
        A row per frame; column study_id.
    rows
        As of `study_sites`.
    profile
        Without `sites`, the frames come back as they are.
    """
    if not profile.sites:
        return frames
    site = study_sites(rows, profile.sites[:1]).set_index("study_id")["site"]
    return frames.assign(**{SITE: frames["study_id"].map(site).fillna("\n" + frames["study_id"])})


def site_counts(frames: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    """Patients and frames by site, side, task and class.

    Parameters
    ----------
    frames
        A row per frame (or group of frames) and class: study_id, patient_id, split, task, class, frames.
    sites
        As of `study_sites`.

    Returns
    -------
    pandas.DataFrame
        site_column, site, split, task, class, patients, frames.
    """
    keys = ["site_column", "site", "split", "task", "class"]
    merged = sites.merge(frames, on="study_id")
    counted = merged.groupby(keys).agg(patients=("patient_id", "nunique"), frames=("frames", "sum"))
    return counted.reset_index()


def associations(frames: pd.DataFrame, sites: pd.DataFrame) -> dict[tuple[str, str], Association]:
    """For each site column and task: whether class and site go together, over patients.

    Parameters
    ----------
    frames, sites
        As of `site_counts`; rows without a class (task "") are passed over.

    Returns
    -------
    dict
        (site_column, task) -> association.
    """
    pairs = sites.merge(frames[frames["task"] != ""], on="study_id")
    pairs = pairs[["site_column", "task", "patient_id", "site", "class"]].drop_duplicates()
    return {
        (str(column), str(task)): class_by_site(list(group["site"]), list(group["class"]))
        for (column, task), group in pairs.groupby(["site_column", "task"])
    }


def site_warnings(found: dict[tuple[str, str], Association], profile: Profile, named: set[str]) -> list[str]:
    """What is to be said of the sites: a column that names none, and classes that go together with sites.

    Parameters
    ----------
    found
        As of `associations`.
    profile
        Names the columns.
    named
        Those of them that a manifest has.
    """
    warnings = [
        f"no manifest has the column {column!r} that the profile names among `sites`; correct the name, or add the column"
        for column in profile.sites
        if column not in named
    ]
    for (column, task), one in found.items():
        if one.is_confounded():
            warnings.append(
                f"{task}: class and {column} go together (Cramer's V {one.cramers_v:.2f} over patients, {one.by_chance:.2f} by chance, "
                f"p = {one.p:.2g}): {_crossed(one)}. A model may learn the {column} instead of the class, and held-out patients of the "
                f"same {column} would not show it. What helps: `split: {{by: site}}`, or `enrich leave-out {column}`, and studies "
                f"of each class from each {column}"
            )
    return warnings


def _crossed(one: Association) -> str:
    """The table of counts in words: `14: healthy 5; 16: diseased 5, healthy 1`; at most eight sites."""
    rows = [
        f"{site}: " + ", ".join(f"{name} {n}" for name, n in zip(one.classes, counts, strict=True) if n)
        for site, counts in zip(one.sites, one.counts.tolist(), strict=True)
    ]
    return "; ".join(rows[:8]) + (f"; and {len(rows) - 8} more" if len(rows) > 8 else "")
