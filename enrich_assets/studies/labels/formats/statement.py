"""What an export states of one image, in the words all formats share, and how regions become a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

SKIPPED = "was skipped"  # how the reason begins where a labeller said nothing of an image
LARGEST_SIDE = 20_000  # pixels; a larger size in an export is a mistake or an attack

Shape: TypeAlias = tuple[int, int]
Answers: TypeAlias = Literal[
    "class", "mask"
]  # what a task asks of an image: the name of its class, or where things are


class UnusableLabel(ValueError):
    """One image's labels cannot be used; they are reported and the rest goes on."""


@dataclass(frozen=True)
class Region:
    """The pixels of one structure: its name, and what yields them as (h, w) bool."""

    name: str
    pixels: Callable[[], NDArray[np.bool_]]


@dataclass(frozen=True)
class Statement:
    """What a file records of one image.

    Attributes
    ----------
    item : str
        Where it stands in the file, for messages.
    names : tuple of str
        What it goes by, the surest first.
    labels : tuple of str
        Names of classes.
    regions : tuple of Region
        In the order in which they cover each other, the topmost last.
    mask : callable, optional
        A whole mask, where the format has one, given the class names and the expected size (None where unknown).
    author, recorded_at : str
        Who, and when (ISO 8601 in UTC, None where unknown).
    trouble : str
        What the format already found wrong with it.
    """

    item: str
    names: tuple[str, ...]
    labels: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    mask: Callable[[Sequence[str] | None, Shape | None], NDArray[np.uint8]] | None = None
    author: str = ""
    recorded_at: str | None = None
    trouble: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether it states nothing: an image not labelled yet."""
        return not (self.labels or self.regions or self.mask or self.trouble)


@dataclass
class Reading:
    """All that a format found in a file."""

    statements: list[Statement] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def paint(regions: Sequence[Region], classes: Sequence[str]) -> NDArray[np.uint8]:
    """A mask from regions, later ones over earlier ones.

    Parameters
    ----------
    regions : sequence of Region
        All of one size.
    classes : sequence of str
        In the order of the indices, background first.

    Returns
    -------
    (h, w) uint8
        Class indices, 0 where no region is.

    Raises
    ------
    UnusableLabel
        A name that is no class (leaving the region out would teach a wrong mask), or sizes that differ.
    """
    index = {name: i for i, name in enumerate(classes)}
    mask: NDArray[np.uint8] | None = None
    for region in regions:
        if region.name not in index:
            raise UnusableLabel(f"has a region of unknown class {region.name!r}; the classes are {', '.join(classes)}")
        pixels = region.pixels()
        if mask is None:
            mask = np.zeros(pixels.shape, np.uint8)
        if pixels.shape != mask.shape:
            raise UnusableLabel(f"has regions of different image sizes, {mask.shape} and {pixels.shape}")
        mask[pixels] = index[region.name]
    if mask is None:
        raise UnusableLabel("has no region")
    return mask


def polygons_to_pixels(polygons: Sequence[Sequence[float]], height: int, width: int) -> NDArray[np.bool_]:
    """The union of polygons, by COCO's own rule.

    Parameters
    ----------
    polygons : sequence of sequences of float
        Each x0, y0, x1, y1, ... in pixels.
    height, width : int
        Of the image.

    Returns
    -------
    (height, width) bool

    Raises
    ------
    UnusableLabel
        A polygon of fewer than three points, or an impossible size.
    """
    from pycocotools import mask as coco

    check_size(height, width)
    flat = [list(map(float, polygon)) for polygon in polygons]
    if not flat or any(len(polygon) < 6 or len(polygon) % 2 for polygon in flat):
        raise UnusableLabel("has a polygon of fewer than three points")
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(flat, height, width))), bool)


def check_size(height: int, width: int) -> None:
    """Raises UnusableLabel for a size that no image has, before memory is asked for."""
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise UnusableLabel(f"has an impossible size, {height}x{width}")


def utc(text: object) -> str | None:
    """The moment as ISO 8601 in UTC; one without a zone counts as UTC; None where there is none to be read."""
    if not isinstance(text, str) or not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip().replace(" ", "T", 1).replace("Z", "+00:00"))
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")
