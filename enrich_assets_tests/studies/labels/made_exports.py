"""Exports of labelling tools for tests, and what was read of them. Not here: the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.labels import LabelImport

VIEWS = ["A4C", "NT"]
CHAMBERS = ["background", "LV", "LA"]
FRAMES = ["s/c/0", "s/c/1", "s/c/2", "s/c/3"]


def given_labels(found: LabelImport) -> dict[str, str]:
    return dict(zip(found.labels.frame_id, found.labels.label, strict=True))


def problems(found: LabelImport) -> dict[str, str]:
    return dict(zip(found.problems["item"], found.problems["reason"], strict=True))


def write(folder: Path, name: str, content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


# A mask of 6x10 whose LV is a box of rows 1-4, columns 2-8, with a hole at row 2, column 4.
LV: NDArray[np.bool_] = np.zeros((6, 10), bool)
LV[1:5, 2:9] = True
LV[2, 4] = False


def cvat(images: str, meta: str = "<updated>2018-09-25 11:38:27.301183+03:00</updated>") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><name>w</name>{meta}</task></meta>{images}</annotations>"
    )
