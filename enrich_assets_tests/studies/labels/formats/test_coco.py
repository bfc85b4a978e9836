"""Labels from COCO: the shapes are those the tools write, the answers worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from enrich_assets.studies.frame_names import image_name
from enrich_assets.studies.labels import read_labels
from enrich_assets_tests.studies.labels.made_exports import (
    CHAMBERS,
    FRAMES,
    LV,
    given_labels,
    write,
)


def coco(annotations: list[dict[str, Any]], **image: Any) -> dict[str, Any]:
    return {
        "info": {"date_created": "2026-03-04"},
        "categories": [{"id": 7, "name": "LV"}, {"id": 9, "name": "LA"}],
        "images": [{"id": 1, "file_name": image_name("s/c/1"), "height": 6, "width": 10} | image],
        "annotations": [{"id": i, "image_id": 1} | each for i, each in enumerate(annotations)],
    }


def counts(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's uncompressed run lengths: column by column, first of the outside."""
    flat = np.concatenate([[False], mask.T.ravel(), [not mask[-1, -1]]])
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(n) for n in np.diff(np.concatenate([[0], turns]))]


def test_coco_category_is_the_class(tmp_path: Path) -> None:
    path = write(tmp_path, "coco.json", coco([{"category_id": 7, "bbox": [0, 0, 10, 6]}, {"category_id": 7}]))
    found = read_labels(path, "class", ["LV", "LA"], FRAMES)
    assert given_labels(found) == {"s/c/1": "LV"}
    assert found.labels.recorded_at.tolist() == ["2026-03-04T00:00:00.000+00:00"]


def test_coco_two_categories_on_one_image_contradict(tmp_path: Path) -> None:
    path = write(tmp_path, "coco.json", coco([{"category_id": 7}, {"category_id": 9}]))
    found = read_labels(path, "class", ["LV", "LA"])
    assert found.labels.empty
    assert found.problems["reason"].tolist() == ["carries 2 labels: LV, LA"]


@pytest.mark.parametrize("packed", [False, True])
def test_coco_run_lengths_compressed_or_not(tmp_path: Path, packed: bool) -> None:
    from pycocotools import mask as coco_mask

    text = coco_mask.encode(np.asfortranarray(LV.astype(np.uint8)))["counts"].decode()
    segmentation = {"size": [6, 10], "counts": text if packed else counts(LV)}
    path = write(tmp_path, "c.json", coco([{"category_id": 9, "segmentation": segmentation}]))
    found = read_labels(path, "mask", CHAMBERS, {"s/c/1": (6, 10)})
    assert np.array_equal(found.labels["mask"][0], LV * 2)


def test_coco_polygons_are_painted_later_over_earlier(tmp_path: Path) -> None:
    """Two boxes: LV over columns 0-5, then LA over columns 4-9; they share columns 4 and 5."""
    parts = [
        {"category_id": 7, "segmentation": [[0, 0, 6, 0, 6, 6, 0, 6]]},
        {"category_id": 9, "segmentation": [[4, 0, 10, 0, 10, 6, 4, 6]]},
    ]
    found = read_labels(write(tmp_path, "c.json", coco(parts)), "mask", CHAMBERS)
    assert found.labels["mask"][0].tolist() == [[1] * 4 + [2] * 6] * 6


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"size": [6, 10], "counts": [5, 5]}, "do not add up"),
        ({"size": [6, 10], "counts": "%%%"}, "cannot be read"),
        ({"size": [6, 10**9], "counts": [1]}, "impossible size"),
        ([[0, 0, 1, 1]], "fewer than three points"),
        ({"counts": [60]}, "cannot be read"),
    ],
)
def test_coco_nonsense_is_reported_by_image(tmp_path: Path, segmentation: Any, reason: str) -> None:
    path = write(tmp_path, "c.json", coco([{"category_id": 7, "segmentation": segmentation}]))
    found = read_labels(path, "mask", CHAMBERS)
    assert found.labels.empty
    assert reason in found.problems["reason"][0]


def test_a_region_of_an_unknown_class_refuses_the_whole_mask(tmp_path: Path) -> None:
    parts = [{"category_id": c, "segmentation": {"size": [6, 10], "counts": counts(LV)}} for c in (7, 9)]
    found = read_labels(write(tmp_path, "c.json", coco(parts)), "mask", ["background", "LV"])
    assert found.labels.empty
    assert "unknown class 'LA'" in found.problems["reason"][0]
