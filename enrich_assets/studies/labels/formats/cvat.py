"""CVAT for images 1.1: one XML file (https://docs.cvat.ai/docs/dataset_management/formats/format-cvat).

Classes come from tags, masks from mask (run lengths within a box) and polygon, painted in order of z_order.
Images are identified by their name. An export made for video (tracks) is refused: it does not name its frames.
"""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.labels.formats.statement import (
    Reading,
    Region,
    Statement,
    UnusableLabel,
    check_size,
    polygons_to_pixels,
    utc,
)

_OTHER_SHAPES = ("box", "polyline", "points", "cuboid", "ellipse", "skeleton")


def read(root: ElementTree.Element, path: str) -> Reading:
    """Statements of a CVAT document, one per image that carries a tag or a shape.

    Parameters
    ----------
    root : Element
        `<annotations>`.
    path : str
        For messages.

    Raises
    ------
    UnreadableFile
        It was exported for video.
    """
    if root.find("track") is not None:
        raise UnreadableFile(path, "was exported for video", "export it as 'CVAT for images 1.1'")
    reading = Reading()
    author = root.findtext("meta/task/assignee/username") or root.findtext("meta/job/assignee/username") or ""
    moment = utc(root.findtext("meta/task/updated") or root.findtext("meta/dumped"))
    for image in root.iter("image"):
        statement = _statement(image, author, moment)
        if not statement.is_blank:
            reading.statements.append(statement)
    return reading


def _statement(image: ElementTree.Element, author: str, moment: str | None) -> Statement:
    """What the tags and shapes of one image state."""
    name = image.get("name", "")
    shapes = [shape for shape in image if shape.tag in ("mask", "polygon")]
    shapes.sort(key=lambda shape: int(shape.get("z_order", "0")))  # stable: the later of equals is on top
    tags = tuple(tag.get("label", "") for tag in image.findall("tag"))
    other = next((shape.tag for shape in image if shape.tag in _OTHER_SHAPES), None)
    return Statement(
        item=f"image {image.get('id', '?')} ({name})",
        names=(name,),
        labels=tags,
        regions=tuple(Region(shape.get("label", ""), _Pixels(shape, image)) for shape in shapes),
        author=author,
        recorded_at=moment,
        trouble=f"has a shape of the kind {other}; mask and polygon are read" if other and not tags else "",
    )


class _Pixels:
    """The pixels of one shape, drawn when asked for."""

    def __init__(self, shape: ElementTree.Element, image: ElementTree.Element) -> None:
        self.shape = shape
        self.image = image

    def __call__(self) -> NDArray[np.bool_]:
        try:
            height, width = int(self.image.attrib["height"]), int(self.image.attrib["width"])
            check_size(height, width)
            if self.shape.tag == "polygon":
                points = [float(n) for point in self.shape.attrib["points"].split(";") for n in point.split(",")]
                return polygons_to_pixels([points], height, width)
            box = [int(float(self.shape.attrib[side])) for side in ("top", "left", "height", "width")]
            counts = [int(count) for count in self.shape.attrib["rle"].split(",") if count.strip()]
        except (KeyError, ValueError) as error:
            if isinstance(error, UnusableLabel):
                raise
            raise UnusableLabel(f"has a {self.shape.tag} that cannot be read ({error!r})") from error
        return box_run_lengths_to_pixels(counts, box, (height, width))


def box_run_lengths_to_pixels(counts: list[int], box: list[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """CVAT run lengths: row by row within a box, first of the outside.

    Parameters
    ----------
    counts : list of int
        What is left of the box after the last run is outside.
    box : list of int
        Top, left, height, width.
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    (h, w) bool

    Raises
    ------
    UnusableLabel
        Runs or box do not fit.
    """
    top, left, height, width = box
    if min(top, left, *counts, 0) < 0 or top + height > shape[0] or left + width > shape[1]:
        raise UnusableLabel(f"has a mask that does not fit into its image, {shape[0]}x{shape[1]}")
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    if len(inside) > height * width:
        raise UnusableLabel("has a mask with more pixels than its box")
    boxed = np.zeros(height * width, bool)
    boxed[: len(inside)] = inside
    pixels = np.zeros(shape, bool)
    pixels[top : top + height, left : left + width] = boxed.reshape(height, width)
    return pixels
