"""COCO: images, categories and annotations in one JSON object (https://cocodataset.org/#format-data).

A category on an image is its class; a segmentation (polygons, or run lengths, compressed or not) is a region.
Images are identified by `file_name`, or by a `frame_id` of their own, which our worklists add.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.labels.formats.statement import (
    Reading,
    Region,
    Statement,
    UnusableLabel,
    check_size,
    polygons_to_pixels,
    utc,
)


def read(document: dict[str, Any]) -> Reading:
    """Statements of a COCO document, one per image that carries an annotation."""
    reading = Reading()
    names = {category.get("id"): str(category.get("name", "")) for category in document.get("categories", ())}
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in document["annotations"]:
        by_image[annotation.get("image_id")].append(annotation)
    info = document.get("info") if isinstance(document.get("info"), dict) else {}
    moment = utc((info or {}).get("date_created"))
    for image in document["images"]:
        if annotations := by_image.pop(image.get("id"), []):
            reading.statements.append(_statement(image, annotations, names, moment))
    reading.problems += [(f"image {key}", "is annotated, but the file does not list it") for key in by_image]
    return reading


def _statement(
    image: dict[str, Any], annotations: list[dict[str, Any]], names: dict[Any, str], moment: str | None
) -> Statement:
    """What the annotations of one image state. names: of the categories, by id."""
    file_name = str(image.get("file_name", ""))
    known = [a for a in annotations if a.get("category_id") in names]
    unknown = [a.get("category_id") for a in annotations if a.get("category_id") not in names]
    return Statement(
        item=f"image {image.get('id')} ({file_name})",
        names=tuple(str(name) for name in (image.get("frame_id"), file_name) if name),
        labels=tuple(names[a["category_id"]] for a in known),
        regions=tuple(
            Region(names[a["category_id"]], _Pixels(a["segmentation"], image)) for a in known if a.get("segmentation")
        ),
        recorded_at=moment,
        trouble=f"names a category that the file does not list: {unknown[0]}" if unknown else "",
    )


class _Pixels:
    """The pixels of one annotation, drawn when asked for."""

    def __init__(self, segmentation: Any, image: dict[str, Any]) -> None:
        self.segmentation = segmentation
        self.image = image

    def __call__(self) -> NDArray[np.bool_]:
        if isinstance(self.segmentation, list):
            return polygons_to_pixels(self.segmentation, *_size(self.image.get("height"), self.image.get("width")))
        return run_lengths_to_pixels(self.segmentation)


def _size(height: Any, width: Any) -> tuple[int, int]:
    if not isinstance(height, int | float) or not isinstance(width, int | float):
        raise UnusableLabel("has polygons, but no height and width to draw them in")
    return int(height), int(width)


def run_lengths_to_pixels(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """COCO run lengths, column by column, first of the outside.

    Parameters
    ----------
    segmentation : dict
        {"size": [h, w], "counts": [...] or, compressed, text}. `{"size": [2, 2], "counts": [1, 2, 1]}` is the lower left
        and the upper right pixel.

    Returns
    -------
    (h, w) bool

    Raises
    ------
    UnusableLabel
        Runs that do not add up to the size, or cannot be read.
    """
    from pycocotools import mask as coco

    try:
        height, width = map(int, segmentation["size"])
        check_size(height, width)
        counts = segmentation["counts"]
        if isinstance(counts, list):
            if min(counts, default=0) < 0 or sum(counts) != height * width:
                raise UnusableLabel(f"has run lengths that do not add up to its size, {height}x{width}")
            inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
            return inside.reshape(width, height).T
        return np.asarray(coco.decode({"size": [height, width], "counts": str(counts).encode("ascii")}), bool)
    except UnusableLabel:
        raise
    except Exception as error:
        raise UnusableLabel(f"has run lengths that cannot be read ({type(error).__name__}: {error})") from error
