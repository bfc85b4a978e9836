"""Labels from CVAT's exports: the shapes are those it writes, the answers worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.frame_names import image_name
from enrich_assets.studies.labels import read_labels
from enrich_assets.studies.labels.formats.cvat import box_run_lengths_to_pixels
from enrich_assets.studies.labels.formats.statement import UnusableLabel
from enrich_assets_tests.studies.labels.made_exports import (
    CHAMBERS,
    FRAMES,
    LV,
    VIEWS,
    cvat,
    problems,
    write,
)


def test_cvat_tags(tmp_path: Path) -> None:
    images = f"""
      <image id="0" name="w_images/{image_name("s/c/0", 0)}" width="10" height="6">
        <tag label="A4C" source="manual"></tag></image>
      <image id="1" name="{image_name("s/c/1", 1)}" width="10" height="6"></image>
      <image id="2" name="elsewhere.png" width="10" height="6"><tag label="NT" source="manual"></tag></image>
    """
    meta = "<updated>2018-09-25 11:38:27.301183+03:00</updated><assignee><username>ana</username></assignee>"
    found = read_labels(write(tmp_path, "annotations.xml", cvat(images, meta)), "class", VIEWS, FRAMES)
    (row,) = found.labels.to_dict("records")
    assert (row["frame_id"], row["label"], row["author"]) == ("s/c/0", "A4C", "ana")
    assert row["recorded_at"] == "2018-09-25T08:38:27.301+00:00"
    assert problems(found) == {"image 2 (elsewhere.png)": "no frame goes by the name elsewhere.png"}


def test_cvat_masks_and_polygons_in_order_of_z(tmp_path: Path) -> None:
    """The mask: box at row 1, column 2, 4 rows of 7, runs row by row: 9 in, 1 out, 18 in. The polygon lies
    below it."""
    images = f"""
      <image id="0" name="{image_name("s/c/3")}" width="10" height="6">
        <mask label="LV" source="semi-auto" occluded="0" rle="0, 9, 1, 18" left="2" top="1" width="7"
              height="4" z_order="1"></mask>
        <polygon label="LA" source="manual" occluded="0" points="0.00,0.00;10.00,0.00;10.00,3.00;0.00,3.00"
                 z_order="0"></polygon>
      </image>
    """
    found = read_labels(write(tmp_path, "a.xml", cvat(images)), "mask", CHAMBERS, {"s/c/3": (6, 10)})
    expected = np.zeros((6, 10), np.uint8)
    expected[:3] = 2
    expected[LV] = 1
    assert np.array_equal(found.labels["mask"][0], expected)


def test_cvat_runs_may_stop_before_the_end_of_the_box_but_not_run_over(tmp_path: Path) -> None:
    assert box_run_lengths_to_pixels([1, 2], [0, 1, 2, 2], (2, 4)).tolist() == [[0, 0, 1, 0], [0, 1, 0, 0]]
    with pytest.raises(UnusableLabel, match="more pixels than its box"):
        box_run_lengths_to_pixels([1, 4], [0, 1, 2, 2], (2, 4))
    with pytest.raises(UnusableLabel, match="does not fit"):
        box_run_lengths_to_pixels([1], [0, 3, 2, 2], (2, 4))


def test_cvat_shapes_without_pixels_and_video_exports_are_refused(tmp_path: Path) -> None:
    box = f'<image id="0" name="{image_name("s/c/0")}" width="9" height="9"><box label="LV" xtl="0"/></image>'
    found = read_labels(write(tmp_path, "a.xml", cvat(box)), "mask", CHAMBERS, FRAMES)
    assert "kind box" in found.problems["reason"][0]
    video = write(tmp_path, "v.xml", cvat('<track id="0" label="LV"></track>'))
    with pytest.raises(UnreadableFile, match="CVAT for images"):
        read_labels(video, "mask", CHAMBERS)
