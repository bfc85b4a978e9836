"""A manifest is brought to one shape, or refused with the line and column that is wrong."""

from __future__ import annotations

import io
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.studies.errors import ManifestError
from enrich_assets.studies.manifest import find_manifest, label_columns, read_manifest, safe_id


def written(folder: Path, text: str | bytes, name: str = "manifest.csv") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_the_least_manifest_fills_in_study_clip_split_and_absolute_path(tmp_path: Path) -> None:
    rows = read_manifest(written(tmp_path, "path,patient_id\na/x.png,007\n"))
    assert rows.loc[0, "path"] == str(tmp_path / "a/x.png")
    assert rows.loc[0, ["patient_id", "study_id", "clip_id"]].tolist() == ["007", "007", "x"]
    assert rows.loc[0, ["frame_index", "split", "mask_path"]].isna().all()
    assert rows["frame_index"].dtype == "Int64"
    assert label_columns(rows) == []


def test_identifiers_and_labels_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    rows = read_manifest(
        written(tmp_path, "path,patient_id,view,score\na.png,007,NA,1.50\nb.png,7,,nan\nc.png,1e3,None,0\n")
    )
    assert rows["patient_id"].tolist() == ["007", "7", "1e3"]
    assert rows["view"].isna().tolist() == [False, True, False]  # NA and None may be somebody's classes
    assert rows["view"][0] == "NA"
    assert rows["score"].fillna("").tolist() == ["1.50", "", "0"]  # what a program writes for nothing is nothing
    assert label_columns(rows) == ["view", "score"]


def test_whole_numbers_that_a_program_wrote_as_floats_are_whole(tmp_path: Path) -> None:
    rows = read_manifest(
        written(tmp_path, "path,patient_id,grade,mixed\na.png,12.0,0.0,1.0\nb.png,7.0,,0.5\nc.png,12.0,1.0,2.0\n")
    )
    assert rows["patient_id"].tolist() == ["12", "7", "12"]
    assert rows["grade"].fillna("").tolist() == ["0", "", "1"]
    assert rows["mixed"].tolist() == ["1.0", "0.5", "2.0"]


def test_a_patient_who_is_nan_is_nobody(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="line 3, column patient_id: is empty"):
        read_manifest(written(tmp_path, "path,patient_id\na.png,p\nb.png,nan\n"))


def test_one_file_is_one_clip(tmp_path: Path) -> None:
    text = "path,patient_id,clip_id,frame_index\nv.avi,p,ED,5\nv.avi,p,ES,12\n"
    with pytest.raises(ManifestError, match="line 3, column path: is listed under another study or clip"):
        read_manifest(written(tmp_path, text))


@pytest.mark.parametrize("name", ["Manifest.CSV", "manifest.tsv"])
def test_a_manifest_is_found_in_any_case_and_as_tsv(tmp_path: Path, name: str) -> None:
    delimiter = "\t" if name.endswith("tsv") else ","
    (tmp_path / name).write_text(f"path{delimiter}patient_id\na.png{delimiter}p\n")
    assert find_manifest(str(tmp_path)) == f"{tmp_path}/{name}"
    assert read_manifest(str(tmp_path))["patient_id"].tolist() == ["p"]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,patient_id,label\r\na b.png,P1,x\r\n",  # byte-order mark, CRLF
        b"path;patient_id;label\na b.png;P1;x\n",  # what Excel writes in half of Europe
        b"sep=;\r\npath;patient_id;label\r\na b.png;P1;x\r\n",
        b"path\tpatient_id\tlabel\na b.png\tP1\tx\n",
        b" Path , Patient ID ,label\n a b.png , P1 , x \n",
        b"\n\npath,patient_id,label,\na b.png,P1,x,\n,,,\n\n",  # blank lines, a trailing comma
        ",path,patient_id,label\n0,a b.png,P1,x\n".encode("utf-16"),  # an index column without a name
    ],
)
def test_what_spreadsheets_do_to_a_csv_is_undone(tmp_path: Path, text: bytes) -> None:
    rows = read_manifest(written(tmp_path, text))
    assert rows.loc[0, ["path", "patient_id", "label"]].tolist() == [str(tmp_path / "a b.png"), "P1", "x"]
    assert len(rows) == 1


def test_backslashes_are_folders_and_parents_are_resolved(tmp_path: Path) -> None:
    rows = read_manifest(written(tmp_path, "path,patient_id,mask_path\nclips\\a.avi,P1,..\\masks\\a.png\n"))
    assert rows.loc[0, "path"] == str(tmp_path / "clips/a.avi")
    assert rows.loc[0, "mask_path"] == str(tmp_path.parent / "masks/a.png")


def test_paths_stand_beside_a_manifest_wherever_it_lies() -> None:
    with fsspec.open("memory://drop/one/manifest.csv", "wb") as file:
        file.write(b"path,patient_id\nclips/a.mp4,P1\n/data/b.mp4,P2\ns3://bucket/c.mp4,P3\n")
    rows = read_manifest("memory://drop/one")
    assert rows["path"].tolist() == ["memory://drop/one/clips/a.mp4", "/data/b.mp4", "s3://bucket/c.mp4"]


def test_a_manifest_named_from_where_one_stands_gives_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "path,patient_id\na.png,P1\n")
    monkeypatch.chdir(tmp_path)
    for url in (".", "manifest.csv", f"file://{tmp_path}"):
        assert read_manifest(url)["path"].tolist() == [str(tmp_path / "a.png")]


def test_parquet_gives_the_rows_that_csv_gives(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "path": ["a.png", "b.png"],
            "patient_id": ["007", "8"],
            "frame_index": [None, 3.0],
            "label": ["x", None],
        }
    )
    table.to_parquet(tmp_path / "manifest.parquet")
    by_parquet = read_manifest(str(tmp_path))
    by_csv = read_manifest(written(tmp_path, table.to_csv(index=False), "other.csv"))
    pd.testing.assert_frame_equal(by_parquet, by_csv)
    assert by_parquet["frame_index"].tolist() == [pd.NA, 3]


def test_numbers_in_parquet_become_plain_text(tmp_path: Path) -> None:
    pd.DataFrame(
        {"path": ["a.png"], "patient_id": [7], "label": pd.Categorical(["A4C"]), "positive": [True]}
    ).to_parquet(tmp_path / "manifest.parquet")
    rows = read_manifest(str(tmp_path))
    assert rows.loc[0, ["patient_id", "label", "positive"]].tolist() == ["7", "A4C", "true"]


def test_a_folder_with_both_prefers_csv_and_one_with_neither_says_so(tmp_path: Path) -> None:
    assert find_manifest(str(tmp_path)) is None
    with pytest.raises(FileNotFoundError, match=r"neither manifest\.csv nor manifest\.parquet"):
        read_manifest(str(tmp_path))
    pd.DataFrame({"path": ["a"], "patient_id": ["1"]}).to_parquet(tmp_path / "manifest.parquet")
    assert find_manifest(str(tmp_path)) == f"{tmp_path}/manifest.parquet"
    written(tmp_path, "path,patient_id\nb,1\n")
    assert find_manifest(str(tmp_path)) == f"{tmp_path}/manifest.csv"


def test_equal_stems_in_one_study_become_distinct_clips_that_do_not_depend_on_the_folder(
    tmp_path: Path,
) -> None:
    text = "path,patient_id\na/1.png,P1\nb/1.png,P1\nc/1.png,P2\n"
    clips = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        clips.append(read_manifest(written(tmp_path / name, text))["clip_id"].tolist())
    assert clips[0] == clips[1] == ["a%2F1.png", "b%2F1.png", "1"]


def test_single_frames_of_a_video_share_its_clip_with_the_whole(tmp_path: Path) -> None:
    rows = read_manifest(
        written(
            tmp_path,
            "path,patient_id,frame_index,mask_path\nv.avi,P1,,\nv.avi,P1,4,m4.png\nv.avi,P1,9.0,m9.png\n",
        )
    )
    assert rows["clip_id"].unique().tolist() == ["v"]
    assert rows["frame_index"].tolist() == [pd.NA, 4, 9]


def test_a_split_given_once_holds_for_the_whole_patient(tmp_path: Path) -> None:
    rows = read_manifest(written(tmp_path, "path,patient_id,split\na,P1,\nb,P1, TEST \nc,P2,\n"))
    assert rows["split"].tolist()[:2] == ["test", "test"]
    assert pd.isna(rows["split"][2])


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("file,patient_id\na,P1\n", None, None),
        ("path,patient\na,P1\n", None, None),
        ("path,patient_id\n", None, None),
        ("path,patient_id\na,P1\nb,\n", 3, "patient_id"),
        ("path,patient_id\na,P1\n\n,P2\n", 4, "path"),
        ("path,patient_id,split\na,P1,train\nb,P2,validation\n", 3, "split"),
        ("path,patient_id,split\na,P1,train\nb,P2,test\nc,P1,test\n", 4, "split"),
        ("path,patient_id,frame_index\na,P1,0\na,P1,one\n", 3, "frame_index"),
        ("path,patient_id,frame_index\na,P1,-1\n", 2, "frame_index"),
        ("path,patient_id,frame_index\na,P1,1.5\n", 2, "frame_index"),
        ("path,patient_id,frame_index\nv,P1,3\nv,P1,4\nv,P1,3.0\n", 4, "frame_index"),
        ("path,patient_id\na.png,P1\na.png,P1\n", 3, "clip_id"),
        ("path,patient_id\na.png,P1\na.png,P2\n", 3, "path"),
        ("path,patient_id,study_id\na.png,P1,S\nb.png,P2,S\n", 3, "study_id"),
        ("path,patient_id,clip_id,frame_index\nv.avi,P1,c,\nb.png,P1,c,7\n", 3, "path"),
        ("path,patient_id\na,b.png,P1\n", 2, None),  # a comma in a path without quotes
        ('path,patient_id\n"a.png,P1\nb.png,P2\n', 2, "path"),  # a quote never closed
        ("path,patient_id,label,label\na,P1,x,y\n", None, "label"),
        ("\0\0\0", None, None),
        ("", None, None),
    ],
)
def test_a_wrong_manifest_is_refused_where_it_is_wrong(
    tmp_path: Path, text: str, line: int | None, column: str | None
) -> None:
    url = written(tmp_path, text)
    with pytest.raises(ManifestError) as caught:
        read_manifest(url)
    assert (caught.value.line, caught.value.column) == (line, column)
    message = str(caught.value)
    assert message.startswith(url)
    assert "\n" not in message
    assert caught.value.remedy
    assert line is None or f"line {line}" in message


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="Parquet"):
        read_manifest(written(tmp_path, b"PAR1 not really", "manifest.parquet"))
    nested = io.BytesIO()
    pd.DataFrame({"path": ["a"], "patient_id": ["1"], "box": [[1, 2]]}).to_parquet(nested)
    with pytest.raises(ManifestError, match="column box"):
        read_manifest(written(tmp_path, nested.getvalue(), "nested.parquet"))


ids = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(ids)
def test_a_safe_id_is_one_path_segment_and_is_its_own_for_ordinary_ids(text: str) -> None:
    safe = safe_id(text)
    assert not set(safe) & set("/\\\0\n\r")
    assert safe not in (".", "..")
    if text.isascii() and text.isalnum():
        assert safe == text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text("a/%\\.2F5C \n", max_size=6), st.text("a/%\\.2F5C \n", max_size=6))
def test_two_different_ids_never_become_one(one: str, other: str) -> None:
    assert (safe_id(one) == safe_id(other)) == (one.strip() == other.strip())


def test_an_id_written_in_two_unicode_ways_is_one_patient() -> None:
    assert safe_id("Mu\u0308ller") == safe_id("M\u00fcller")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("archive", "n_rows", "n_patients", "n_masks"),
    [("pocus_lung_clips", 83, 32, 0), ("ucsf_echo_views", 146, 58, 10), ("acdc_cine_mri", 1336, 70, 1336)],
)
def test_the_real_manifests_read(realdata: Path, archive: str, n_rows: int, n_patients: int, n_masks: int) -> None:
    rows = read_manifest(str(realdata / archive))
    assert (len(rows), rows["patient_id"].nunique(), rows["mask_path"].notna().sum()) == (
        n_rows,
        n_patients,
        n_masks,
    )
    assert all(Path(path).exists() for path in [*rows["path"], *rows["mask_path"].dropna()])
