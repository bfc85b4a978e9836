"""Frames taken away as a dataset: what other programs read there is what was given."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.studies.datasets import FORMATS, Item, write_dataset
from enrich_assets.studies.labels import read_labels

VIEWS = ["NT", "A4C"]
CHAMBERS = ["background", "LV", "LA"]
FRAMES = ["s/c 1/0", "s/ü/3", "t/c/7"]


def picture(at: int) -> NDArray[np.uint8]:
    return np.arange(48, dtype=np.uint8).reshape(6, 8) + 50 * at


def mask_of(at: int) -> NDArray[np.uint8]:
    mask = np.zeros((6, 8), np.uint8)
    mask[0:2, : 3 + at] = 1
    mask[3:6, 1:6] = 2
    return mask


def items(answers: str) -> list[Item]:
    return [
        Item(
            frame,
            at,
            "test" if at == 2 else "train",
            picture(at),
            VIEWS[at % 2] if answers == "class" else None,
            mask_of(at) if answers == "mask" else None,
            {"patient_id": f"p{at}"},
        )
        for at, frame in enumerate(FRAMES)
    ]


def written(out: Path, form: str, answers: str) -> pd.DataFrame:
    classes = VIEWS if answers == "class" else CHAMBERS
    n = write_dataset(items(answers), form, out, classes, {"subset_id": "abc"}, "CC0")
    assert n == 3
    return pd.read_parquet(out / "frames.parquet") if form == "parquet" else pd.read_csv(out / "frames.csv")


@pytest.mark.parametrize("answers", ["class", "mask"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_the_pixels_their_table_and_where_they_came_from(
    tmp_path: Path, form: str, answers: str
) -> None:
    out = tmp_path / "out"
    table = written(out, form, answers)
    assert list(table["frame_id"]) == FRAMES
    assert list(table["patient_id"]) == ["p0", "p1", "p2"]
    for at, row in enumerate(table.itertuples()):
        assert np.array_equal(np.asarray(Image.open(out / row.image)), picture(at))
        if answers == "mask":
            assert np.array_equal(np.asarray(Image.open(out / row.mask)), mask_of(at))
        else:
            assert row.label == VIEWS[at % 2]
    provenance = json.loads((out / "PROVENANCE.json").read_text())
    assert (provenance["subset_id"], provenance["frames"], provenance["format"]) == ("abc", 3, form)
    assert (out / "LICENCE.txt").read_text() == "CC0\n"


@pytest.mark.parametrize("answers", ["class", "mask"])
def test_coco_comes_back_as_the_same_labels(tmp_path: Path, answers: str) -> None:
    written(tmp_path / "out", "coco", answers)
    classes = VIEWS if answers == "class" else CHAMBERS
    read = read_labels(str(tmp_path / "out" / "annotations.json"), answers, classes, set(FRAMES))  # type: ignore[arg-type]
    assert read.problems.empty
    by_frame = read.labels.set_index("frame_id")
    for at, frame in enumerate(FRAMES):
        if answers == "class":
            assert by_frame.loc[frame, "label"] == VIEWS[at % 2]
        else:
            assert np.array_equal(by_frame.loc[frame, "mask"], mask_of(at))


def test_coco_is_read_by_its_own_tools(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    written(tmp_path / "out", "coco", "mask")
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    names = {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())}
    assert list(names.values()) == ["LV", "LA"]
    for annotation in coco.loadAnns(coco.getAnnIds()):
        code = CHAMBERS.index(names[annotation["category_id"]])
        truth = mask_of(annotation["image_id"] - 1) == code
        assert np.array_equal(coco.annToMask(annotation).astype(bool), truth)
        assert annotation["area"] == truth.sum()


def test_class_folders_are_named_after_the_classes_of_each_side(tmp_path: Path) -> None:
    table = written(tmp_path / "out", "folder", "class")
    assert [str(Path(image).parent) for image in table["image"]] == ["train/NT", "train/A4C", "test/NT"]


def test_a_class_that_cannot_be_a_folder_is_spelt(tmp_path: Path) -> None:
    one = Item("s/c/0", 0, "train", picture(0), "../up")
    write_dataset([one], "folder", tmp_path / "out", ["../up", "b"], {}, "x")
    (folder,) = (tmp_path / "out" / "train").iterdir()
    assert folder.name == "_2e_2e_2fup"
    assert not (tmp_path / "up").exists()


def test_polygons_of_yolo_filled_in_are_the_structures(tmp_path: Path) -> None:
    out = tmp_path / "out"
    written(out, "yolo", "mask")
    described = yaml.safe_load((out / "data.yaml").read_text())
    assert described["names"] == {0: "LV", 1: "LA"}
    for at in range(3):
        (text,) = (out / "labels").rglob(f"00000{at}_*.txt")
        drawn = np.zeros((6, 8), np.uint8)
        for line in text.read_text().splitlines():
            code, *shares = line.split()
            points = np.array(shares, float).reshape(-1, 2) * (8, 6) - 0.5
            cv2.fillPoly(drawn, [np.rint(points).astype(np.int32)], int(code) + 1)
        assert np.array_equal(drawn, mask_of(at))
        image = out / "images" / text.parent.name / f"{text.stem}.png"
        assert image.exists(), "labels and images lie side by side, by the same names"


@pytest.mark.parametrize("answers", ["class", "mask"])
def test_monais_datalist_names_files_that_are_there(tmp_path: Path, answers: str) -> None:
    out = tmp_path / "out"
    written(out, "monai", answers)
    datalist = json.loads((out / "datalist.json").read_text())
    assert (len(datalist["training"]), len(datalist["test"])) == (2, 1)
    for one in [*datalist["training"], *datalist["test"]]:
        assert (out / one["image"]).exists()
        if answers == "mask":
            assert (out / one["label"]).exists()
        else:
            assert datalist["labels"][str(one["label"])] == VIEWS[FRAMES.index(one["frame_id"]) % 2]


def test_a_folder_that_is_there_stays_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="is there already"):
        write_dataset(items("class"), "csv", tmp_path / "out", VIEWS, {}, "x")

    def breaking() -> object:
        yield items("class")[0]
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_dataset(breaking(), "csv", tmp_path / "new", VIEWS, {}, "x")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
