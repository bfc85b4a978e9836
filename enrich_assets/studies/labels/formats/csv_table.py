"""Labels in a CSV file: frame_id, then label or mask_path, and optionally author and recorded_at. Or the classifications that
LightlyStudio exports: file_path_abs, class_name, confidence, annotation_source; those with a confidence are a model's, and no labels.

A row without a label is one not labelled yet: so an exported worklist comes back half-filled without complaint.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies import addresses
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.labels.formats.statement import Reading, Shape, Statement, UnusableLabel, utc
from enrich_assets.studies.readers import read_mask, size_of_mask

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def read(text: str, path: str) -> Reading:
    """Statements of a CSV file, one per row that carries a label or a mask.

    Parameters
    ----------
    text : str
        Its content.
    path : str
        Where it lies; mask paths are relative to it.

    Raises
    ------
    UnreadableFile
        It has not the columns.
    """
    delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    columns = [(name or "").strip() for name in rows.fieldnames or ()]
    rows.fieldnames = columns
    if {"file_path_abs", "class_name"} <= set(columns):
        return Reading([one for row in rows for one in _of_lightly_studio(row, rows.line_num)])
    if "frame_id" not in columns or not {"label", "mask_path"} & set(columns):
        raise UnreadableFile(path, f"has the columns {', '.join(columns)}", "it needs frame_id, and label or mask_path")
    reading = Reading()
    for row in rows:
        value = {name: (row.get(name) or "").strip() for name in columns}
        label, mask_path = value.get("label", ""), value.get("mask_path", "")
        if not label and not mask_path:
            continue
        reading.statements.append(
            Statement(
                item=f"line {rows.line_num}",
                names=(of_cell(value["frame_id"]), value["frame_id"]),
                labels=(label,) if label else (),
                mask=_Mask(addresses.join(addresses.parent(path), mask_path)) if mask_path else None,
                author=value.get("author", ""),
                recorded_at=utc(value.get("recorded_at")),
            )
        )
    return reading


def _of_lightly_studio(row: dict[str, str | None], line: int) -> list[Statement]:
    label, confidence = (row.get("class_name") or "").strip(), (row.get("confidence") or "").strip()
    if not label or confidence:
        return []
    return [Statement(item=f"line {line}", names=(row.get("file_path_abs") or "",), labels=(label,))]


def as_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets a `'` before it (so does text that begins so)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def of_cell(text: str) -> str:
    """The text that `as_cell` made a cell of; any other as it is."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA) else text


class _Mask:
    """A mask file, read when asked for: the classes and the size it must have are known only then."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, classes: Sequence[str] | None, shape: Shape | None) -> NDArray[np.uint8]:
        try:
            return read_mask(self.path, classes, shape or size_of_mask(self.path))
        except UnreadableFile as refusal:
            raise UnusableLabel(str(refusal)) from refusal
