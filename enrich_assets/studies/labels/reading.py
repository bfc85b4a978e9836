"""Labels from a file: CSV, COCO, Label Studio or CVAT, recognised by what is in it.

Here: which frame a statement is about, whether its class is known, what contradicts what. How each tool writes things down
is in `formats`; what becomes of the labels is the store's affair. One wrong label never stops the rest.
"""

from __future__ import annotations

import difflib
import io
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring as safe_xml
from numpy.typing import NDArray

from enrich_assets.studies import addresses
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.frame_names import FrameNames
from enrich_assets.studies.labels.formats import coco, csv_table, cvat, label_studio
from enrich_assets.studies.labels.formats.statement import Answers, Reading, Shape, Statement, UnusableLabel, paint

COLUMNS = ("frame_id", "label", "mask", "source", "author", "recorded_at")
_FORMATS = "a CSV table, COCO JSON, a Label Studio JSON export, 'CVAT for images 1.1' or LightlyStudio's CSV are read"


@dataclass(frozen=True)
class LabelImport:
    """What a file holds.

    Attributes
    ----------
    labels : DataFrame
        One row per frame: frame_id, label (None for masks), mask ((h, w) uint8 class indices, or None), source (the file),
        author ('' where unknown), recorded_at (ISO 8601 in UTC, or None where the file does not state it).
    problems : DataFrame
        item (where in the file, or which frame), reason.
    """

    labels: pd.DataFrame
    problems: pd.DataFrame


def read_labels(
    path: str,
    answers: Answers,
    classes: Sequence[str] | None,
    frames: Mapping[str, Shape | None] | Collection[str] | None = None,
) -> LabelImport:
    """Read a label file (or a zip that holds one), wherever fsspec reaches.

    Parameters
    ----------
    path : str
        A local path or any fsspec URL.
    answers : {'class', 'mask'}
        What the task asks of an image.
    classes : sequence of str, optional
        The class names; for masks in the order of the indices, background first. None: any class goes.
    frames : mapping or collection of str, optional
        The frames there are, with the size their masks must have where known. None: any frame_id is believed.

    Raises
    ------
    UnreadableFile
        The file is none of the formats. Anything wrong with one image (unknown frame, unknown class, two labels that
        contradict each other) is a problem, and that image is left out.
    """
    reading = _read(path)
    names = FrameNames(frames)
    sizes = frames if isinstance(frames, Mapping) else {}
    problems = list(reading.problems)
    rows: dict[str, list[dict[str, Any]]] = {}
    for statement in reading.statements:
        if statement.is_blank:
            continue
        frame = names.find(statement.names)
        if frame is None:
            called = ", ".join(statement.names[:2]) or "nothing"
            problems.append((statement.item, f"no frame goes by the name {called}"))
            continue
        try:
            label, mask = None, None
            if answers == "class":
                label = _class_of(statement, classes, problems)
            else:
                mask = _mask_of(statement, classes, sizes.get(frame))
        except UnusableLabel as refusal:
            problems.append((f"{statement.item}: {frame}", str(refusal)))
            continue
        if label is not None or mask is not None:
            row = {"frame_id": frame, "label": label, "mask": mask, "source": path, "author": statement.author}
            rows.setdefault(frame, []).append({**row, "recorded_at": statement.recorded_at})
    labels = []
    for frame, candidates in rows.items():
        if all(_same(candidates[0], other) for other in candidates[1:]):
            labels.append(candidates[-1])
        else:
            problems.append((frame, _contradiction(candidates)))
    return LabelImport(
        pd.DataFrame(labels, columns=list(COLUMNS), dtype=object), pd.DataFrame(problems, columns=["item", "reason"])
    )


def _class_of(statement: Statement, classes: Sequence[str] | None, problems: list[tuple[str, str]]) -> str | None:
    """The class of one image, None where it has none; names that are no class are added to `problems`.

    Raises UnusableLabel where it has several.
    """
    labels = list(dict.fromkeys(label.strip() for label in statement.labels))
    if classes is not None:
        known = ", ".join(classes)
        problems += [
            (
                statement.item,
                f"label {label!r} is no class of the task; the classes are {known}{_meant(label, classes)}",
            )
            for label in labels
            if label not in classes
        ]
        labels = [label for label in labels if label in classes]
    if len(labels) > 1:
        raise UnusableLabel(f"carries {len(labels)} labels: {', '.join(labels)}")
    return labels[0] if labels else None


def _meant(label: str, classes: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(label, classes, 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _mask_of(statement: Statement, classes: Sequence[str] | None, size: Shape | None) -> NDArray[np.uint8] | None:
    """The mask of one image, (h, w) class indices; None where it has none. Raises UnusableLabel."""
    if statement.trouble:
        raise UnusableLabel(statement.trouble)
    if statement.mask is not None:
        mask = statement.mask(classes, size)
    elif statement.regions:
        mask = paint(statement.regions, classes or ["background", *dict.fromkeys(r.name for r in statement.regions)])
    else:
        return None
    if size is not None and mask.shape != tuple(size):
        raise UnusableLabel(f"has a mask of {mask.shape[0]}x{mask.shape[1]}, but the frame is {size[0]}x{size[1]}")
    return mask


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["mask"] is None or other["mask"] is None:
        return one["label"] == other["label"] and one["mask"] is other["mask"]
    return bool(np.array_equal(one["mask"], other["mask"]))


def _contradiction(rows: list[dict[str, Any]]) -> str:
    """Why the labels of one frame cannot all hold, with who gave which."""
    by = [f" by {row['author']}" if row["author"] else "" for row in rows]
    if rows[0]["mask"] is not None:
        return f"has {len(rows)} masks that differ ({', '.join(b.strip() or 'unsigned' for b in by)}); keep one"
    labels = ", ".join(dict.fromkeys(f"{row['label']}{b}" for row, b in zip(rows, by, strict=True)))
    return f"is labelled differently in one file: {labels}; keep one"


def _read(path: str) -> Reading:
    """The file's statements, by whichever format it is in."""
    with addresses.open_binary(path) as file:
        content = file.read()
    if content.startswith(b"PK\x03\x04"):
        content = _from_zip(content, path)
    text = content.decode("utf-8-sig", errors="replace")
    start = text.lstrip()[:1]
    try:
        if start == "<":
            root = safe_xml(text)
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
    except DefusedXmlException as error:
        raise UnreadableFile(path, "declares entities of its own, as no annotation tool does", _FORMATS) from error
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
