"""A worklist goes out to a labelling tool, is labelled there, and comes back to the same frames."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.studies.labels import read_labels
from enrich_assets.studies.labels.worklist_export import FORMATS, export_worklist

VIEWS = ["A4C", "NT"]
CHAMBERS = ["background", "LV", "LA"]
FRAMES = ["study_1/clip (2)+a/0", "study_1/clip (2)+a/12", "stüdy/ü/3", "s.x/c.y/4"]


def picture(frame: str) -> NDArray[np.uint8]:
    return np.full((6, 10), 10 * FRAMES.index(frame) + 5, np.uint8)


def worklist() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "position": [2, 0, 1, 3],
            "frame_id": FRAMES,
            "similarity_to_labelled": [0.5, 0.1, 0.25, np.nan],
            "nearest_labelled_id": ["old/c/1", "old/c/1", "old/c/2", None],
            "patient_id": "p",
            "clip_id": "c",
        }
    )


def truth(frame: str) -> str:
    return VIEWS[FRAMES.index(frame) % 2]


def mask_of(frame: str) -> NDArray[np.uint8]:
    """LV in the upper rows, LA below it; their sizes tell the frames apart."""
    mask = np.zeros((6, 10), np.uint8)
    mask[0:2, : 4 + FRAMES.index(frame)] = 1
    mask[3:5, 1:7] = 2
    return mask


# --- what each tool does with the file it was given: it labels every image by looking at it -----------------


def label_csv(out: Path, answer: Callable[[int], str]) -> Path:
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        shade = int(np.asarray(Image.open(out.parent / row["image"]))[0, 0])
        row["label" if "label" in row else "mask_path"] = answer(shade)
    done = out.with_name("done.csv")
    with done.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return done


def shade_of(folder: Path, name: str) -> int:
    return int(np.asarray(Image.open(folder / os.path.basename(name)))[0, 0])


def label_coco(out: Path, folder: Path, annotate: Callable[[int, dict[str, int]], list[dict[str, Any]]]) -> Path:
    """Like CVAT's COCO export: file names stay, fields it does not know (our frame_id) are gone."""
    given = json.loads(out.read_text())
    ids = {category["name"]: category["id"] for category in given["categories"]}
    kept = ("id", "file_name", "height", "width")
    document = {"images": [{k: i[k] for k in kept} for i in given["images"]], "categories": given["categories"]}
    document["annotations"] = [
        {"id": 1, "image_id": image["id"], "iscrowd": 0, **annotation}
        for image in given["images"]
        for annotation in annotate(shade_of(folder, image["file_name"]), ids)
    ]
    done = out.with_name("instances_default.json")
    done.write_text(json.dumps(document))
    return done


def label_in_label_studio(out: Path, root: Path, results: Callable[[int], list[dict[str, Any]]]) -> Path:
    """Reads each image from local file storage, and exports the tasks with their data untouched."""
    tasks = json.loads(out.read_text())
    for number, task in enumerate(tasks, start=1):
        image = root / unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        seen = {"original_height": 6, "original_width": 10, "image_rotation": 0, "to_name": "image"}
        result = [seen | each for each in results(int(np.asarray(Image.open(image))[0, 0]))]
        task |= {"id": number, "annotations": [{"id": number, "completed_by": 1, "result": result}], "predictions": []}
    done = out.with_name("project-1-at-2026.json")
    done.write_text(json.dumps(tasks))
    return done


def label_in_cvat(out: Path, folder: Path, shapes: Callable[[int], list[tuple[str, dict[str, str]]]]) -> Path:
    """Keeps of an image what CVAT keeps (id, name, size), and adds the shapes."""
    root = ElementTree.parse(out).getroot()
    for image in root.iter("image"):
        shade = shade_of(folder, image.attrib["name"])
        for attribute in set(image.attrib) - {"id", "name", "width", "height"}:
            del image.attrib[attribute]
        for tag, attributes in shapes(shade):
            ElementTree.SubElement(image, tag, attributes)
    done = out.with_name("annotations.xml")
    ElementTree.ElementTree(root).write(done, encoding="utf-8", xml_declaration=True)
    return done


def frame_by_shade(shade: int) -> str:
    return FRAMES[(shade - 5) // 10]


def boxes(frame: str) -> list[tuple[str, int, int, int, int]]:
    """name, top, left, bottom, right of each structure of `mask_of`."""
    return [("LV", 0, 0, 2, 4 + FRAMES.index(frame)), ("LA", 3, 1, 5, 7)]


# --- round trips --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_class_labels_come_back_to_their_frames(tmp_path: Path, format: str) -> None:
    out = tmp_path / "list.file"
    folder = export_worklist(worklist(), picture, format, out, VIEWS)

    def answer(shade: int) -> str:
        return truth(frame_by_shade(shade))

    if format == "csv":
        done = label_csv(out, answer)
    elif format == "coco":
        done = label_coco(out, folder, lambda shade, ids: [{"category_id": ids[answer(shade)]}])
    elif format == "label-studio":
        done = label_in_label_studio(
            out, tmp_path, lambda shade: [{"type": "choices", "value": {"choices": [answer(shade)]}}]
        )
    else:
        done = label_in_cvat(out, folder, lambda shade: [("tag", {"label": answer(shade), "source": "manual"})])
    for frames in (FRAMES, None):  # found among known frames, and from the file alone
        found = read_labels(str(done), "class", VIEWS, frames)
        assert found.problems.empty
        assert dict(zip(found.labels.frame_id, found.labels.label, strict=True)) == {f: truth(f) for f in FRAMES}


@pytest.mark.parametrize("format", FORMATS)
def test_masks_come_back_to_their_frames(tmp_path: Path, format: str) -> None:
    out = tmp_path / "list.file"
    folder = export_worklist(worklist(), picture, format, out, CHAMBERS, answers="mask")
    if format == "csv":

        def paint(shade: int) -> str:
            Image.fromarray(mask_of(frame_by_shade(shade))).save(tmp_path / f"mask {shade}.png")
            return f"mask {shade}.png"

        done = label_csv(out, paint)
    elif format == "coco":

        def polygons(shade: int, ids: dict[str, int]) -> list[dict[str, Any]]:
            return [
                {"category_id": ids[name], "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
                for name, y0, x0, y1, x1 in boxes(frame_by_shade(shade))
            ]

        done = label_coco(out, folder, polygons)
    elif format == "label-studio":

        def drawn(shade: int) -> list[dict[str, Any]]:
            return [
                {
                    "type": "polygonlabels",
                    "value": {
                        "points": [[10 * x, 100 * y / 6] for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))],
                        "polygonlabels": [name],
                    },
                }
                for name, y0, x0, y1, x1 in boxes(frame_by_shade(shade))
            ]

        done = label_in_label_studio(out, tmp_path, drawn)
    else:

        def brushed(shade: int) -> list[tuple[str, dict[str, str]]]:
            return [
                ("mask", {"label": name, "rle": f"0, {(y1 - y0) * (x1 - x0)}", "left": str(x0), "top": str(y0),
                          "width": str(x1 - x0), "height": str(y1 - y0), "z_order": "0"})
                for name, y0, x0, y1, x1 in boxes(frame_by_shade(shade))
            ]  # fmt: skip

        done = label_in_cvat(out, folder, brushed)
    found = read_labels(str(done), "mask", CHAMBERS, dict.fromkeys(FRAMES, (6, 10)))
    assert found.problems.empty
    assert sorted(found.labels.frame_id) == sorted(FRAMES)
    for frame, mask in zip(found.labels.frame_id, found.labels["mask"], strict=True):
        assert np.array_equal(mask, mask_of(frame)), frame


# --- what is written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_each_frame_has_its_image_in_the_order_of_the_list(tmp_path: Path, format: str) -> None:
    folder = export_worklist(worklist(), picture, format, tmp_path / "list.file", VIEWS)
    assert folder == tmp_path / "list_images"
    shades = [int(np.asarray(Image.open(folder / name))[0, 0]) for name in sorted(os.listdir(folder))]
    assert [frame_by_shade(shade) for shade in shades] == [FRAMES[1], FRAMES[2], FRAMES[0], FRAMES[3]]


def test_the_reasons_stand_beside_each_frame_where_they_are_known(tmp_path: Path) -> None:
    export_worklist(worklist(), picture, "coco", tmp_path / "l.json", VIEWS)
    images = {image["frame_id"]: image for image in json.loads((tmp_path / "l.json").read_text())["images"]}
    first, last = images[FRAMES[0]], images[FRAMES[3]]
    assert (first["position"], first["similarity_to_labelled"], first["nearest_labelled_id"]) == (2, 0.5, "old/c/1")
    assert "similarity_to_labelled" not in last
    assert last["patient_id"] == "p"


def test_an_unlabelled_list_imports_as_nothing_to_say(tmp_path: Path) -> None:
    for format in FORMATS:
        export_worklist(worklist(), picture, format, tmp_path / "list.file", VIEWS)
        found = read_labels(str(tmp_path / "list.file"), "class", VIEWS, FRAMES)
        assert found.labels.empty
        assert found.problems.empty


def test_label_studio_gets_an_interface_with_the_classes_but_not_the_background(tmp_path: Path) -> None:
    export_worklist(worklist(), picture, "label-studio", tmp_path / "l.json", CHAMBERS, answers="mask")
    view = ElementTree.parse(tmp_path / "l_interface.xml").getroot()
    brush = view.find("BrushLabels")
    assert brush is not None
    assert [label.attrib["value"] for label in brush] == ["LV", "LA"]
    assert brush.attrib["toName"] == view.find("Image").attrib["name"]  # type: ignore[union-attr]


def test_a_new_export_replaces_the_old_one_whole(tmp_path: Path) -> None:
    export_worklist(worklist(), picture, "csv", tmp_path / "l.csv", VIEWS)
    export_worklist(worklist().head(1), picture, "csv", tmp_path / "l.csv", VIEWS)
    assert sorted(os.listdir(tmp_path)) == ["l.csv", "l_images"]
    assert len(os.listdir(tmp_path / "l_images")) == 1


def test_an_export_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    export_worklist(worklist(), picture, "csv", tmp_path / "l.csv", VIEWS)
    before = (tmp_path / "l.csv").read_text()

    def broken(frame: str) -> NDArray[np.uint8]:
        raise LookupError(frame)

    with pytest.raises(LookupError):
        export_worklist(worklist().head(1), broken, "csv", tmp_path / "l.csv", VIEWS)
    with pytest.raises(ValueError, match="csv, coco, label-studio, cvat"):
        export_worklist(worklist(), picture, "yolo", tmp_path / "l.csv", VIEWS)
    assert (tmp_path / "l.csv").read_text() == before
    assert sorted(os.listdir(tmp_path)) == ["l.csv", "l_images"]
    assert len(os.listdir(tmp_path / "l_images")) == 4


@pytest.mark.parametrize(("answers", "classes"), [("class", VIEWS), ("mask", CHAMBERS)])
def test_label_studios_own_parser_takes_the_interface(tmp_path: Path, answers: Any, classes: list[str]) -> None:
    interfaces = pytest.importorskip("label_studio_sdk.label_interface")
    export_worklist(worklist(), picture, "label-studio", tmp_path / "list.json", classes, answers=answers)
    interface = interfaces.LabelInterface((tmp_path / "list_interface.xml").read_text(encoding="utf-8"))
    interface.validate()
    assert interface.get_control("label").labels == (classes if answers == "class" else classes[1:])
    assert all(interface.validate_task(task) for task in json.loads((tmp_path / "list.json").read_text()))
