"""What a table, a profile and a name may grow to; and a worklist that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_assets.archive.drops import move_to_quarantine
from enrich_assets.profiles import ProfileError, load_profile
from enrich_assets.studies.drops import Drop
from enrich_assets.studies.errors import ManifestError, listed
from enrich_assets.studies.labels import export_worklist, read_labels
from enrich_assets.studies.labels.formats.csv_table import as_cell, of_cell
from enrich_assets.studies.manifest import read_manifest, safe_id
from enrich_assets_tests.defs.made_archive import opened

FORMULAS = ["=cmd|'/C calc'!A0/c/0", "@SUM(A1)/c/0", "+1+1/c/0", "-2+3/c/0", "'=1/c/0", "''x/c/0", "plain/c/0"]


def test_a_worklist_holds_no_formula_and_comes_back_unchanged(tmp_path: Path) -> None:
    rows = pd.DataFrame({"position": range(len(FORMULAS)), "frame_id": FORMULAS})
    rows["patient_id"] = [name.partition("/")[0] for name in FORMULAS]
    rows["similarity_to_labelled"] = -0.25  # a number is no formula
    out = tmp_path / "list.csv"
    export_worklist(rows, lambda _: np.zeros((4, 4), np.uint8), "csv", str(out), ["A"])
    cells = list(csv.DictReader(io.StringIO(out.read_text())))
    assert not [cell for row in cells for name, cell in row.items() if cell[:1] in ("=", "+", "@")]
    assert not [row for row in cells if row["frame_id"].startswith("-") or row["patient_id"].startswith("-")]
    assert {row["similarity_to_labelled"] for row in cells} == {"-0.25"}
    pd.DataFrame(cells).assign(label="A").to_csv(tmp_path / "labelled.csv", index=False)
    read = read_labels(str(tmp_path / "labelled.csv"), "class", ["A"], FORMULAS)
    assert sorted(read.labels["frame_id"]) == sorted(FORMULAS)
    assert read.problems.empty


@given(st.text())
def test_a_cell_is_read_back_as_it_was(text: str) -> None:
    assert of_cell(as_cell(text)) == text
    assert as_cell(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")


def test_a_table_of_twenty_thousand_columns_is_refused(tmp_path: Path) -> None:
    header = ",".join(["path", "patient_id", *(f"c{i}" for i in range(20_000))])
    (tmp_path / "manifest.csv").write_text(f"{header}\n" + "a.png,p\n" * 3)
    with pytest.raises(ManifestError, match="has 20,002 columns; a manifest has at most 1,000"):
        read_manifest(str(tmp_path))


def test_a_refusal_names_a_few_columns_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(",".join(f"c{i}" for i in range(900)) + "\nx\n")
    with pytest.raises(ManifestError, match="c9 and 890 more") as refusal:
        read_manifest(str(tmp_path))
    assert len(str(refusal.value)) < 400
    assert listed([1, 2]) == "1, 2"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "line 5: its aliases make more than 20,000 settings"),
        ("a: &a {b: *a}\n", "line 1: a mapping that holds itself"),
        ("[" * 3000, "nested too deeply"),
        ("a: 1\n" + "#" * (1 << 20), "a profile has at most"),
    ],
)
def test_a_profile_that_grows_without_end_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "enrich.yaml").write_text(text)
    with pytest.raises(ProfileError, match=why):
        load_profile(str(tmp_path / "enrich.yaml"))


def test_anchors_of_an_ordinary_profile_are_read(tmp_path: Path) -> None:
    (tmp_path / "enrich.yaml").write_text("extends: demo\ntasks:\n  view: {seeds: &n 3, initial_frames: *n}\n")
    view = load_profile(str(tmp_path / "enrich.yaml")).tasks["view"]
    assert (view.seeds, view.initial_frames) == (3, "3")


def test_an_id_of_control_characters_is_spelt_out_and_stays_another(tmp_path: Path) -> None:
    assert safe_id("\x07\x1b[31m") == "%07%1B[31m"
    assert safe_id("a\u202eb") == "a%202Eb"
    assert safe_id("\x85x\x9b") == "x%9B"
    assert safe_id("Jürgen 心") == "Jürgen 心"
    (tmp_path / "manifest.csv").write_text("path,patient_id\na.png,\x01\nb.png,\x02\n")
    assert read_manifest(str(tmp_path))["patient_id"].tolist() == ["%01", "%02"]


@pytest.mark.parametrize("name", ["d" * 255, "ä" * 127, os.fsdecode(b"J\xfcrgen")])
def test_a_drop_of_any_name_goes_to_quarantine(tmp_path: Path, name: str) -> None:
    archive = opened(tmp_path / "home")
    places = []
    for _ in range(2):
        (tmp_path / "incoming" / name).mkdir(parents=True)
        (tmp_path / "incoming" / name / "x").write_bytes(b"x")
        drop = Drop(name, str(tmp_path / "incoming" / name), "key", "print", "new")
        places.append(move_to_quarantine(archive, drop, "why"))
        places[-1].encode()  # it can be written down
    assert len(set(places)) == 2
    assert len(list((archive.home / "quarantine").glob("*/REASON.txt"))) == 2
