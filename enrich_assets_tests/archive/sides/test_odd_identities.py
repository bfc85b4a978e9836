"""Mistakes about who is who are named at ingest, with the files and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from enrich_assets.archive.drops import DropRegister, find_drops, ingest_drops
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.sides.identities import odd_identities
from enrich_assets.studies.errors import ManifestError
from enrich_assets_tests.defs.made_archive import opened, write_stills


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["path", "patient_id", "sha256"])


NOBODY = table()


def test_one_file_under_two_patients_is_named_with_both(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    folder = write_stills(tmp_path / "one", [{"patient_id": p, "clip_id": p} for p in "abc"])
    shutil.copy(folder / "i0.png", folder / "i2.png")
    (warning,) = ingest(archive, str(folder), "one").warnings
    assert f"{folder}/i0.png (patient a) and {folder}/i2.png (patient c)" in warning
    assert "give all rows one patient_id" in warning


def test_a_file_that_an_earlier_batch_has_under_another_patient_is_named(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    one = write_stills(tmp_path / "one", [{"patient_id": p, "clip_id": p} for p in "ab"])
    assert ingest(archive, str(one), "one").warnings == ()
    two = write_stills(tmp_path / "two", [{"patient_id": p, "clip_id": p} for p in "cd"])
    shutil.copy(one / "i1.png", two / "i0.png")
    (warning,) = ingest(archive, str(two), "two").warnings
    assert f"{one}/i1.png (patient b) and {two}/i0.png (patient c)" in warning


def test_a_file_twice_under_one_patient_is_no_mistake_about_who_is_who() -> None:
    assert odd_identities(table(("x", "a", "1"), ("y", "a", "1")), NOBODY) == []


@pytest.mark.parametrize(("one", "other"), [("PAT01", "pat01"), ("P 1", "P1"), ("P-1", "p_1"), ("\uff30\uff11", "P1")])
def test_ids_that_differ_in_how_they_are_written_are_named(one: str, other: str) -> None:
    (warning,) = odd_identities(table(("x", one, "1"), ("y", other, "2")), NOBODY)
    assert repr(one) in warning
    assert repr(other) in warning
    (across,) = odd_identities(table(("x", one, "1")), table(("y", other, "2")))
    assert "ingest the batch again" in across


def test_an_earlier_mistake_is_not_repeated_with_each_batch() -> None:
    earlier = table(("x", "PAT01", "1"), ("y", "pat01", "1"))
    assert odd_identities(table(("z", "Q", "3")), earlier) == []


@pytest.mark.parametrize("patient", ["P1", "P11", "1", "01", "P1a"])
def test_different_ids_pass(patient: str) -> None:
    assert odd_identities(table(("x", patient, "1"), ("y", "P2", "2")), NOBODY) == []


@pytest.mark.parametrize("patient", ["unknown", "Anonymous", "NA", "-", "test"])
def test_what_reads_like_a_placeholder_is_named(patient: str) -> None:
    (warning,) = odd_identities(table(("/data/x.png", patient, "1"), ("y", "P2", "2")), NOBODY)
    assert repr(patient) in warning
    assert "/data/x.png" in warning


@pytest.mark.parametrize("patient", ["None", "NONE", "N/A", "nan", "<NA>", "null", "NaT"])
def test_what_a_program_writes_for_no_patient_is_refused(tmp_path: Path, patient: str) -> None:
    folder = write_stills(
        tmp_path / "one", [{"patient_id": p, "clip_id": f"c{i}"} for i, p in enumerate(["a", patient])]
    )
    with pytest.raises(ManifestError, match="line 3, column") as refusal:
        ingest(opened(tmp_path / "home"), str(folder), "one")
    assert "manifest.csv" in str(refusal.value)


def test_a_drop_says_what_is_odd_in_its_outcome(tmp_path: Path) -> None:
    """Nobody watches a terminal there: it stands in the log of the run."""
    archive = opened(tmp_path / "home")
    folder = write_stills(
        tmp_path / "home" / "incoming" / "monday", [{"patient_id": p, "clip_id": p} for p in ("P1", "p1")]
    )
    drops = find_drops(archive, [DropRegister(archive).key_of(folder.name)])
    (outcome,) = ingest_drops(archive, drops)
    assert "drop monday: batch monday, 2 files, 0 refused; warning: patients whose ids differ" in outcome.message
