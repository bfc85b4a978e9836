"""What `enrich ingest`, `plan` and `worklist` say of the sides at their end: the counts, then what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from enrich_assets.archive.sides.counts import SideCounts, count_sides, side_lines, too_few, what_helps
from enrich_assets.archive.sides.sites import associations, named_sites, site_warnings, study_sites

if TYPE_CHECKING:
    from enrich_assets.archive.home import Archive


def side_report(archive: Archive, warnings: Sequence[str] = ()) -> list[str]:
    """Patients and frames by side and class, and warnings, as lines for a terminal.

    Parameters
    ----------
    archive
        Whose batches.
    warnings
        More sentences, which stand first.
    """
    counts = count_sides(archive)
    short = too_few(counts)
    lines = [*side_lines(counts), *(f"warning: {text}" for text in (*warnings, *_of_sites(archive, counts), *short))]
    return [*lines, f"what helps: {what_helps(archive.profile)}"] if short else lines


def _of_sites(archive: Archive, counts: SideCounts) -> list[str]:
    profile = archive.profile
    if not profile.sites:
        return []
    manifests = pd.concat([archive.register.rows(batch) for batch in archive.pinned], ignore_index=True)
    sites = study_sites(manifests, profile.sites)
    warnings = site_warnings(associations(counts.rows, sites), profile, set(manifests.columns))
    left_out = profile.split.leave_out
    if left_out is not None and left_out not in (known := named_sites(manifests, profile.split_column)):
        warnings.append(
            f"split.leave_out: no study is of {profile.split_column} {left_out!r}; there are: {', '.join(known)}"
        )
    return warnings
