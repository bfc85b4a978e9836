"""Labels from Label Studio's exports: the shapes are those it writes, the answers worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from enrich_assets.studies.frame_names import image_name
from enrich_assets.studies.labels import read_labels
from enrich_assets.studies.labels.formats.label_studio import brush_to_pixels
from enrich_assets.studies.labels.formats.statement import UnusableLabel
from enrich_assets_tests.studies.labels.made_exports import (
    CHAMBERS,
    FRAMES,
    LV,
    VIEWS,
    given_labels,
    problems,
    write,
)

# Written by label_studio_sdk 2.1.2, converter.brush.mask2rle, for the mask LV above (255 inside).
BRUSH = [0, 0, 0, 240, 57, 27, 254, 47, 0, 195, 127, 246, 192, 39, 255, 140, 2, 255, 253, 176, 12, 55, 255, 108, 3,
         13, 255, 226, 176, 0]  # fmt: skip


def task(results: list[dict[str, Any]], data: dict[str, Any] | None = None, **annotation: Any) -> dict[str, Any]:
    """A task as the JSON export writes it."""
    image = {"to_name": "image", "from_name": "label", "image_rotation": 0, "original_width": 10, "original_height": 6}
    return {
        "id": 87,
        "annotations": [
            {
                "id": 22,
                "completed_by": 1,
                "result": [image | each for each in results],
                "was_cancelled": False,
                "created_at": "2024-01-30T02:40:43.893565Z",
                "updated_at": "2024-01-30T02:41:43.893578Z",
            }
            | annotation
        ],
        "file_upload": "1a2b3c4d-example.png",
        "drafts": [],
        "predictions": [],
        "data": data or {"image": "/data/local-files/?d=w_images/000000_-s_2fc_2f1.png", "frame_id": "s/c/1"},
        "meta": {},
    }


def choice(*names: str) -> dict[str, Any]:
    return {"type": "choices", "value": {"choices": list(names)}}


def test_label_studio_choices_with_annotator_and_time(tmp_path: Path) -> None:
    who = {"id": 3, "email": "ana@example.org"}
    path = write(tmp_path, "export.json", [task([choice("A4C")], completed_by=who)])
    found = read_labels(path, "class", VIEWS, FRAMES)
    (row,) = found.labels.to_dict("records")
    assert (row["frame_id"], row["label"], row["author"]) == ("s/c/1", "A4C", "ana@example.org")
    assert row["recorded_at"] == "2024-01-30T02:41:43.893+00:00"


def test_label_studio_annotators_who_disagree_are_reported_and_those_who_agree_count_once(tmp_path: Path) -> None:
    first, second = task([choice("A4C")]), task([choice("NT")], completed_by=2)
    first["annotations"] += second["annotations"]
    agreed = task([choice("NT")], {"image": "/data/upload/1/0badcafe-" + image_name("s/c/2", 4)})
    agreed["annotations"] *= 2
    found = read_labels(write(tmp_path, "e.json", [first, agreed]), "class", VIEWS, FRAMES)
    assert given_labels(found) == {"s/c/2": "NT"}
    assert problems(found) == {"s/c/1": "is labelled differently in one file: A4C by 1, NT by 2; keep one"}


def test_label_studio_skipped_and_untouched_tasks(tmp_path: Path) -> None:
    untouched = task([]) | {"annotations": []}
    path = write(tmp_path, "e.json", [task([], was_cancelled=True), untouched])
    found = read_labels(path, "class", VIEWS, FRAMES)
    assert problems(found) == {"task 87": "was skipped by annotator 1"}


def test_label_studio_brush_and_polygon(tmp_path: Path) -> None:
    """The polygon, in per cent, is the box of rows 0-2, columns 0-4; it was drawn last and covers the
    brush."""
    results = [
        {"type": "brushlabels", "value": {"format": "rle", "rle": BRUSH, "brushlabels": ["LV"]}},
        {"type": "polygonlabels", "value": {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "polygonlabels": ["LA"]}},
    ]
    found = read_labels(write(tmp_path, "e.json", [task(results)]), "mask", CHAMBERS, {"s/c/1": (6, 10)})
    expected = LV.astype(np.uint8)
    expected[:3, :5] = 2
    assert np.array_equal(found.labels["mask"][0], expected)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"type": "brushlabels", "value": {"rle": BRUSH[:9], "brushlabels": ["LV"]}}, "cut short"),
        (
            {"type": "brushlabels", "value": {"rle": BRUSH, "brushlabels": ["LV"]}, "original_width": 11},
            "for 60 pixels",
        ),
        ({"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["LV"]}}, "kind rectanglelabels"),
        ({"type": "brushlabels", "value": {"rle": BRUSH, "brushlabels": ["LV"]}, "image_rotation": 90}, "rotated"),
    ],
)
def test_label_studio_regions_that_cannot_be_used_are_named(tmp_path: Path, result: Any, reason: str) -> None:
    found = read_labels(write(tmp_path, "e.json", [task([result])]), "mask", CHAMBERS, FRAMES)
    assert found.labels.empty
    assert reason in found.problems["reason"][0]


def test_label_studio_json_min(tmp_path: Path) -> None:
    brush = {"format": "rle", "rle": BRUSH, "brushlabels": ["LV"], "original_width": 10, "original_height": 6}
    common = {"id": 1, "annotator": 5, "annotation_id": 2, "updated_at": "2024-01-30T02:40:43Z", "lead_time": 8.65}
    minimal = [{"image": "x/" + image_name("s/c/0"), "frame_id": "s/c/0", "label": "NT", **common}]
    found = read_labels(write(tmp_path, "m.json", minimal), "class", VIEWS, FRAMES)
    assert given_labels(found) == {"s/c/0": "NT"}
    minimal = [{"image": "x/" + image_name("s/c/0"), "label": [brush], **common}]
    found = read_labels(write(tmp_path, "m.json", minimal), "mask", CHAMBERS, FRAMES)
    assert np.array_equal(found.labels["mask"][0], LV)


def test_brush_of_literal_and_repeated_runs() -> None:
    """The SDK's own example: 1 1 1 1 2 3 5 6 7 8 and eight 4s; as RGBA that is 4.5 pixels, so a size fits
    only if cut."""
    encoded = [0, 0, 0, 18, 57, 27, 252, 96, 32, 1, 0, 6, 0, 40, 0, 192, 3, 128, 17, 56, 32]
    with pytest.raises(UnusableLabel, match="for 4 pixels"):
        brush_to_pixels(encoded, 2, 2)
    assert np.array_equal(brush_to_pixels(BRUSH, 6, 10), LV)


def pack_brush(mask: NDArray[np.bool_]) -> list[int]:
    """A slow, separate encoder after @thi.ng/rle-pack, literal runs included."""
    values = np.repeat(mask.ravel().astype(int) * 255, 4)
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    at = 0
    while at < len(values):
        same = at + 1
        while same < len(values) and values[same] == values[at] and same - at < 200:
            same += 1
        if same - at <= 4 and at + 8 <= len(values):  # a literal run of eight
            bits += "000" + f"{7:03b}" + "".join(f"{v:08b}" for v in values[at : at + 8])
            at += 8
        else:
            bits += "110" + f"{same - at - 1:08b}" + f"{values[at]:08b}"
            at = same
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


MASKS = st.integers(1, 12).flatmap(
    lambda h: st.integers(1, 12).flatmap(
        lambda w: st.lists(st.booleans(), min_size=h * w, max_size=h * w).map(lambda v: np.array(v).reshape(h, w))
    )
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(MASKS)
def test_any_brush_is_decoded_to_its_pixels(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(brush_to_pixels(pack_brush(mask), *mask.shape), mask)
