"""How datasets are laid out for other programs: class folders (torchvision), COCO, YOLO (Ultralytics), MONAI's datalist, plain tables.

YOLO's polygons have no holes: a structure inside another one covers it there, and `frames.csv` names the whole mask beside.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.datasets.items import Item
from enrich_assets.studies.frame_names import image_name

UNLABELLED = "unlabelled"


class Layout:
    """Pictures in `images/`, masks in `masks/`, and nothing but the table (csv, parquet).

    Parameters
    ----------
    folder : Path
        Of the dataset.
    classes : list of str
        For masks in the order of the indices, background first.
    """

    def __init__(self, folder: Path, classes: list[str]) -> None:
        self.folder, self.classes = folder, classes

    def image_path(self, name: str, split: str, label: str | None) -> str:
        """Where a picture goes, below the folder."""
        return f"images/{name}"

    def mask_path(self, name: str, split: str) -> str | None:
        """Where a mask goes; None where the layout has no file of its own for it."""
        return f"masks/{name}"

    def add(self, number: int, item: Item, image: str, mask_file: str | None) -> None:
        """Hear of a frame whose picture (and mask) was written."""

    def close(self) -> None:
        """Write what is about all frames."""


class ClassFolders(Layout):
    """`train/<class>/<name>` for classes; `train/images/<name>` and `train/masks/<name>` for masks."""

    def image_path(self, name: str, split: str, label: str | None) -> str:
        if label is None and self.classes and self.classes[0] == "background":
            return f"{split}/images/{name}"
        return f"{split}/{_folder_name(label) if label is not None else UNLABELLED}/{name}"

    def mask_path(self, name: str, split: str) -> str | None:
        return f"{split}/masks/{name}"


class Coco(Layout):
    """`annotations.json` beside `images/`: a class is an annotation of the whole picture, a structure one with run lengths."""

    def __init__(self, folder: Path, classes: list[str]) -> None:
        super().__init__(folder, classes)
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, number: int, item: Item, image: str, mask_file: str | None) -> None:
        height, width = item.pixels.shape[:2]
        name = image.rpartition("/")[2]
        about = {"id": number + 1, "file_name": name, "height": height, "width": width}
        self.images.append({**about, "frame_id": item.frame_id, "split": item.split})
        if item.label is not None:
            box = [0, 0, width, height]
            self._annotate(number + 1, self.classes.index(item.label) + 1, bbox=box, area=height * width)
        if item.mask is not None:
            for code in range(1, len(self.classes)):
                if (item.mask == code).any():
                    self._annotate(number + 1, code, **_run_lengths(item.mask == code))

    def _annotate(self, image: int, category: int, **what: Any) -> None:
        about = {"id": len(self.annotations) + 1, "image_id": image, "category_id": category, "iscrowd": 0}
        self.annotations.append({**about, **what})

    def close(self) -> None:
        of_masks = bool(self.classes) and self.classes[0] == "background"
        named = self.classes[1:] if of_masks else self.classes
        categories = [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(named, start=1)]
        document = {"info": {}, "licenses": [], "images": self.images, "annotations": self.annotations}
        (self.folder / "annotations.json").write_text(
            json.dumps({**document, "categories": categories}), encoding="utf-8"
        )


class Yolo(ClassFolders):
    """Classes as folders; structures as polygons in `labels/<split>/`, with `data.yaml`."""

    def __init__(self, folder: Path, classes: list[str]) -> None:
        super().__init__(folder, classes)
        self.of_structures = bool(classes) and classes[0] == "background"

    def image_path(self, name: str, split: str, label: str | None) -> str:
        return f"images/{split}/{name}" if self.of_structures else super().image_path(name, split, label)

    def mask_path(self, name: str, split: str) -> str | None:
        return f"masks/{split}/{name}"

    def add(self, number: int, item: Item, image: str, mask_file: str | None) -> None:
        if item.mask is None:
            return
        lines = [
            " ".join([str(code - 1), *(f"{part:.6f}" for part in polygon)])
            for code in range(1, len(self.classes))
            for polygon in _polygons(item.mask == code)
        ]
        path = self.folder / "labels" / item.split / f"{image.rpartition('/')[2].removesuffix('.png')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def close(self) -> None:
        if not self.of_structures:
            return
        (self.folder / "images" / "test").mkdir(parents=True, exist_ok=True)
        names = "".join(f"  {code}: {json.dumps(name)}\n" for code, name in enumerate(self.classes[1:]))
        text = f"path: .\ntrain: images/train\nval: images/test\nnames:\n{names}"
        (self.folder / "data.yaml").write_text(text, encoding="utf-8")


class Monai(Layout):
    """`datalist.json`, as `monai.data.load_decathlon_datalist` reads it: `training` and `test`."""

    def __init__(self, folder: Path, classes: list[str]) -> None:
        super().__init__(folder, classes)
        self.lists: dict[str, list[dict[str, Any]]] = {"training": [], "test": []}

    def add(self, number: int, item: Item, image: str, mask_file: str | None) -> None:
        one: dict[str, Any] = {"image": image, "frame_id": item.frame_id}
        if mask_file is not None:
            one["label"] = mask_file
        elif item.label is not None:
            one["label"] = self.classes.index(item.label)
        self.lists["test" if item.split == "test" else "training"].append(one)

    def close(self) -> None:
        labels = {str(code): name for code, name in enumerate(self.classes)}
        counts = {"numTraining": len(self.lists["training"]), "numTest": len(self.lists["test"])}
        document = {"name": self.folder.name, "labels": labels, **counts, **self.lists}
        (self.folder / "datalist.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


LAYOUTS: dict[str, Callable[[Path, list[str]], Layout]] = {
    "csv": Layout,
    "parquet": Layout,
    "folder": ClassFolders,
    "coco": Coco,
    "yolo": Yolo,
    "monai": Monai,
}


def _folder_name(label: str) -> str:
    """A class as the name of a folder: as it is where that can be, else spelt as frames are."""
    plain = label.strip()
    if plain and plain not in (".", "..", UNLABELLED, "images", "masks") and not set(plain) & set('/\\:*?"<>|\0'):
        return plain
    return image_name(label).removesuffix(".png")


def _run_lengths(pixels: NDArray[np.bool_]) -> dict[str, Any]:
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    segmentation = {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}
    return {"segmentation": segmentation, "area": int(coco.area(encoded)), "bbox": coco.toBbox(encoded).tolist()}


def _polygons(pixels: NDArray[np.bool_]) -> list[list[float]]:
    """Outer outlines as x, y, x, y, ... in shares of width and height; of at least three points."""
    height, width = pixels.shape
    found, _ = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [outline.reshape(-1, 2) for outline in found]
    return [
        [part for x, y in outline for part in ((x + 0.5) / width, (y + 0.5) / height)]
        for outline in outlines
        if len(outline) >= 3
    ]
