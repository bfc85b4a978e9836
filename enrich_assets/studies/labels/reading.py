"""Labels from a file: CSV, COCO, Label Studio or CVAT, told apart by what is in it.

Here: which frame a statement speaks of, whether its class is known, what contradicts what. How each tool
writes things down stands in `label_formats`; what becomes of the labels is the store's affair. One wrong
label never stops the rest.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from enrich_assets.studies import addresses
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.frame_names import FrameNames
from enrich_assets.studies.labels.formats import coco, csv_table, cvat, label_studio
from enrich_assets.studies.labels.formats.statement import Reading, Shape, Statement, UnusableLabel, paint

COLUMNS = ("frame_id", "label", "mask", "source", "author", "recorded_at")
_FORMATS = "a CSV table, COCO JSON, a Label Studio JSON export or 'CVAT for images 1.1' are read"


@dataclass(frozen=True)
class LabelImport:
    """What a file said.

    labels: one row per frame: frame_id, label (None for masks), mask ((h, w) uint8 class indices, or None),
    source (the
        file), author ('' where unknown), recorded_at (ISO 8601 in UTC, or None where the file does not say).
    problems: item (where in the file, or which frame), reason.
    """

    labels: pd.DataFrame
    problems: pd.DataFrame


def read_labels(
    path: str,
    task_kind: str,
    classes: Sequence[str] | None,
    frames: Mapping[str, Shape | None] | Collection[str] | None = None,
) -> LabelImport:
    """Read a label file (or a zip that holds one), wherever fsspec reaches.

    task_kind: classification or segmentation. classes: the class names; for segmentation in the order of the
    indices, background first. None: any class goes. frames: the frames there are, with the size their masks
    must have where known. None: any frame_id is believed. Raises UnreadableFile when the file is none of the
    formats. Anything wrong with one image (unknown frame, unknown class, two labels that contradict each
    other) is a problem, and that image is left out.
    """
    found = _read(path)
    names = FrameNames(frames)
    sizes = frames if isinstance(frames, Mapping) else {}
    problems = list(found.problems)
    rows: dict[str, list[dict[str, Any]]] = {}
    for statement in found.statements:
        if not (statement.labels or statement.regions or statement.mask or statement.trouble):
            continue
        frame = names.find(statement.names)
        if frame is None:
            called = ", ".join(statement.names[:2]) or "nothing"
            problems.append((statement.item, f"no frame goes by the name {called}"))
            continue
        try:
            label, mask = _judge(statement, task_kind, classes, sizes.get(frame), problems)
        except UnusableLabel as refusal:
            problems.append((f"{statement.item}: {frame}", str(refusal)))
            continue
        if label is not None or mask is not None:
            row = {"frame_id": frame, "label": label, "mask": mask, "source": path, "author": statement.author}
            rows.setdefault(frame, []).append({**row, "recorded_at": statement.recorded_at})
    agreed = []
    for frame, said in rows.items():
        if all(_same(said[0], other) for other in said[1:]):
            agreed.append(said[-1])
        else:
            problems.append((frame, _contradiction(said)))
    return LabelImport(
        pd.DataFrame(agreed, columns=list(COLUMNS), dtype=object), pd.DataFrame(problems, columns=["item", "reason"])
    )


def _judge(
    statement: Statement,
    task_kind: str,
    classes: Sequence[str] | None,
    size: Shape | None,
    problems: list[tuple[str, str]],
) -> tuple[str | None, NDArray[np.uint8] | None]:
    """The class or the mask of one image; (None, None) where it has none of the kind. Raises
    UnusableLabel."""
    if task_kind == "classification":
        labels = list(dict.fromkeys(label.strip() for label in statement.labels))
        for label in labels:
            if classes is not None and label not in classes:
                known = ", ".join(classes)
                problems.append((statement.item, f"label {label!r} is no class of the task; the classes are {known}"))
        labels = [label for label in labels if classes is None or label in classes]
        if len(labels) > 1:
            raise UnusableLabel(f"carries {len(labels)} labels: {', '.join(labels)}")
        return (labels[0] if labels else None), None
    if statement.trouble:
        raise UnusableLabel(statement.trouble)
    if statement.mask is not None:
        mask = statement.mask(classes, size)
    elif statement.regions:
        mask = paint(statement.regions, classes or ["background", *dict.fromkeys(r.name for r in statement.regions)])
    else:
        return None, None
    if size is not None and mask.shape != tuple(size):
        raise UnusableLabel(f"has a mask of {mask.shape[0]}x{mask.shape[1]}, but the frame is {size[0]}x{size[1]}")
    return None, mask


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["mask"] is None or other["mask"] is None:
        return one["label"] == other["label"] and one["mask"] is other["mask"]
    return bool(np.array_equal(one["mask"], other["mask"]))


def _contradiction(said: list[dict[str, Any]]) -> str:
    by = [f" by {row['author']}" if row["author"] else "" for row in said]
    if said[0]["mask"] is not None:
        return f"has {len(said)} masks that differ ({', '.join(b.strip() or 'unsigned' for b in by)}); keep one"
    told = ", ".join(dict.fromkeys(f"{row['label']}{b}" for row, b in zip(said, by, strict=True)))
    return f"is labelled differently in one file: {told}; keep one"


def _read(path: str) -> Reading:
    with addresses.open_binary(path) as file:
        content = file.read()
    if content.startswith(b"PK\x03\x04"):
        content = _from_zip(content, path)
    text = content.decode("utf-8-sig", errors="replace")
    start = text.lstrip()[:1]
    try:
        if start == "<":
            root = ElementTree.fromstring(text)
            if root.tag == "annotations":
                return cvat.read(root, path)
        elif start in ("{", "["):
            document = json.loads(text)
            if isinstance(document, dict) and {"images", "annotations"} <= set(document):
                return coco.read(document)
            if isinstance(document, list) and all(isinstance(task, dict) for task in document):
                return label_studio.read(document)
        else:
            return csv_table.read(text, path)
    except (ElementTree.ParseError, json.JSONDecodeError) as error:
        raise UnreadableFile(path, f"is damaged ({error})", "export it again") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise UnreadableFile(path, f"is not built as its format says ({error!r})", _FORMATS) from error
    raise UnreadableFile(path, "is in no format we know", _FORMATS)


def _from_zip(content: bytes, path: str) -> bytes:
    """The one label file inside the zip that CVAT and Label Studio hand out with the images."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = [name for name in archive.namelist() if name.endswith((".xml", ".json", ".csv"))]
            if len(inside) == 1:
                return archive.read(inside[0])
    except zipfile.BadZipFile as error:
        raise UnreadableFile(path, f"is a damaged zip ({error})", "export it again") from error
    raise UnreadableFile(path, f"holds {len(inside)} files that could be labels", "unpack it and name the one")
