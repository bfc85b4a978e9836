"""Pictures and videos for tests of the readers, made as they are written to disk."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (24, 32), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
SMOOTH = np.stack(
    [cv2.GaussianBlur(np.roll(cv2.resize(GREY, (96, 64)), 3 * shift, axis=1), (9, 9), 0) for shift in range(12)]
)


def saved(path: Path, image: NDArray[Any], **options: Any) -> str:
    Image.fromarray(image).save(path, **options)
    return str(path)


def video(path: Path, frames: NDArray[np.uint8], codec: str = "mpeg4", pixels: str = "yuv420p", **flags: Any) -> str:
    with av.open(str(path), "w", **flags) as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.bit_rate = 8_000_000
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(frame, format="gray" if frames.ndim == 3 else "rgb24"))
            )
        container.mux(stream.encode(None))
    return str(path)
