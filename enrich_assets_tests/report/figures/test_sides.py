"""Who stands where, as the page shows it."""

from __future__ import annotations

import pandas as pd

from enrich_assets.report.figures.sides import side_grid, site_grid
from enrich_assets.report.names import FINDINGS
from enrich_assets.report.page import render


def cells(grid) -> list[list[str]]:  # type: ignore[no-untyped-def]
    return [[cell.text for cell in row] for row in grid.rows]


FRAMES = pd.DataFrame(
    {
        "frame_id": list("abcdef"),
        "clip_id": list("abcdef"),
        "study_id": list("ppqqrs"),
        "patient_id": list("ppqqrs"),
        "batch": "one",
        "split": ["train"] * 4 + ["test", "train"],
    }
)
LABELS = pd.DataFrame(
    {"frame_id": list("abcde"), "task": "view", "label": ["NT", "NT", "NT", "A4C", "A4C"], "current": True}
)
SITES = pd.DataFrame(
    [
        ("hospital", "A", "train", "", "", 2),
        ("hospital", "A", "train", "view", "NT", 1),
        ("hospital", "B", "test", "", "", 1),
    ],
    columns=["site_column", "site", "split", "task", "class", "patients"],
)


def test_patients_not_frames_are_counted_by_side_and_class() -> None:
    grid = side_grid({"frames": FRAMES, "labels": LABELS})
    assert grid.heads == ("split", "patients", "view: A4C", "view: NT")
    assert cells(grid) == [["train", "3", "1", "2"], ["test", "1", "1", "0"]]


def test_patients_by_site_with_a_note_where_class_and_site_go_together() -> None:
    found = pd.DataFrame(
        [
            {
                "site_column": "hospital",
                "task": "view",
                "cramers_v": 0.67,
                "by_chance": 0.52,
                "p": 0.047,
                "n": 34,
                "confounded": True,
            }
        ]
    )
    grid = site_grid({"sites": SITES, "site_association": found})
    assert cells(grid) == [["hospital", "A", "train", "2", "1"], ["hospital", "B", "test", "1", "0"]]
    (note,) = grid.notes
    assert "0.6700" in note
    assert "enrich leave-out hospital" in note
    assert site_grid({"sites": SITES, "site_association": found.assign(confounded=False)}).notes == ()


def test_they_stand_in_the_page() -> None:
    pages = render(
        {"frames": FRAMES, "labels": LABELS, "sites": SITES}, lambda frame: None, profile_name="x", generated_at="now"
    )
    assert "Patients by split and class" in pages[FINDINGS]
    assert "Patients by site" in pages[FINDINGS]
    without = render({"frames": FRAMES, "labels": LABELS}, lambda frame: None, profile_name="x", generated_at="now")
    assert "Patients by site" not in without[FINDINGS]
