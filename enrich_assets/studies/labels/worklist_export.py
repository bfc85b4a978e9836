"""A worklist for a labelling tool: its images in a folder, and a file that the tool imports.

Here: writing CSV, COCO, Label Studio tasks and CVAT XML so that what the tool exports afterwards comes back through
`reading` to the same frames. Which frames stand on the list is decided elsewhere.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.studies.frame_names import image_name
from enrich_assets.studies.labels.formats.csv_table import as_cell
from enrich_assets.studies.labels.formats.statement import Answers

FORMATS = ("csv", "coco", "label-studio", "cvat")
DETAILS = ("similarity_to_labelled", "nearest_labelled_id", "patient_id", "clip_id")


def export_worklist(
    rows: pd.DataFrame,
    images: Callable[[str], NDArray[np.uint8]],
    format: str,
    out: str | Path,
    classes: Sequence[str],
    *,
    answers: Answers = "class",
    image_url: str = "/data/local-files/?d=",
) -> Path:
    """Write the file `out` and, beside it, the folder `<stem>_images` with a PNG per frame.

    Parameters
    ----------
    rows : DataFrame
        position, frame_id, and of `similarity_to_labelled`, `nearest_labelled_id`, `patient_id`, `clip_id` those known.
    images : callable
        frame_id -> (h, w) or (h, w, 3) uint8; masks come back in this size.
    format : {'csv', 'coco', 'label-studio', 'cvat'}
        For Label Studio, a labelling interface for the task goes into `<stem>_interface.xml`. For CVAT, its labels go into
        `<stem>_labels.json` (for the Raw tab of its constructor), and file and images into `<stem>_dataset.zip` as well, laid out as
        CVAT's importer wants them.
    out : path
        An earlier export of the same name is replaced; the file appears last and whole.
    classes : sequence of str
        For masks in the order of the indices, background first (which no tool gets to see).
    answers : {'class', 'mask'}
        What the task asks of an image.
    image_url : str
        Label Studio only: what stands before `<folder>/<name>` (its local file storage, or a web address).

    Returns
    -------
    Path
        The folder of the images.

    Raises
    ------
    ValueError
        Another format.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown worklist format {format!r}; there are {', '.join(FORMATS)}")
    target = Path(out).absolute()
    folder = target.with_name(f"{target.stem}_images")
    target.parent.mkdir(parents=True, exist_ok=True)
    tasks = rows.sort_values("position").to_dict("records")
    _write_images(tasks, images, folder)
    named = list(classes[1:] if answers == "mask" else classes)
    if format == "csv":
        _write(target, _csv(tasks, answers))
    elif format == "coco":
        _write(target, _coco(tasks, named))
    elif format == "label-studio":
        _write(target.with_name(f"{target.stem}_interface.xml"), _interface(named, answers))
        _write(target, _label_studio(tasks, image_url))
    else:
        _write(target.with_name(f"{target.stem}_labels.json"), _cvat_labels(named, answers))
        _write(target, _cvat(tasks, named, answers))
        _zip(target.with_name(f"{target.stem}_dataset.zip"), target, folder)
    return folder


def _write_images(tasks: list[dict[Any, Any]], images: Callable[[str], NDArray[np.uint8]], folder: Path) -> None:
    """A PNG per task into `folder`, whole or not at all; name, address and size of each are added to its task."""
    building = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    building.mkdir()
    try:
        for task in tasks:
            task["name"] = image_name(str(task["frame_id"]), int(task["position"]))
            task["image"] = f"{folder.name}/{task['name']}"
            pixels = images(str(task["frame_id"]))
            task["height"], task["width"] = pixels.shape[:2]
            Image.fromarray(pixels).save(building / task["name"], compress_level=1)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _details(task: dict[str, Any]) -> dict[str, Any]:
    """Why the frame stands on the list; what is unknown is left out."""
    return {key: task[key] for key in DETAILS if key in task and not pd.isna(task[key])}


def _csv(tasks: list[dict[str, Any]], answers: Answers) -> str:
    to_fill_in = "label" if answers == "class" else "mask_path"
    columns = ["position", "frame_id", to_fill_in, "author", "recorded_at", "image", *DETAILS]
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, columns, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    for task in tasks:
        known = {key: task[key] for key in ("position", "frame_id", "image")}
        table.writerow({name: as_cell(value) for name, value in {**known, **_details(task)}.items()})
    return buffer.getvalue()


def _coco(tasks: list[dict[str, Any]], names: list[str]) -> str:
    images = [
        {
            "id": number,
            "file_name": task["name"],
            "height": task["height"],
            "width": task["width"],
            "frame_id": task["frame_id"],
            "position": task["position"],
            **_details(task),
        }
        for number, task in enumerate(tasks, start=1)
    ]
    categories = [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(names, start=1)]
    return json.dumps(
        {"info": {}, "licenses": [], "images": images, "annotations": [], "categories": categories}, indent=1
    )


def _label_studio(tasks: list[dict[str, Any]], image_url: str) -> str:
    return json.dumps(
        [
            {
                "data": {
                    "image": image_url + quote(task["image"]),
                    "frame_id": task["frame_id"],
                    "position": task["position"],
                    **_details(task),
                }
            }
            for task in tasks
        ],
        indent=1,
    )


def _interface(names: list[str], answers: Answers) -> str:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
    if answers == "class":
        choices = ElementTree.SubElement(
            view, "Choices", name="label", toName="image", choice="single", required="true"
        )
        for name in names:
            ElementTree.SubElement(choices, "Choice", value=name)
    else:
        brushes = ElementTree.SubElement(view, "BrushLabels", name="label", toName="image")
        for name in names:
            ElementTree.SubElement(brushes, "Label", value=name)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"  # its parser refuses text that declares an encoding


def _cvat_labels(names: list[str], answers: Answers) -> str:
    kind = "tag" if answers == "class" else "mask"
    return json.dumps([{"name": name, "type": kind, "attributes": []} for name in names], indent=1) + "\n"


def _cvat(tasks: list[dict[str, Any]], names: list[str], answers: Answers) -> str:
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task_element = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task_element, "size").text = str(len(tasks))
    ElementTree.SubElement(task_element, "mode").text = "annotation"
    labels = ElementTree.SubElement(task_element, "labels")
    for name in names:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "type").text = "tag" if answers == "class" else "mask"
        ElementTree.SubElement(label, "attributes")
    for number, task in enumerate(tasks):
        given = {"id": number, "name": task["name"], "width": task["width"], "height": task["height"]}
        details = {"frame_id": task["frame_id"], "position": task["position"], **_details(task)}
        ElementTree.SubElement(root, "image", {key: str(value) for key, value in {**given, **details}.items()})
    return _xml(root)


def _zip(path: Path, annotations: Path, images: Path) -> None:
    """`annotations.xml` and `images/` in one file; PNG is not packed once more."""
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(part, "w") as file:
            file.write(annotations, "annotations.xml", zipfile.ZIP_DEFLATED)
            for image in sorted(images.iterdir()):
                file.write(image, f"images/{image.name}")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _xml(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
