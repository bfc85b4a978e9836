"""A folder of DICOM files alone says who, which study, which clip and in which order; keyed hashes say it for
it."""

from __future__ import annotations

import re
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from enrich_assets.studies.dicom import scan_dicom
from enrich_assets.studies.examine import examine, manifest_digest
from enrich_assets.studies.manifest import IDENTITY, label_columns
from enrich_assets.studies.pseudonyms import Pseudonyms
from enrich_assets.studies.readers import read_clip
from enrich_assets_tests.studies.made_dicom import as_bytes, dataset, save, sector

KEY = Pseudonyms(bytes(range(32)))
SLICE = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)


def test_a_folder_of_exams_becomes_rows_like_a_manifests(tmp_path: Path) -> None:
    morning = {"PatientID": "A", "StudyInstanceUID": "1.1", "SeriesDate": "20240101"}
    evening = {**morning, "SeriesTime": "200000.5"}
    morning = {**morning, "SeriesTime": "080000", "SeriesInstanceUID": "1.1.1"}
    save(dataset(sector(4), modality="US", **evening), tmp_path / "z/IM0001")  # no suffix, deep down
    save(dataset(sector(2), modality="US", **morning, InstanceNumber=2), tmp_path / "a.dcm")
    save(dataset(sector(2), modality="US", **morning), tmp_path / "b.DCM")
    save(dataset(sector(1), modality="US", PatientID="B"), tmp_path / "c.dcm")
    rows, refused = scan_dicom(str(tmp_path), KEY)
    assert refused.empty
    assert rows.columns.tolist() == [*IDENTITY, "series_time"]
    assert label_columns(rows) == []
    of_a = rows[rows["patient_id"] == KEY.patient("A")]
    assert [Path(path).name for path in of_a["path"]] == ["b.DCM", "a.dcm", "IM0001"]
    assert of_a["study_id"].nunique() == 1
    assert rows["clip_id"].is_unique
    assert rows["frame_index"].isna().all()
    first, last = of_a["series_time"].iloc[0], of_a["series_time"].iloc[-1]
    moments = [datetime.fromisoformat(moment) for moment in (first, last)]
    assert moments[1] - moments[0] == timedelta(hours=12)  # times of day are moved, distances stay
    true = datetime(2024, 1, 1, 8)
    assert true - moments[0] == timedelta(days=-KEY.day_shift("A"), seconds=KEY.second_shift("A"))
    rows, refused = examine(rows)
    assert (len(rows), len(refused)) == (4, 0)


def test_what_is_no_dicom_is_refused_with_what_to_do(tmp_path: Path) -> None:
    save(dataset(sector(1), modality="US"), tmp_path / "a.dcm")
    (tmp_path / "exams.tar").write_bytes(b"of another kind")
    (tmp_path / "LICENSE").write_text("of no use here")
    _, refused = scan_dicom(str(tmp_path), KEY)
    said = {Path(path).name: reason for path, reason in zip(refused["path"], refused["reason"], strict=True)}
    assert said["exams.tar"].endswith("unpack it")
    assert said["LICENSE"].endswith("give the folder a manifest.csv to use other images")


def test_identifiers_are_keyed_hashes_and_the_clip_read_says_the_same(tmp_path: Path) -> None:
    path = save(dataset(sector(2), modality="US", PatientID="ABC-123"), tmp_path / "a.dcm")
    rows, _ = scan_dicom(str(tmp_path), KEY)
    assert re.fullmatch(
        r"P[0-9a-f]{16} S[0-9a-f]{16} C[0-9a-f]{16}",
        " ".join(rows.loc[0, ["patient_id", "study_id", "clip_id"]]),
    )
    kept = read_clip(path, pseudonyms=KEY).kept
    assert (kept["patient_id"], kept["study_id"]) == tuple(rows.loc[0, ["patient_id", "study_id"]])
    other, _ = scan_dicom(str(tmp_path), Pseudonyms(bytes(32)))
    assert other.loc[0, "patient_id"] != rows.loc[0, "patient_id"]


def test_the_slices_of_a_stack_are_one_clip_in_their_order(tmp_path: Path) -> None:
    for number, name in ((10, "a"), (2, "b"), (1, "c")):
        save(
            dataset(SLICE, SeriesInstanceUID="9.9", StudyInstanceUID="9", InstanceNumber=number),
            tmp_path / name,
        )
    save(dataset(SLICE, SeriesInstanceUID="9.8", StudyInstanceUID="9"), tmp_path / "d")
    rows, _ = scan_dicom(str(tmp_path), KEY)
    stack = rows[rows["frame_index"].notna()]
    assert [(Path(path).name, index) for path, index in zip(stack["path"], stack["frame_index"], strict=True)] == [
        ("c", 0),
        ("b", 1),
        ("a", 2),
    ]
    assert stack["clip_id"].nunique() == 1
    assert rows["clip_id"].nunique() == 2


def test_what_is_not_an_image_is_passed_over_or_refused_by_name(tmp_path: Path) -> None:
    save(dataset(sector(1), modality="US"), tmp_path / "good.dcm")
    (tmp_path / "DICOMDIR").write_bytes(b"x")
    (tmp_path / "_READY").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 broken")
    report = dataset(SLICE)
    del report.Rows
    save(report, tmp_path / "report.dcm")
    nobody = dataset(SLICE)
    del nobody.PatientID, nobody.PatientName, nobody.StudyInstanceUID
    save(nobody, tmp_path / "nobody.dcm")
    rows, refused = scan_dicom(str(tmp_path), KEY)
    assert [Path(path).name for path in rows["path"]] == ["good.dcm"]
    reasons = {Path(path).name: reason for path, reason in refused.itertuples(index=False)}
    assert set(reasons) == {"notes.txt", "broken.zip", "report.dcm", "nobody.dcm"}
    assert "not DICOM" in reasons["notes.txt"]
    assert "without an image" in reasons["report.dcm"]


def test_a_patient_without_an_id_is_told_by_name_and_birth_date(tmp_path: Path) -> None:
    same = {"PatientID": "", "PatientName": "Doe^Jane", "PatientBirthDate": "19700101"}
    save(dataset(SLICE, **same), tmp_path / "a")
    save(dataset(SLICE, **same), tmp_path / "b")
    save(dataset(SLICE, **{**same, "PatientBirthDate": "19710101"}), tmp_path / "c")
    rows, _ = scan_dicom(str(tmp_path), KEY)
    assert sorted(rows.groupby("patient_id").size()) == [1, 2]


def test_each_file_in_a_zip_is_a_file_and_a_copy_counts_once(tmp_path: Path) -> None:
    one, two = as_bytes(dataset(sector(2), modality="US")), as_bytes(dataset(sector(3), modality="US"))
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as archive:
        archive.writestr("x/1", one)
        archive.writestr("x/2", two)
    (tmp_path / "again.dcm").write_bytes(one)
    rows, refused = scan_dicom(str(tmp_path), KEY)
    assert len(rows) == 2
    assert len(refused) == 1
    assert "copy" in refused.loc[0, "reason"]
    assert sorted(len(read_clip(path)) for path in rows["path"]) == [2, 3]


def test_one_instance_in_two_forms_is_two_clips(tmp_path: Path) -> None:
    made = dataset(sector(2), modality="US")
    save(made, tmp_path / "a.dcm")
    made.PixelData = bytes(len(made.PixelData))
    save(made, tmp_path / "b.dcm")
    rows, refused = scan_dicom(str(tmp_path), KEY)
    assert rows["clip_id"].nunique() == 2
    assert refused.empty


def test_an_empty_or_missing_folder(tmp_path: Path) -> None:
    rows, refused = scan_dicom(str(tmp_path), KEY)
    assert (len(rows), len(refused)) == (0, 0)
    assert rows.columns.tolist() == [*IDENTITY, "series_time"]
    with pytest.raises(FileNotFoundError):
        scan_dicom(str(tmp_path / "none"), KEY)


@pytest.mark.realdata
def test_every_good_file_is_found_in_the_real_folder_wherever_it_stands(realdata: Path) -> None:
    rows, refused = scan_dicom(str(realdata / "dicom_ultrasound/good"), KEY)
    assert (len(rows), len(refused)) == (16, 0)
    assert rows["patient_id"].nunique() == 8
    assert not rows.duplicated(["study_id", "clip_id", "frame_index"]).any()
    rows, refused = examine(rows)
    assert refused.empty
    assert re.fullmatch(r"[0-9a-f]{64}", manifest_digest(rows))
