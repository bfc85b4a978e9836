"""File names that carry a frame_id through a labelling tool and back.

A tool keeps little but the name of an image, and bends even that: it prefixes it, moves it to another folder, drops
characters. So the name holds the whole frame_id, spelt with characters that all of them keep.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Collection, Iterable
from urllib.parse import unquote

_KEPT = re.compile(rb"[A-Za-z0-9-]")
_LOOKS_LIKE_A_FRAME = re.compile(r"^[^/]+(/[^/]+)+/\d+$")
_BEFORE = "_-"  # never within a spelt name, where _ is always followed by two hex digits
# Longer names do not fit every file system; such a frame is found again only among known ones.
LONGEST = 180


def image_name(frame_id: str, position: int | None = None) -> str:
    """The name of a frame's PNG: letters, digits and - as they are, any other byte as _ and two hex digits.

    Parameters
    ----------
    frame_id : str
        `study/clip/index`.
    position : int, optional
        The name then begins with it, so that in a folder the images stand in the order of the worklist: `a/b_c/7` at
        position 3 is `000003_-a_2fb_5fc_2f7.png`.
    """
    stem = _spelt(frame_id)
    return f"{stem}.png" if position is None else f"{position:06d}_-{stem}.png"


def _spelt(frame_id: str) -> str:
    stem = "".join(chr(byte) if _KEPT.match(bytes([byte])) else f"_{byte:02x}" for byte in frame_id.encode("utf-8"))
    if len(stem) <= LONGEST:
        return stem
    return f"{stem[:100]}_x{hashlib.sha256(frame_id.encode()).hexdigest()[:32]}"


def _read(stem: str) -> str | None:
    """The frame_id that was spelt, or None where it was not spelt by `image_name`."""
    spelt = bytearray()
    rest = stem.encode("utf-8")
    while rest:
        if rest[:1] == b"_":
            try:
                spelt.append(int(rest[1:3], 16))
            except ValueError:
                return None
            rest = rest[3:]
        else:
            spelt += rest[:1]
            rest = rest[1:]
    try:
        return spelt.decode("utf-8")
    except UnicodeDecodeError:
        return None


class FrameNames:
    """Finds the frame that a name in a tool's export means.

    Parameters
    ----------
    frames : collection of str, optional
        The frames there are; without them any name that has the form of a frame_id is believed.
    """

    def __init__(self, frames: Collection[str] | None = None) -> None:
        self._frames = None if frames is None else set(frames)
        self._long = {_spelt(frame): frame for frame in self._frames or () if len(_spelt(frame)) > LONGEST - 50}

    def find(self, names: Iterable[str]) -> str | None:
        """The first frame that any of the names (a frame_id, a path, a URL) stands for."""
        for name in names:
            for candidate in self._readings(name):
                if candidate in self._frames if self._frames is not None else _LOOKS_LIKE_A_FRAME.match(candidate):
                    return candidate
        return None

    def _readings(self, name: str) -> Iterable[str]:
        yield name
        path = unquote(name.partition("?d=")[2] or name.partition("?")[0])
        stem = posixpath.splitext(posixpath.basename(path.replace("\\", "/")))[0]
        stem = stem.rpartition(_BEFORE)[2]
        for spelt in (stem, re.sub(r"^[0-9a-f]{8}-", "", stem)):  # Label Studio prefixes what is uploaded to it
            if spelt in self._long:
                yield self._long[spelt]
            read = _read(spelt)
            if read is not None:
                yield read
        yield posixpath.splitext(path)[0]
