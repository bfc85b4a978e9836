"""`enrich frames` and `enrich export`: exactly the frames behind a number, shown and taken away."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.cli import main
from enrich_assets_tests.made_home import opened, sql


def enrich(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def home(small_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished home itself: these commands change nothing in it."""
    monkeypatch.setenv("ENRICH_HOME", str(small_home))
    monkeypatch.delenv("ENRICH_PROFILE", raising=False)
    return small_home


def evaluation(home: Path, task: str) -> pd.Series:
    return sql(
        opened(home), f"FROM evaluations WHERE current AND task = '{task}' AND arm = 'enrich' ORDER BY budget"
    ).iloc[0]


def test_an_evaluations_frames_are_those_of_its_subset_in_order(home: Path, tmp_path: Path) -> None:
    one = evaluation(home, "view")
    shown = enrich("frames", one.evaluation_id[:8], "--out", str(tmp_path / "f.csv"))
    assert shown.exit_code == 0, shown.output
    assert "the very ones it was made from" in shown.output
    wanted = sql(
        opened(home), f"SELECT frame_id FROM subset_frames WHERE subset_id = '{one.subset_id}' ORDER BY position"
    )
    table = pd.read_csv(tmp_path / "f.csv")
    assert list(table["frame_id"]) == list(wanted["frame_id"])
    labels = sql(opened(home), "SELECT frame_id, label FROM current_labels WHERE task = 'view'").set_index("frame_id")
    assert list(table["label"]) == list(labels.loc[table["frame_id"], "label"])
    listed = enrich("frames", one.subset_id)
    assert [frame for frame in wanted["frame_id"] if frame in listed.output] == list(wanted["frame_id"])


def test_a_page_holds_every_picture_and_nothing_from_elsewhere(home: Path, tmp_path: Path) -> None:
    one = evaluation(home, "view")
    assert enrich("frames", one.evaluation_id, "--out", str(tmp_path / "page.html")).exit_code == 0
    text = (tmp_path / "page.html").read_text()
    assert text.count("data:image/webp;base64,") == one.n_train
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert one.evaluation_id in text


def test_a_folder_holds_the_pixels_the_model_saw(home: Path, tmp_path: Path) -> None:
    one = evaluation(home, "chambers")
    assert enrich("frames", one.evaluation_id, "--out", str(tmp_path / "dir")).exit_code == 0
    frames = Catalogue(opened(home)).frames()
    names = list(pd.read_csv(tmp_path / "dir" / "frames.csv")["frame_id"])
    pixels = frames.of(pd.DataFrame({"frame_id": names}), "chambers").pixels()
    files = sorted((tmp_path / "dir").glob("*.png"))
    assert len(files) == one.n_train
    for file, picture in zip(files, pixels, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), picture)
    again = enrich("frames", one.evaluation_id, "--out", str(tmp_path / "dir"))
    assert again.exit_code == 1
    assert "is there already" in again.output


def test_a_dataset_carries_masks_test_frames_and_notes_but_no_path(home: Path, tmp_path: Path) -> None:
    one = evaluation(home, "chambers")
    out = tmp_path / "out"
    made = enrich(
        "export", one.subset_id, "--format", "monai", "--out", str(out), "--with-test-set", "--licence", "ours"
    )
    assert made.exit_code == 0, made.output
    datalist = json.loads((out / "datalist.json").read_text())
    assert (len(datalist["training"]), len(datalist["test"])) == (one.n_train, one.n_test)
    labels = Catalogue(opened(home)).labels()
    rows = labels.of_task("chambers").set_index("frame_id")
    for entry in datalist["training"]:
        truth = labels.masks("chambers", rows.loc[[entry["frame_id"]]].reset_index())[0]
        assert np.array_equal(np.asarray(Image.open(out / entry["label"])), truth)
    text = (out / "PROVENANCE.json").read_text()
    assert json.loads(text)["subset_id"] == one.subset_id
    assert str(home) not in text + (out / "frames.csv").read_text()
    assert (out / "LICENCE.txt").read_text() == "ours\n"


def test_near_duplicates_are_left_out_on_demand(home: Path, tmp_path: Path) -> None:
    everything = sql(opened(home), "FROM evaluations WHERE current AND task = 'view' AND arm = 'all'").iloc[0]
    out = tmp_path / "out"
    made = enrich(
        "export", everything.evaluation_id, "--format", "csv", "--out", str(out), "--drop-near-duplicates", "0.9"
    )
    assert made.exit_code == 0, made.output
    kept = pd.read_csv(out / "frames.csv")
    catalogue = Catalogue(opened(home))
    vectors = catalogue.vectors().of(kept[["frame_id"]].merge(catalogue.frame_table(), on="frame_id")).astype(np.int64)
    products = vectors @ vectors.T
    assert (products[~np.eye(len(kept), dtype=bool)] < 0.9 * 4000**2).all()
    assert len(kept) < everything.n_train
    assert json.loads((out / "PROVENANCE.json").read_text())["near_duplicates_left_out"] == everything.n_train - len(
        kept
    )


def test_whole_pictures_come_from_the_source(home: Path, tmp_path: Path) -> None:
    one = evaluation(home, "view")
    made = enrich("export", one.evaluation_id, "--out", str(tmp_path / "out"), "--whole")
    assert made.exit_code == 0, made.output
    table = pd.read_csv(tmp_path / "out" / "frames.csv")
    clips = sql(opened(home), "SELECT clip_id, height, width FROM clips").set_index("clip_id")
    for row in table.itertuples():
        picture = Image.open(tmp_path / "out" / row.image)
        assert (picture.height, picture.width) == tuple(clips.loc[row.clip_id, ["height", "width"]])


def test_the_worklist_is_taken_away_too(home: Path, tmp_path: Path) -> None:
    made = enrich("export", "worklist", "--task", "chambers", "--format", "csv", "--out", str(tmp_path / "out"))
    assert made.exit_code == 0, made.output
    assert "without a label" in made.output
    assert pd.read_csv(tmp_path / "out" / "frames.csv")["label"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frames", "0000000000"], "no evaluation and no subset is called 0000000000"),
        (["frames", "abc"], "is no id: name the first 6 letters"),
        (["frames", "x' OR 1=1 --"], "is no id"),
        (["export", "worklist", "--out", "o"], "--task goes with `worklist`"),
        (["export", "worklist", "--task", "nope", "--out", "o"], "is no task of the profile"),
    ],
)
def test_what_does_not_exist_is_said(home: Path, arguments: list[str], said: str) -> None:
    refused = enrich(*arguments)
    assert refused.exit_code in (1, 2)
    assert said in refused.output


def test_before_anything_was_published_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path))
    assert "`enrich run` publishes" in enrich("frames", "abcdefgh").output
