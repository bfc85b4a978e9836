"""Tables of the page on who stands where: patients by side and class, and whether class and site go together."""

from __future__ import annotations

import pandas as pd

from enrich_assets.report import numbers
from enrich_assets.report.figures.grids import Cell, Grid

MOST_SITES = 30


def side_grid(known: dict[str, pd.DataFrame]) -> Grid:
    """Patients by side and class: frames of one patient tell little that another of them does not."""
    frames, labels = known["frames"], numbers.current(known["labels"])
    labelled = frames.merge(labels[["frame_id", "task", "label"]], on="frame_id")
    labelled["class"] = labelled["label"].where(labelled["label"].notna(), "mask")
    classes = sorted(set(labelled[["task", "class"]].itertuples(index=False, name=None)))
    rows: list[list[Cell | list[Cell]]] = []
    for split in sorted(frames["split"].dropna().unique(), reverse=True):
        cells = [Cell(str(split)), Cell(numbers.count(frames.loc[frames["split"] == split, "patient_id"].nunique()))]
        for task, name in classes:
            here = (labelled["split"] == split) & (labelled["task"] == task) & (labelled["class"] == name)
            cells.append(Cell(numbers.count(labelled.loc[here, "patient_id"].nunique())))
        rows.append([*cells])
    sql = (
        "SELECT split, task, coalesce(label, 'mask') AS class, count(DISTINCT patient_id) AS patients "
        "FROM frames JOIN labels USING (frame_id) WHERE current GROUP BY ALL"
    )
    return Grid(("split", "patients", *(f"{task}: {name}" for task, name in classes)), rows if classes else [], sql)


def site_grid(known: dict[str, pd.DataFrame]) -> Grid:
    """Patients by site, side and class; a note where class and site go together."""
    sites, found = known["sites"], known["site_association"]
    labelled = sites[sites["task"] != ""]
    classes = sorted(set(labelled[["task", "class"]].itertuples(index=False, name=None)))
    rows: list[list[Cell | list[Cell]]] = []
    for (column, site, split), group in sites.groupby(["site_column", "site", "split"], sort=True):
        patients = group.set_index(["task", "class"])["patients"].to_dict()
        counts = [patients.get(("", ""), 0), *(patients.get(key, 0) for key in classes)]
        rows.append([Cell(str(column)), Cell(str(site)), Cell(str(split)), *(Cell(numbers.count(n)) for n in counts)])
    notes = [
        f"{row.task}: class and {row.site_column} go together (Cramer's V {numbers.score(row.cramers_v)}, by chance "
        f"{numbers.score(row.by_chance)}, p = {numbers.p_value(row.p)}, {numbers.count(row.n)} patients). A model may have learned the "
        f"{row.site_column}: view scores_by_site shows each, and `enrich leave-out {row.site_column}` tests without it."
        for row in found[found["confounded"].fillna(False).astype(bool)].itertuples()
    ]
    if len(rows) > MOST_SITES:
        notes.append(f"{len(rows) - MOST_SITES:,} rows more in table sites.")
    heads = ("column", "site", "split", "patients", *(f"{task}: {name}" for task, name in classes))
    return Grid(heads, rows[:MOST_SITES], "SELECT * FROM sites ORDER BY site_column, site, split", 3, tuple(notes))
