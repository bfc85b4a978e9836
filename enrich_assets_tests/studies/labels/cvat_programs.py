"""Run by the Python of .venv-cvat, never imported: datumaro (CVAT's importer is a copy of its plugin) and cvat-sdk (CVAT's own schema).

python cvat_programs.py read FOLDER           what the importer finds, as JSON
python cvat_programs.py label FOLDER OUT      each image labelled by its shade as FOLDER/answers.json says, and exported
python cvat_programs.py labels FILE           the labels as a server would take them; fails where the schema is broken
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def read(folder: str) -> list[dict[str, Any]]:
    """Each item: name, size, and its annotations as [kind, label, number of pixels]."""
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(folder, "cvat")
    names = [label.name for label in dataset.categories()[_label_kind()].items]
    return [
        {
            "name": item.id,
            "size": list(item.media.data.shape[:2]),
            "shade": int(item.media.data.max()),
            "annotations": [_described(annotation, names) for annotation in item.annotations],
            "labels": names,
        }
        for item in dataset
    ]


def _described(annotation: Any, names: list[str]) -> list[Any]:
    pixels = int(np.asarray(annotation.image).sum()) if annotation.type.name == "mask" else 0
    return [annotation.type.name, names[annotation.label], pixels]


def _label_kind() -> Any:
    from datumaro.components.annotation import AnnotationType

    return AnnotationType.label


def label(folder: str, out: str) -> None:
    """answers.json: shade -> [["tag", class] | ["mask", class, [top, left, bottom, right]] | ["polygon", class, [x, y, ...]]]."""
    from datumaro.components.annotation import Label, Mask, Polygon
    from datumaro.components.dataset import Dataset

    answers = json.loads((Path(folder) / "answers.json").read_text())
    dataset = Dataset.import_from(folder, "cvat")
    names = [one.name for one in dataset.categories()[_label_kind()].items]
    for item in dataset:
        picture = item.media.data
        for order, (kind, name, *where) in enumerate(answers[str(int(picture.max()))]):
            if kind == "tag":
                item.annotations.append(Label(names.index(name)))
            elif kind == "polygon":
                item.annotations.append(Polygon(where[0], label=names.index(name), z_order=order))
            else:
                top, left, bottom, right = where[0]
                mask = np.zeros(picture.shape[:2], np.uint8)
                mask[top:bottom, left:right] = 1
                item.annotations.append(Mask(mask, label=names.index(name), z_order=order))
        dataset.put(item)
    dataset.export(out, "cvat", save_media=True)


def labels(file: str) -> list[dict[str, Any]]:
    """Through the models that are generated from CVAT's OpenAPI schema: wrong types, kinds and lengths raise."""
    from cvat_sdk import models

    specification = models.TaskWriteRequest(
        name="worklist", labels=[models.PatchedLabelRequest(**one) for one in json.loads(Path(file).read_text())]
    )
    for one in specification.labels:
        models.LabelType(str(one.type))  # the schema's enumeration
    return [one.to_dict() for one in specification.labels]


if __name__ == "__main__":
    done = {"read": read, "label": label, "labels": labels}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(json.dumps(done, default=str))
