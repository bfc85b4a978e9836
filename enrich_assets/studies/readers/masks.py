"""Segmentation masks: one image of class indices, or a folder with one binary image per class."""

from __future__ import annotations

import io
import os
import posixpath
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.studies import addresses
from enrich_assets.studies.contents import read_bytes
from enrich_assets.studies.decoding import Plane, read_mask_volume, refuse_absurd_size, suffix_of_volume
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.files import NotAFile
from enrich_assets.studies.isolation import isolated

R = TypeVar("R")

_MOST_UNNAMED = 63  # a greater index without a name is rather a grey value
_NEAR, _CLEAR_SHARE = 48, 0.97  # a JPEG counts as black and white if so many pixels lie so near to 0 or 255


def read_mask(
    path: str,
    classes: int | Sequence[str] | None,
    shape: tuple[int, int],
    *,
    page: int = 0,
    page_each: bool = False,
    plane: Plane = "stored",
) -> NDArray[np.uint8]:
    """Class indices of one frame.

    Parameters
    ----------
    path : str
        A single-channel PNG, TIFF or BMP whose values are the indices (a palette image counts by its indices; 255 stands
        for 1 where there are two classes), or a folder with one image per class, named after the class, where anything
        but 0 is inside; where two overlap, the class named later in `classes` is on top. A JPEG only of black and white,
        cut at the middle. Of a volume the slices count as pages.
    classes : int or sequence of str, optional
        Their names in the order of the indices, background first, or how many there are (a folder needs names). None: any
        index up to 63 will do, and black and white (0, 255) is background and one structure.
    shape : (int, int)
        Height and width of the frame.
    page : int
        The frame's index in its clip: of a file of several pages (or frames) that one is read.
    page_each : bool
        The mask stands for a whole clip of several frames, so it must have a page for each.
    plane : {'stored', 'axial', 'coronal', 'sagittal'}
        Of the slices of a volume, as its image's.

    Returns
    -------
    (h, w) uint8

    Raises
    ------
    UnreadableFile
        Names the file: another size, an unknown class, no readable image.
    """
    if addresses.is_folder(path):
        if classes is None or isinstance(classes, int):
            raise UnreadableFile(
                path, "is a folder of masks, but the classes have no names", "name them in the profile"
            )
        return _from_folder(path, classes, shape, page, page_each)
    mask = _read_indices(path, shape, page, page_each, plane)
    if classes is None:
        return _of_unnamed_classes(path, mask)
    return _of_known_classes(path, mask, classes if isinstance(classes, int) else len(classes))


def _of_unnamed_classes(path: str, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if mask.max(initial=0) == 255 and _is_black_and_white(mask):
        return (mask != 0).astype(np.uint8)
    if mask.max(initial=0) > _MOST_UNNAMED:
        raise UnreadableFile(
            path,
            f"holds values up to {mask.max()}, too many for class indices without names (0 to {_MOST_UNNAMED})",
            "save it without soft edges, as 0, 1, 2 ... or as 0 and 255, or name the classes in the profile",
        )
    return mask


def _of_known_classes(path: str, mask: NDArray[np.uint8], n_classes: int) -> NDArray[np.uint8]:
    if n_classes == 2 and _is_black_and_white(mask):
        return (mask != 0).astype(np.uint8)
    if mask.max(initial=0) >= n_classes:
        unknown = sorted({int(value) for value in np.unique(mask) if value >= n_classes})
        raise UnreadableFile(
            path,
            f"holds the class indices {unknown[:5]}, but the classes are 0 to {n_classes - 1}",
            "correct the mask (soft edges?), or name all classes in the profile",
        )
    return mask


def _is_black_and_white(mask: NDArray[np.uint8]) -> bool:
    return not np.isin(mask, (0, 255), invert=True).any()


def _from_folder(
    path: str, classes: Sequence[str], shape: tuple[int, int], page: int, page_each: bool
) -> NDArray[np.uint8]:
    index_of = {name.strip().casefold(): index for index, name in enumerate(classes)}
    files: dict[int, str] = {}
    for file in addresses.files_below(path):
        stem, suffix = posixpath.splitext(posixpath.basename(file))
        if stem.startswith(".") or suffix.lower() not in (".png", ".tif", ".tiff", ".bmp"):
            continue
        index = index_of.get(stem.strip().casefold())
        if index is None:
            raise UnreadableFile(
                file,
                "is named after no known class",
                f"the classes are {', '.join(classes)}; rename it or add the class",
            )
        files[index] = file
    if not files:
        raise UnreadableFile(path, "holds no mask", "put one PNG per class into it, named after the class")
    mask = np.zeros(shape, np.uint8)
    for index in sorted(files):
        mask[_read_indices(files[index], shape, page, page_each) != 0] = index
    return mask


def _read_indices(
    path: str, shape: tuple[int, int], page: int, page_each: bool, plane: Plane = "stored"
) -> NDArray[np.uint8]:
    """The values of a mask file: (h, w) uint8 in the size of its frame, not yet held against the classes."""
    pixels, is_jpeg = _read_page(path, page, page_each, plane)
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4) and (pixels[:, :, :3] == pixels[:, :, :1]).all():
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2:
        raise UnreadableFile(path, "is in colour", "a mask has one channel, whose values are the class indices")
    if is_jpeg:
        pixels = _black_and_white(path, pixels)
    if pixels.shape != tuple(shape):
        raise UnreadableFile(
            path,
            f"is {pixels.shape[0]}x{pixels.shape[1]}, but its image is {shape[0]}x{shape[1]}",
            "a mask must have its image's size",
        )
    if pixels.dtype != np.uint8:
        if pixels.dtype.kind not in "bui" or pixels.min(initial=0) < 0 or pixels.max(initial=0) > 255:
            raise UnreadableFile(path, "holds values that are no class index", "class indices are 0 to 255")
        pixels = pixels.astype(np.uint8)
    return pixels


def _read_page(path: str, page: int, page_each: bool, plane: Plane) -> tuple[NDArray[Any], bool]:
    """The pixels of a page as Pillow decodes them (a palette image yields its indices), and whether it is a JPEG."""
    if not addresses.exists(path):
        raise UnreadableFile(path, "there is no such mask", "export it again, or correct mask_path")
    return _apart(path, decode_page, page, page_each, plane)


def size_of_mask(path: str) -> tuple[int, int]:
    """Height and width of a mask, in pixels. Raises UnreadableFile."""
    return _apart(path, decode_size)


def _apart(path: str, function: Callable[..., R], *arguments: Any) -> R:
    """A function of a file that a child process decodes. Raises UnreadableFile, which names the file."""
    try:
        with addresses.at_hand(path) as place:
            return isolated(path, function, place, *arguments)
    except UnreadableFile as refusal:
        raise UnreadableFile(path, refusal.reason, refusal.remedy) from None
    except OSError as error:
        reason = error.reason if isinstance(error, NotAFile) else f"cannot be opened ({type(error).__name__})"
        raise UnreadableFile(path, reason, "export it again, or correct mask_path") from error


def decode_page(path: str, page: int, page_each: bool, plane: Plane) -> tuple[NDArray[Any], bool]:
    """What the child does: the pixels of a page, and whether it is a JPEG. Raises UnreadableFile."""
    try:
        if suffix_of_volume(path):
            slices = _slices_of(path, plane, _state_of(path))
            return slices[_page_of(path, len(slices), page, page_each)], False
        with Image.open(io.BytesIO(read_bytes(path))) as image:
            refuse_absurd_size(path, image.height, image.width, 1, len(image.getbands()))
            _turn_to_page(path, image, page, page_each)
            refuse_absurd_size(path, image.height, image.width, 1, len(image.getbands()))
            return np.asarray(image), image.format == "JPEG"
    except (UnreadableFile, MemoryError):
        raise
    except Exception as error:
        reason = f"does not decode as a mask ({type(error).__name__})"
    raise UnreadableFile(path, reason, "export it again, or correct mask_path")


def _state_of(path: str) -> tuple[int, ...] | None:
    """What changes with a file of this machine; None for a member of a zip, which is read each time."""
    if not os.path.isfile(path):
        return None
    state = os.stat(path)
    return state.st_ino, state.st_size, state.st_mtime_ns


@lru_cache(maxsize=1)
def _kept_slices(path: str, plane: Plane, state: tuple[int, ...]) -> NDArray[Any]:
    return read_mask_volume(path, read_bytes(path), plane)


def _slices_of(path: str, plane: Plane, state: tuple[int, ...] | None) -> NDArray[Any]:
    """All slices; the frames of a volume ask for them one after the other, so the last volume is kept. Raises UnreadableFile."""
    return read_mask_volume(path, read_bytes(path), plane) if state is None else _kept_slices(path, plane, state)


def decode_size(path: str) -> tuple[int, int]:
    """What the child does: height and width. Raises UnreadableFile."""
    try:
        if suffix_of_volume(path):
            height, width = read_mask_volume(path, read_bytes(path)).shape[1:]
            return int(height), int(width)
        with Image.open(io.BytesIO(read_bytes(path))) as image:
            return image.height, image.width
    except (UnreadableFile, MemoryError):
        raise
    except Exception as error:
        reason = f"cannot be read as a mask ({type(error).__name__})"
    raise UnreadableFile(path, reason, "export it again, or correct mask_path")


def _turn_to_page(path: str, image: Image.Image, page: int, page_each: bool) -> None:
    """Have Pillow stand at the frame's page; a file of one page is every frame's."""
    pages = getattr(image, "n_frames", 1)
    at = _page_of(path, pages, page, page_each)
    if pages > 1:
        image.seek(at)


def _page_of(path: str, pages: int, page: int, page_each: bool) -> int:
    """Which of so many pages is the frame's. Raises UnreadableFile."""
    if pages == 1 and page_each:
        raise UnreadableFile(
            path,
            "is one mask for a clip of several frames",
            "name its frame in frame_index, or save a page for each frame (TIFF)",
        )
    if pages == 1:
        return 0
    if page >= pages:
        raise UnreadableFile(
            path, f"has {pages} pages, none for frame {page}", "save a page for each frame, or one alone"
        )
    return page


def _black_and_white(path: str, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """A JPEG of two classes, with what compression left beside its edges cut at the middle. Raises UnreadableFile."""
    if float(((pixels <= _NEAR) | (pixels >= 255 - _NEAR)).mean()) < _CLEAR_SHARE:
        raise UnreadableFile(
            path, "is a JPEG of more than black and white, whose values compression has changed", "save masks as PNG"
        )
    return np.where(pixels > 127, 255, 0).astype(np.uint8)
