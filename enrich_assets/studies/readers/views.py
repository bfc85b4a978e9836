"""One file as the pictures of its frames: decoded, the asked frames chosen, each view cut and brought to its size.

What a child process does with a file (`studies.isolation`): only the small pictures come back. It is given no key: whatever of the header
would need one is thrown away here.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enrich_assets.method.images.cone import cone_mask
from enrich_assets.method.images.crop import Box, Crop, crop, window
from enrich_assets.method.images.resize import resize
from enrich_assets.studies.decoding import Clip, Plane
from enrich_assets.studies.decoding.burned_in import warning_of_text
from enrich_assets.studies.errors import UnreadableFile, listed
from enrich_assets.studies.pseudonyms import Pseudonyms
from enrich_assets.studies.readers.reading import read_clip

View = tuple[Crop, float, int]  # how it is cut, the share of the shorter side, the side in pixels
_FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class Wanted:
    """Which frames of a clip.

    Parameters
    ----------
    named
        Frame indices that the manifest names one by one.
    whole
        Whether it names the whole clip, too.
    stride
        Of the whole clip, each so manieth frame ...
    most
        ... and no more than so many of these.
    plane
        Of the slices of a volume.
    """

    named: tuple[int, ...]
    whole: bool
    stride: int = 1
    most: int | None = None
    plane: Plane = "stored"


@dataclass(frozen=True)
class Pictures:
    """The frames of a file in every view.

    Attributes
    ----------
    indices
        Of the frames in their clip.
    views
        Name -> (n, side, side) uint8.
    boxes
        Name -> where it was cut, in pixels of the file.
    height, width
        Of the file's frames, in pixels.
    warnings, actions
        As of a `Clip`.
    """

    indices: list[int]
    views: dict[str, NDArray[np.uint8]]
    boxes: dict[str, Box]
    height: int
    width: int
    warnings: list[str]
    actions: list[str]


def read_pictures(path: str, wanted: Wanted, views: Mapping[str, View]) -> Pictures:
    """Read a file as pictures.

    Parameters
    ----------
    path
        Where it lies.
    wanted
        Which frames.
    views
        How each picture of a frame is cut.

    Raises
    ------
    UnreadableFile
        It cannot be read, has not the frames, or cannot be cut so.
    """
    clip = read_clip(
        path, pseudonyms=Pseudonyms(secrets.token_bytes(32)), plane=wanted.plane
    )  # identifiers are of no use here
    positions, indices = _chosen(path, clip, wanted)
    pictures, boxes = _cut(path, clip, positions, views)
    height, width = clip.frames.shape[1:]
    text = warning_of_text(clip.frames)
    return Pictures(indices, pictures, boxes, height, width, clip.warnings + ([text] if text else []), clip.actions)


def read_frames(path: str, indices: Sequence[int], plane: Plane = "stored") -> list[NDArray[np.uint8]]:
    """Whole frames of a file, (height, width) each, by their index in it; the one of a still, whatever its index.

    Raises
    ------
    UnreadableFile
        It cannot be read, or has no such frame.
    """
    frames = read_clip(path, plane=plane).frames
    positions = [0 if len(frames) == 1 else index for index in indices]
    if max(positions, default=0) >= len(frames):
        raise UnreadableFile(path, f"has {len(frames)} frames, none of index {max(positions)}", "ingest it again")
    return [np.ascontiguousarray(frames[position]) for position in positions]


def _cut(
    path: str, clip: Clip, positions: list[int], views: Mapping[str, View]
) -> tuple[dict[str, NDArray[np.uint8]], dict[str, Box]]:
    """View -> the frames at these positions as the view shows them, and where it was cut. Raises UnreadableFile."""
    asked = any(crop_to == "cone" for crop_to, _, _ in views.values())
    cone = cone_mask(clip.frames) if asked else np.ones(clip.frames.shape[1:], bool)
    boxes = {view: window(cone, crop_to, share) for view, (crop_to, share, _) in views.items()}
    pictures = {view: np.empty((len(positions), side, side), np.uint8) for view, (_, _, side) in views.items()}
    try:
        for view, (_, _, side) in views.items():
            cut = crop(clip.frames, boxes[view])
            for start in range(0, len(positions), _FRAMES_AT_ONCE):
                some = slice(start, start + _FRAMES_AT_ONCE)
                pictures[view][some] = resize(cut[positions[some]], side)
        return pictures, boxes
    except ValueError as error:
        raise UnreadableFile(
            path, f"cannot be cut as the profile says: {error}", "choose another `crop`, or leave the file out"
        ) from error


def _chosen(path: str, clip: Clip, wanted: Wanted) -> tuple[list[int], list[int]]:
    """Positions in the file and frame indices in the clip. Frames named one by one are always taken."""
    n, named = len(clip.frames), list(wanted.named)
    if n == 1 and not clip.is_partial:  # a still: the manifest says which frame of its clip it is
        if len(named) > 1:
            raise UnreadableFile(
                path, f"is one picture, but the manifest names frames {listed(named)} of it", "correct frame_index"
            )
        return [0], [named[0] if named else 0]
    beyond = [index for index in named if not 0 <= index < n]
    if beyond:
        raise UnreadableFile(
            path, f"the manifest names frame {beyond[0]}, the clip has {n} frames (0 to {n - 1})", "correct frame_index"
        )
    if not wanted.whole:
        return named, named
    taken = list(range(0, n, wanted.stride))
    if wanted.most is not None and len(taken) > wanted.most:
        taken = [taken[round(i)] for i in np.linspace(0, len(taken) - 1, wanted.most)]
    both = sorted({*taken, *named})
    return both, both
