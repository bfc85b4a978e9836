"""Worklists for CVAT, read by the importer that CVAT's own is a copy of, labelled there, exported by it, and read by us."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from enrich_assets.studies.labels import read_labels
from enrich_assets.studies.labels.worklist_export import export_worklist

pytestmark = pytest.mark.servers
PYTHON = os.environ.get("CVAT_PYTHON", str(Path(__file__).parents[3] / ".venv-cvat" / "bin" / "python"))
FRAMES = ["study_1/clip (2)+a/0", "stüdy/ü/3", "s.x/c.y/4"]
VIEWS = ["A4C", "NT (2nd)", "können"]
CHAMBERS = ["background", "LV", "LA"]


def shade(frame: str) -> int:
    return 40 * FRAMES.index(frame) + 5


def there(*arguments: str) -> Any:
    if not Path(PYTHON).exists():
        pytest.skip(f"no datumaro at {PYTHON} (.ci/servers installs it)")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [PYTHON, str(Path(__file__).with_name("cvat_programs.py")), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def handed_out(folder: Path, classes: list[str], answers: Any) -> Path:
    """The dataset of a worklist, unpacked as CVAT's importer does."""
    rows = pd.DataFrame({"position": [2, 0, 1], "frame_id": FRAMES, "patient_id": "p", "similarity_to_labelled": 0.5})
    export_worklist(
        rows,
        lambda frame: np.full((12, 20), shade(frame), np.uint8),
        "cvat",
        folder / "list.xml",
        classes,
        answers=answers,
    )
    with zipfile.ZipFile(folder / "list_dataset.zip") as file:
        file.extractall(folder / "there")
    return folder / "there"


def answered(dataset: Path, answers: dict[int, list[list[Any]]]) -> str:
    (dataset / "answers.json").write_text(json.dumps(answers))
    out = dataset.with_name("exported")
    there("label", str(dataset), str(out))
    (file,) = out.glob("*.xml")
    return str(file)


@pytest.mark.parametrize(("answers", "classes", "choices"), [("class", VIEWS, VIEWS), ("mask", CHAMBERS, ["LV", "LA"])])
def test_the_importer_finds_every_image_and_what_there_is_to_choose_from(
    tmp_path: Path, answers: str, classes: list[str], choices: list[str]
) -> None:
    items = there("read", str(handed_out(tmp_path, classes, answers)))
    assert [item["labels"] for item in items] == [choices] * 3
    assert [item["shade"] for item in items] == [shade(frame) for frame in (FRAMES[1], FRAMES[2], FRAMES[0])]
    assert all(item["size"] == [12, 20] and not item["annotations"] for item in items)


@pytest.mark.parametrize(("answers", "classes", "kind"), [("class", VIEWS, "tag"), ("mask", CHAMBERS, "mask")])
def test_the_labels_are_what_the_schema_of_its_server_takes(
    tmp_path: Path, answers: str, classes: list[str], kind: str
) -> None:
    handed_out(tmp_path, classes, answers)
    taken = there("labels", str(tmp_path / "list_labels.json"))
    assert [(one["name"], one["type"]) for one in taken] == [(name, kind) for name in classes[answers == "mask" :]]


def test_tags_come_back_to_their_frames(tmp_path: Path) -> None:
    dataset = handed_out(tmp_path, VIEWS, "class")
    truth = dict(zip(FRAMES, VIEWS, strict=True))
    read = read_labels(
        answered(dataset, {shade(frame): [["tag", name]] for frame, name in truth.items()}), "class", VIEWS, FRAMES
    )
    assert read.problems.empty
    assert dict(read.labels[["frame_id", "label"]].itertuples(index=False)) == truth


def test_masks_and_polygons_come_back_pixel_by_pixel_the_later_on_top(tmp_path: Path) -> None:
    dataset = handed_out(tmp_path, CHAMBERS, "mask")
    brushed = [["mask", "LV", [1, 2, 9, 7]], ["mask", "LA", [4, 5, 11, 18]]]
    outlined = [["polygon", "LV", [2, 1, 10, 1, 10, 6, 2, 6]]]
    file = answered(dataset, {shade(FRAMES[0]): brushed, shade(FRAMES[1]): outlined, shade(FRAMES[2]): []})
    read = read_labels(file, "mask", CHAMBERS, dict.fromkeys(FRAMES, (12, 20)))
    assert read.problems.empty
    masks = dict(read.labels[["frame_id", "mask"]].itertuples(index=False))
    assert sorted(masks) == sorted(FRAMES[:2])
    expected = np.zeros((12, 20), np.uint8)
    expected[1:9, 2:7] = 1
    expected[4:11, 5:18] = 2
    np.testing.assert_array_equal(masks[FRAMES[0]], expected)
    inside = np.zeros((12, 20), bool)
    inside[1:6, 2:10] = True
    assert (masks[FRAMES[1]][inside] == 1).all()
    assert not masks[FRAMES[1]][:, 12:].any()


def test_what_we_read_of_a_mask_is_what_the_importer_reads(tmp_path: Path) -> None:
    dataset = handed_out(tmp_path, CHAMBERS, "mask")
    file = answered(dataset, {shade(frame): [["mask", "LA", [0, 0, 3 + at, 20]]] for at, frame in enumerate(FRAMES)})
    ours = read_labels(file, "mask", CHAMBERS, dict.fromkeys(FRAMES, (12, 20))).labels
    theirs = there("read", str(Path(file).parent))
    assert sorted(int((mask == 2).sum()) for mask in ours["mask"]) == sorted(
        item["annotations"][0][2] for item in theirs
    )
