"""What is to be ingested is known by its bytes and by what its manifest says, not by where it lies or in which order."""

from __future__ import annotations

import hashlib
import shutil
import unicodedata
import zipfile
from pathlib import Path
from typing import Literal

import fsspec
import pandas as pd
import pytest

from enrich_assets.studies.examine import examine, manifest_digest
from enrich_assets.studies.manifest import read_manifest

MANIFEST = """path,patient_id,frame_index,mask_path,label
c/a.png,P1,,m/a.png,x
c/b.png,P1,,,y
d/v.avi,P2,,,
d/v.avi,P2,3,m/v,
"""


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    for name in ("c/a.png", "c/b.png", "d/v.avi", "m/a.png", "m/v/LV.png", "m/v/RV.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "manifest.csv").write_text(MANIFEST)
    return folder


def digest(folder: Path | str) -> str:
    rows, refused = examine(read_manifest(str(folder)))
    assert refused.empty
    return manifest_digest(rows)


def test_every_file_gets_its_digest_and_size(drop: Path) -> None:
    rows, refused = examine(read_manifest(str(drop)))
    assert refused.empty
    assert rows["sha256"].tolist() == [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in rows["path"]]
    assert rows["n_bytes"].tolist() == [7, 7, 7, 7]
    assert rows["mask_sha256"].notna().tolist() == [True, False, False, True]


def test_a_missing_or_empty_file_is_refused_by_name_and_the_rest_goes_on(drop: Path) -> None:
    (drop / "c/b.png").unlink()
    (drop / "d/v.avi").write_bytes(b"")
    rows, refused = examine(read_manifest(str(drop)))
    assert [Path(path).name for path in rows["path"]] == ["a.png"]
    reasons = {Path(path).name: reason for path, reason in refused.itertuples(index=False)}
    assert "no such file" in reasons["b.png"]
    assert "empty" in reasons["v.avi"]
    assert len(refused) == 2  # v.avi stands in two rows, and is refused once


def test_of_a_row_whose_mask_is_missing_only_the_mask_is_refused(drop: Path) -> None:
    (drop / "m/a.png").unlink()
    rows, refused = examine(read_manifest(str(drop)))
    assert len(rows) == 4
    assert rows["mask_path"].notna().sum() == 1
    assert refused["path"].tolist() == [str(drop / "m/a.png")]


def test_nothing_left_is_no_error(drop: Path) -> None:
    for name in ("c", "d", "m"):
        shutil.rmtree(drop / name)
    rows, refused = examine(read_manifest(str(drop)))
    assert (len(rows), len(refused)) == (0, 5)
    assert manifest_digest(rows)


def test_the_same_studies_elsewhere_and_in_another_order_is_the_same(drop: Path, tmp_path: Path) -> None:
    before = digest(drop)
    moved = tmp_path / "elsewhere" / "deeper"
    shutil.copytree(drop, moved)
    header, *lines = MANIFEST.splitlines()
    (moved / "manifest.csv").write_text("\n".join([header, *reversed(lines)]))
    assert digest(moved) == before
    memory = fsspec.filesystem("memory")
    memory.put(str(drop), "/elsewhere", recursive=True)
    assert digest("memory://elsewhere") == before


def test_column_order_and_form_of_the_manifest_do_not_matter(drop: Path) -> None:
    before = digest(drop)
    table = pd.read_csv(drop / "manifest.csv", dtype=str)
    (drop / "manifest.csv").unlink()
    table[table.columns[::-1]].to_parquet(drop / "manifest.parquet")
    assert digest(drop) == before


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("c/a.png", "other bytes"),
        ("m/a.png", "another mask"),
        ("m/v/LV.png", "another mask"),
        ("m/v/LA.png", "one class more"),
        ("manifest.csv", MANIFEST.replace(",x", ",z")),
        ("manifest.csv", MANIFEST.replace("P2", "P3")),
        ("manifest.csv", MANIFEST.replace(",3,", ",4,")),
        ("manifest.csv", MANIFEST.replace("label", "finding")),
        ("manifest.csv", MANIFEST.replace("c/b.png,P1,,,y\n", "")),
    ],
)
def test_any_other_byte_id_label_or_mask_makes_another_digest(drop: Path, file: str, content: str) -> None:
    before = digest(drop)
    (drop / file).write_text(content)
    assert digest(drop) != before


def test_two_files_swapped_have_another_digest(drop: Path) -> None:
    before = digest(drop)
    (drop / "c/a.png").write_bytes(b"c/b.png")
    (drop / "c/b.png").write_bytes(b"c/a.png")
    assert digest(drop) != before


def test_a_zip_of_several_files_becomes_a_row_for_each(drop: Path) -> None:
    with zipfile.ZipFile(drop / "exam.zip", "w") as archive:
        archive.writestr("1.dcm", b"one")
        archive.writestr("2.dcm", b"two!")
    (drop / "manifest.csv").write_text("path,patient_id,label\nexam.zip,P1,x\nc/a.png,P2,y\n")
    rows, refused = examine(read_manifest(str(drop)))
    assert refused.empty
    assert rows["clip_id"].tolist() == ["exam-1.dcm", "exam-2.dcm", "a"]
    assert rows["label"].tolist() == ["x", "x", "y"]
    assert rows["n_bytes"].tolist() == [3, 4, 7]
    assert rows["frame_index"].dtype == "Int64"


@pytest.mark.parametrize(("written", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_may_be_composed_otherwise_on_disk_than_in_the_manifest(
    tmp_path: Path, written: Literal["NFC", "NFD"], on_disk: Literal["NFC", "NFD"]
) -> None:
    (tmp_path / unicodedata.normalize(on_disk, "é.png")).write_bytes("é".encode())
    name = unicodedata.normalize(written, "é.png")
    (tmp_path / "manifest.csv").write_text(f"path,patient_id\n{name},p\n", encoding="utf-8")
    rows, refused = examine(read_manifest(str(tmp_path)))
    assert refused.empty
    assert Path(rows["path"].item()).read_bytes() == "é".encode()
