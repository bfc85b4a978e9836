"""Label Studio: its JSON export, and JSON-MIN (https://labelstud.io/guide/task_format).

Classes come from Choices, masks from BrushLabels (run lengths) and PolygonLabels (per cent of the image). A task's frame is
`data.frame_id`, which our worklists add, else the name of the image. What an annotator skipped is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich_assets.studies.labels.formats.statement import (
    SKIPPED,
    Reading,
    Region,
    Statement,
    UnusableLabel,
    check_size,
    polygons_to_pixels,
    utc,
)

# In JSON-MIN the labels stand beside the task's data; these keys are neither.
_BOOKKEEPING = {"id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time", "agreement"}


def read(tasks: list[dict[str, Any]]) -> Reading:
    """Statements of an export, one per annotation (several annotators make several of one frame)."""
    reading = Reading()
    for task in tasks:
        item = f"task {task.get('id', '?')}"
        if "data" not in task:
            reading.statements.append(_from_minimal(task, item))
            continue
        names = _names(task["data"], task.get("meta"), task.get("file_upload"))
        for annotation in task.get("annotations") or task.get("completions") or ():
            if annotation.get("was_cancelled"):
                reading.problems.append((item, f"{SKIPPED} by annotator {_author(annotation.get('completed_by'))}"))
                continue
            reading.statements.append(
                _statement(
                    item,
                    names,
                    annotation.get("result") or (),
                    _author(annotation.get("completed_by")),
                    annotation.get("updated_at") or annotation.get("created_at"),
                )
            )
    return reading


def _names(data: dict[str, Any], meta: Any, upload: Any) -> tuple[str, ...]:
    """What the image of a task goes by, the surest first."""
    given = [data.get("frame_id"), (meta or {}).get("frame_id") if isinstance(meta, dict) else None, data.get("image")]
    given += [value for key, value in data.items() if key not in ("frame_id", "image", "nearest_labelled_id")]
    return tuple(str(name) for name in [*given, upload] if isinstance(name, str) and name)


def _author(completed_by: Any) -> str:
    if isinstance(completed_by, dict):
        return str(completed_by.get("email") or completed_by.get("username") or completed_by.get("id") or "")
    return "" if completed_by is None else str(completed_by)


def _statement(
    item: str, names: tuple[str, ...], results: Sequence[dict[str, Any]], author: str, moment: Any
) -> Statement:
    labels: list[str] = []
    regions: list[Region] = []
    trouble = ""
    for result in results:
        kind, value = str(result.get("type", "")), result.get("value") or {}
        if kind == "choices":
            labels += map(str, value.get("choices", ()))
        elif "rle" in value or "points" in value:
            size = result.get("original_height"), result.get("original_width")
            if result.get("image_rotation"):
                trouble = "was rotated in the tool, and its regions with it; label it unrotated"
            regions += _regions(kind, value, size)
        elif kind.endswith("labels"):
            trouble = f"has a region of the kind {kind}; brush and polygon are read"
    return Statement(item, names, tuple(labels), tuple(regions), None, author, utc(moment), trouble)


def _from_minimal(task: dict[str, Any], item: str) -> Statement:
    """The statement of one task of JSON-MIN, where the labels stand beside the task's data."""
    labels: list[str] = []
    regions: list[Region] = []
    for key, value in task.items():
        if key in _BOOKKEEPING or key in ("frame_id", "image"):
            continue
        if isinstance(value, dict) and "choices" in value:
            labels += map(str, value["choices"])
        elif key in ("choice", "label", "class") and isinstance(value, str):
            labels.append(value)
        elif isinstance(value, list):
            for part in value:
                if isinstance(part, dict) and ("rle" in part or "points" in part):
                    size = part.get("original_height"), part.get("original_width")
                    regions += _regions("labels", part, size)
    names = _names({key: value for key, value in task.items() if key in ("frame_id", "image")}, None, None)
    return Statement(
        item, names, tuple(labels), tuple(regions), None, _author(task.get("annotator")), utc(task.get("updated_at"))
    )


def _regions(kind: str, value: dict[str, Any], size: tuple[Any, Any]) -> Iterator[Region]:
    named = next(
        (value[key] for key in (kind, "brushlabels", "polygonlabels", "labels") if value.get(key)), ["unnamed"]
    )
    for name in named:
        yield Region(str(name), _Pixels(value, size))


class _Pixels:
    """The pixels of one region, drawn when asked for."""

    def __init__(self, value: dict[str, Any], size: tuple[Any, Any]) -> None:
        self.value = value
        self.size = size

    def __call__(self) -> NDArray[np.bool_]:
        if not all(isinstance(side, int) for side in self.size):
            raise UnusableLabel("has a region, but not the size of its image")
        height, width = self.size
        check_size(height, width)
        if "rle" in self.value:
            return brush_to_pixels(self.value["rle"], height, width)
        flat = [number for x, y in self.value["points"] for number in (x * width / 100, y * height / 100)]
        return polygons_to_pixels([flat], height, width)


def brush_to_pixels(run_lengths: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """A brush's pixels from Label Studio's run lengths: RGBA of the whole image, whose alpha says where the brush was.

    Parameters
    ----------
    run_lengths : sequence of int
        Bytes.
    height, width : int
        Of the image.

    Returns
    -------
    (height, width) bool
        A brush with soft edges counts from half of its full alpha.

    Raises
    ------
    UnusableLabel
        It is cut short, or of another size.

    Notes
    -----
    The bit stream is that of @thi.ng/rle-pack: number of values (32 bits), word size - 1 (5), four length sizes - 1 (4
    each); then runs: repeated? (1), which length size (2), length - 1, and one value, or one for each.
    """
    bits = np.unpackbits(np.asarray(run_lengths, np.uint8))
    text = (bits + ord("0")).tobytes().decode("ascii")
    position = 0

    def take(count: int) -> int:
        nonlocal position
        if position + count > len(text):
            raise UnusableLabel("has a brush whose run lengths are cut short")
        position += count
        return int(text[position - count : position], 2)

    n = take(32)
    if n != height * width * 4:
        raise UnusableLabel(f"has a brush for {n // 4} pixels, but its image has {height}x{width}")
    word = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = np.zeros(n, np.uint32)
    start = 0
    while start < n:
        repeated = take(1)
        end = start + take(sizes[take(2)]) + 1
        if repeated:
            values[start:end] = take(word)
        else:
            for i in range(start, min(end, n)):
                values[i] = take(word)
        start = end
    alpha = values.reshape(height, width, 4)[:, :, 3]
    return alpha * 2 > alpha.max() if alpha.any() else np.zeros((height, width), bool)
