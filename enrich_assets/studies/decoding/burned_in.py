"""Text burned into pictures: looked for by an OCR library, where one is installed (the extra `ocr`), and never repeated.

Blanking outside the cone leaves what stands inside it and at its edge. What is found becomes a warning that says where it stands; what
it says may be a patient's name, and goes nowhere.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

LIBRARY = "rapidocr_onnxruntime"  # detector and reader (PP-OCRv4) lie in its wheel: nothing is downloaded
NOT_LOOKED_FOR = (
    "text burned into the pixels was not looked for: `pip install 'enrich-assets[ocr]'` does that from then on. Until then look at the "
    "pictures yourself before you hand them on"
)
_LOOKED_AT = 2  # frames of a clip: text stands still
_LONGER_SIDE = 640  # in which it is looked for, in pixels
_LEAST_CONFIDENCE = 0.6
_TELLING = re.compile(r"[^\W\d_]{3,}|(?:\d\W?){4,}")  # three letters, or four digits: no tick of a scale


def can_look() -> bool:
    """Whether the library is installed."""
    return find_spec(LIBRARY) is not None


def warning_of_text(frames: NDArray[np.uint8]) -> str | None:
    """What to warn of where text stands in a clip; None where none is seen, or nobody can look.

    Parameters
    ----------
    frames : (n, h, w) uint8
        As they are kept. A first and a middle one are looked at.
    """
    if not can_look():
        return None
    places = [place for at in sorted({0, len(frames) // 2})[:_LOOKED_AT] for place in _text_in(frames[at])]
    if not places:
        return None
    (top, left), (bottom, right) = np.min(places, axis=0)[:2], np.max(places, axis=0)[2:]
    return (
        f"text is burned into the picture, within rows {top} to {bottom} and columns {left} to {right}: see whether it names a "
        "patient, and blank it or leave the file out if it does"
    )


def _text_in(frame: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom, right of each piece of text that may tell something, in pixels."""
    found, _ = _reader()(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_GRAY2BGR), use_cls=False)
    boxes = []
    for corners, text, confidence in found or []:
        if float(confidence) >= _LEAST_CONFIDENCE and _TELLING.search(text):
            x, y = np.asarray(corners, float).T
            boxes.append((int(y.min()), int(x.min()), int(np.ceil(y.max())), int(np.ceil(x.max()))))
    return boxes


@cache
def _reader() -> Any:
    import logging

    from rapidocr_onnxruntime import RapidOCR

    logging.disable(logging.CRITICAL)  # in a child process: it would log what it reads
    one_thread = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
    return RapidOCR(det_limit_type="max", det_limit_side_len=_LONGER_SIDE, **one_thread)
