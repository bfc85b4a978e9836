"""A folder without a manifest: who is whose, by the paths alone, and that what was guessed can be written down and corrected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from enrich_assets.studies.errors import ManifestError
from enrich_assets.studies.manifest import read_manifest
from enrich_assets.studies.media_folder import PatientRule, as_manifest, guess_lines, scan_media, suggestion

PNG = b"\x89PNG\r\n\x1a\n"


def layout(folder: Path, *names: str, content: bytes = PNG) -> Path:
    """Files that look like pictures, by their first bytes."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def identities(folder: Path, rule: str) -> dict[str, tuple[str, str, str, object]]:
    """Path below the folder -> patient, study, clip, frame."""
    rows = scan_media(str(folder), PatientRule(rule)).rows()
    return {
        str(Path(row.path).relative_to(folder)): (
            row.patient_id,
            row.study_id,
            row.clip_id,
            None if row.frame_index is None or row.frame_index != row.frame_index else int(row.frame_index),
        )
        for row in rows.astype({"frame_index": object}).where(rows.notna(), None).itertuples()
    }


def test_the_first_folder_is_the_patient_and_those_below_it_the_study(tmp_path: Path) -> None:
    layout(tmp_path, "ann/a.png", "bob/monday/a.png", "bob/friday/a.png")
    assert identities(tmp_path, "folder") == {
        "ann/a.png": ("ann", "ann", "a", None),
        "bob/monday/a.png": ("bob", "bob-monday", "a", None),
        "bob/friday/a.png": ("bob", "bob-friday", "a", None),
    }


def test_studies_of_two_patients_are_never_called_alike(tmp_path: Path) -> None:
    layout(tmp_path, "a-b/c/1.png", "a/b-c/1.png")
    found = identities(tmp_path, "folder")
    assert len({study for _, study, _, _ in found.values()}) == 2


def test_the_stem_is_the_patient_whatever_the_folder(tmp_path: Path) -> None:
    layout(tmp_path, "x/p1.png", "y/p1.png", "p2.png")
    found = identities(tmp_path, "stem")
    assert {name: patient for name, (patient, *_) in found.items()} == {
        "x/p1.png": "p1",
        "y/p1.png": "p1",
        "p2.png": "p2",
    }
    assert len({clip for _, _, clip, _ in found.values()}) == 3, "files of one stem stay clips of their own"


def test_a_regular_expression_says_patient_study_clip_and_frame(tmp_path: Path) -> None:
    layout(tmp_path, "p7_s1_c2_f010.png", "p7_s1_c2_f000.png")
    rule = r"(?P<patient>p\d+)_(?P<study>s\d)_(?P<clip>c\d)_f(?P<frame>\d+)"
    assert identities(tmp_path, rule) == {
        "p7_s1_c2_f000.png": ("p7", "s1", "c2", 0),
        "p7_s1_c2_f010.png": ("p7", "s1", "c2", 10),
    }
    assert identities(tmp_path, r"(p\d+)_")["p7_s1_c2_f000.png"][0] == "p7", "else the first group"
    assert identities(tmp_path, r"p\d+")["p7_s1_c2_f000.png"][0] == "p7", "else all that is found"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("p(", "neither `folder`, `stem` nor a regular expression"),
        (r"(?P<who>p\d)", "names the group who"),
        (r"(?P<patient>p)(?P<frame>\d)", "names a frame but no clip"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"group|neither|frame") as refusal:
        PatientRule(rule)
    assert why in str(refusal.value)


def test_files_that_do_not_fit_are_refused_one_by_one_and_others_passed_over(tmp_path: Path) -> None:
    layout(tmp_path, "ann/a.png", "loose.png", ".hidden/b.png", "ann/__MACOSX/c.png")
    layout(tmp_path, "ann/empty.png", content=b"")
    layout(tmp_path, "ann/notes.txt", content=b"words")
    media = scan_media(str(tmp_path), PatientRule("folder"))
    assert [Path(path).name for path in media.table["path"]] == ["a.png"]
    reasons = {Path(path).name: reason for path, reason in media.refused.itertuples(index=False)}
    assert set(reasons) == {"loose.png", "empty.png"}
    assert "lies in no folder" in reasons["loose.png"]
    assert media.passed_over == {".txt": 1}


def test_what_was_guessed_is_said(tmp_path: Path) -> None:
    layout(tmp_path, "ann/a.png", "ann/masks/a.png", "bob/b.png")
    layout(tmp_path, "bob/clip.avi", content=b"RIFF    AVI ")
    text = "\n".join(guess_lines(scan_media(str(tmp_path), PatientRule("folder"))))
    assert "1 clip, 3 pictures of 2 patients: ann (2), bob (2)" in text
    assert "each picture is a clip of its own" in text
    assert "masks look like masks" in text


def test_two_files_of_one_frame_are_refused_with_their_names(tmp_path: Path) -> None:
    layout(tmp_path, "p1_c1_a.png", "p1_c1_b.png")
    media = scan_media(str(tmp_path), PatientRule(r"(?P<patient>p\d)_(?P<clip>c\d)"))
    with pytest.raises(ManifestError, match=r"p1_c1_a\.png, p1_c1_b\.png"):
        media.rows()


def test_a_study_of_two_patients_is_refused(tmp_path: Path) -> None:
    layout(tmp_path, "p1_s1.png", "p2_s1.png")
    with pytest.raises(ManifestError, match="the study 's1' to 2 patients"):
        scan_media(str(tmp_path), PatientRule(r"(?P<patient>p\d)_(?P<study>s\d)")).rows()


def test_a_folder_of_media_without_a_rule_is_told_what_each_would_make(tmp_path: Path) -> None:
    layout(tmp_path, "ann/a.png", "ann/b.png", "bob/c.mp4")
    text = suggestion(str(tmp_path))
    assert "`--patient-from folder` would make 2 patients" in text
    assert "`--patient-from stem` 3" in text
    assert suggestion(str(layout(tmp_path / "words", "a.txt", content=b"x"))) == ""


names = st.text("ab-1", min_size=1, max_size=4).filter(lambda name: name.strip("-"))


@settings(max_examples=25, deadline=None)
@given(
    st.sets(st.tuples(names, st.lists(names, max_size=2).map(tuple), names), min_size=1, max_size=6),
    st.sampled_from(["folder", "stem"]),
)
def test_the_guess_written_down_and_read_again_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, files, rule: str
) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("media") / "in"
    layout(folder, *("/".join([patient, *below, f"{stem}.png"]) for patient, below, stem in files))
    media = scan_media(str(folder), PatientRule(rule))
    written = folder.parent / "m.csv"
    as_manifest(media, str(folder.parent), ("view",)).to_csv(written, index=False)
    read = read_manifest(str(written)).sort_values("path", ignore_index=True)
    guessed = media.rows().sort_values("path", ignore_index=True)
    assert read[list(guessed.columns)].astype("string").fillna("").equals(guessed.astype("string").fillna(""))


def test_real_pictures_are_known_by_their_first_bytes_not_by_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "ann"
    folder.mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "picture.png")
    (folder / "picture.png").rename(folder / "IM0001")
    assert [Path(path).name for path in scan_media(str(tmp_path), PatientRule("folder")).table["path"]] == ["IM0001"]
