"""The identity of a picture: a digest of its pixels, which means the same on every machine and for ever."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def pixel_digest(frame: NDArray[np.uint8]) -> str:
    """sha256 in hex of one frame's height, width and bytes: bytes in another shape are another picture."""
    h, w = frame.shape
    digest = hashlib.sha256(f"{h}x{w}:".encode())
    digest.update(np.ascontiguousarray(frame, np.uint8).tobytes())
    return digest.hexdigest()


def pixel_digests(frames: NDArray[np.uint8]) -> list[str]:
    """`pixel_digest` of each frame of (n, h, w)."""
    return [pixel_digest(frame) for frame in frames]
