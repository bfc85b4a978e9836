"""A folder of pictures, clips and DICOM files ingested without a manifest, by the patients of its paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.cli import main
from enrich_assets.studies.media_folder import PatientRule
from enrich_assets_tests.defs.made_archive import make_cells, opened
from enrich_assets_tests.studies.made_dicom import dataset, save, sector


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(str(path).encode()))
    Image.fromarray(rng.integers(0, 255, (60, 60), dtype=np.uint8)).save(path)


def enrich(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_pictures_and_an_animation_are_decoded_under_the_patients_of_their_folders(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("ann/1.png", "bob/1.png", "bob/2.png"):
        picture(folder / name)
    rng = np.random.default_rng(0)
    pages = [Image.fromarray(rng.integers(0, 255, (60, 60), dtype=np.uint8)) for _ in range(3)]
    pages[0].save(folder / "ann" / "clip.gif", save_all=True, append_images=pages[1:])
    archive = opened(tmp_path / "home")
    found = ingest(archive, str(folder), "one", PatientRule("folder"))
    assert (found.n_files, found.n_refused) == (4, 0)
    assert "1 clip, 3 pictures of 2 patients" in found.guesses[0]
    make_cells(archive, "one", "studies", "frames")
    frames = Catalogue(archive).frames(["one"]).frame_table
    assert frames.groupby("patient_id").size().to_dict() == {"ann": 4, "bob": 2}


def test_the_written_manifest_is_the_same_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that who corrects nothing gets nothing new, and who corrects a patient gets a contradiction said."""
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path / "home"))
    for name in ("in/ann/1.png", "in/bob/1.png"):
        picture(tmp_path / name)
    written = tmp_path / "manifest.csv"
    template = enrich("ingest", str(tmp_path / "in"), "--patient-from", "folder", "--write-manifest", str(written))
    assert template.exit_code == 0, template.output
    assert written.read_text().splitlines()[0] == "path,patient_id,study_id,clip_id,frame_index,split,label"
    assert not Archive.open().batches, "nothing was ingested"
    first = enrich("ingest", str(tmp_path / "in"), "--patient-from", "folder")
    assert "of 2 patients: ann (1), bob (1)" in first.output
    again = enrich("ingest", str(written))
    assert again.exit_code == 0, again.output
    assert "nothing new" in again.output
    kept = enrich("ingest", str(tmp_path / "in"), "--patient-from", "folder", "--write-manifest", str(written))
    assert kept.exit_code == 1
    assert "is there already" in kept.output


def test_dicom_goes_by_its_folder_where_that_is_asked_and_its_names_stay_sealed(tmp_path: Path) -> None:
    """Headers that were anonymised name every patient alike."""
    folder = tmp_path / "in"
    for name in ("VANMALIUS", "OTHER"):
        save(dataset(sector(2), modality="US", PatientID="ANON", PatientName="ANON"), folder / name / "IM0001")
    picture(folder / "VANMALIUS" / "still.png")
    archive = opened(tmp_path / "home")
    by_header = archive.pseudonyms.patient("ANON")
    found = ingest(archive, str(folder), "one", PatientRule("folder"))
    rows = archive.register.rows(archive.batch("one"))
    assert set(rows["patient_id"]) == {archive.pseudonyms.patient("VANMALIUS"), archive.pseudonyms.patient("OTHER")}
    assert by_header not in set(rows["patient_id"])
    assert rows.groupby("patient_id").size().to_dict()[archive.pseudonyms.patient("VANMALIUS")] == 2
    assert "VANMALIUS" not in rows.to_csv() + found.batch.source + "".join(found.guesses)
    make_cells(archive, "one", "studies", "frames")
    assert len(Catalogue(archive).frames(["one"]).frame_table) == 5


@pytest.mark.parametrize(
    ("names", "rule", "said"),
    [
        (["manifest.csv", "ann/1.png"], "folder", "leave --patient-from out"),
        (["notes.txt"], "folder", "holds no manifest and no DICOM file"),
        (["1.png"], "folder", "of none of its 1 files the patient is known"),
        (["ann/1.png"], r"x\d", "does not match"),
        (["ann/1.png"], "(", "nor a regular expression"),
    ],
)
def test_a_folder_that_cannot_be_ingested_so_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], rule: str, said: str
) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path / "home"))
    for name in names:
        if name.endswith(".png"):
            picture(tmp_path / "in" / name)
        else:
            (tmp_path / "in").mkdir(exist_ok=True)
            (tmp_path / "in" / name).write_text("path,patient_id\nann/1.png,ann\n")
    refused = enrich("ingest", str(tmp_path / "in"), "--patient-from", rule)
    assert refused.exit_code == 1
    assert said in refused.output


def test_a_folder_of_media_without_a_rule_is_refused_with_what_each_would_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path / "home"))
    picture(tmp_path / "in" / "ann" / "1.png")
    refused = enrich("ingest", str(tmp_path / "in"))
    assert refused.exit_code == 1
    assert "`--patient-from folder` would make 1 patients" in refused.output
