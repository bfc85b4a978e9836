"""A dataset in a folder: pictures, labels in the form of another program, a table of the frames, and where they came from.

Here: the pictures, the table, the notes, and that the folder appears whole or not at all. What each program wants is in `layouts`.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.parquet import to_parquet
from enrich_assets.studies.datasets import layouts
from enrich_assets.studies.datasets.items import Item

FORMATS = ("folder", "coco", "yolo", "csv", "parquet", "monai")


def write_dataset(
    items: Iterable[Item], format: str, out: Path, classes: Sequence[str], provenance: Mapping[str, Any], licence: str
) -> int:
    """Write a new folder.

    Parameters
    ----------
    items : iterable of Item
        All of classes, or all of masks.
    format : {'folder', 'coco', 'yolo', 'csv', 'parquet', 'monai'}
    out : Path
        The folder; it must not be there.
    classes : sequence of str
        For masks in the order of the indices, background first.
    provenance : mapping
        Goes into `PROVENANCE.json`.
    licence : str
        Goes into `LICENCE.txt`.

    Returns
    -------
    int
        How many frames it holds.

    Raises
    ------
    ValueError
        Another format.
    FileExistsError
        Something lies there already.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; there are {', '.join(FORMATS)}")
    if out.exists():
        raise FileExistsError(f"{out} is there already: name another place")
    out.parent.mkdir(parents=True, exist_ok=True)
    building = out.with_name(f".{out.name}-{uuid.uuid4().hex}")
    building.mkdir()
    try:
        n = _fill(building, items, format, list(classes))
        text = json.dumps(
            {**provenance, "format": format, "frames": n, "classes": list(classes)}, indent=1, default=str
        )
        (building / "PROVENANCE.json").write_text(text + "\n", encoding="utf-8")
        (building / "LICENCE.txt").write_text(licence.rstrip() + "\n", encoding="utf-8")
        os.replace(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return n


def _fill(folder: Path, items: Iterable[Item], format: str, classes: list[str]) -> int:
    """Pictures one after the other, so that memory does not depend on how many there are."""
    layout = layouts.LAYOUTS[format](folder, classes)
    rows: list[dict[str, Any]] = []
    for item in items:
        image = layout.image_path(item.name, item.split, item.label)
        _save(folder / image, item.pixels)
        row: dict[str, Any] = {
            "position": item.position,
            "frame_id": item.frame_id,
            "split": item.split,
            "image": image,
        }
        row |= {"label": item.label, "mask": None}
        if item.mask is not None and (mask := layout.mask_path(item.name, item.split)) is not None:
            _save(folder / mask, item.mask)
            row["mask"] = mask
        layout.add(len(rows), item, image, row["mask"])
        rows.append(row | dict(item.columns))
    layout.close()
    table = pd.DataFrame(rows)
    if format == "parquet":
        (folder / "frames.parquet").write_bytes(to_parquet(table))
    else:
        table.to_csv(folder / "frames.csv", index=False)
    return len(rows)


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
