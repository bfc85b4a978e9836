"""Labels from the exports of labelling tools: the shapes are those the tools write, the answers worked by
hand."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.frame_names import FrameNames, image_name
from enrich_assets.studies.labels import LabelImport, read_labels
from enrich_assets.studies.labels.formats.cvat import box_run_lengths_to_pixels
from enrich_assets.studies.labels.formats.label_studio import brush_to_pixels
from enrich_assets.studies.labels.formats.statement import UnusableLabel, polygons_to_pixels, utc

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


# --- CSV ----------------------------------------------------------------------------------------------------


def test_csv_labels_with_author_and_time(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "labels.csv",
        "frame_id,label,author,recorded_at\ns/c/0,A4C,Ana,2026-01-02 03:04:05+01:00\ns/c/1, NT ,,\ns/c/2,,,\n",
    )
    found = read_labels(path, "class", VIEWS, FRAMES)
    assert found.labels.drop(columns="mask").to_dict("records") == [
        {
            "frame_id": "s/c/0",
            "label": "A4C",
            "source": path,
            "author": "Ana",
            "recorded_at": "2026-01-02T02:04:05.000+00:00",
        },
        {"frame_id": "s/c/1", "label": "NT", "source": path, "author": "", "recorded_at": None},
    ]
    assert found.problems.empty


def test_classifications_of_lightly_studio_without_what_a_model_answered(tmp_path: Path) -> None:
    at = {frame: f"/home/explore/view/dataset/images/{image_name(frame, 7)}" for frame in FRAMES}
    lines = [
        "file_path_abs,class_name,confidence,annotation_source",
        f"{at['s/c/0']},A4C,,labels",
        f"{at['s/c/0']},NT,0.91,model enrich 250 seed 0",
        f"{at['s/c/1']},NT,,mine",
        f"{at['s/c/2']},NT,0.6,model enrich 250 seed 0",
        "/elsewhere/x.png,NT,,mine",
    ]
    found = read_labels(write(tmp_path, "classification_export.csv", "\n".join(lines)), "class", VIEWS, FRAMES)
    assert given_labels(found) == {"s/c/0": "A4C", "s/c/1": "NT"}
    assert problems(found) == {"line 6": "no frame goes by the name /elsewhere/x.png"}


def test_what_is_wrong_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "labels.csv",
        "frame_id;label;author\ns/c/0;A4C;Ana\ns/c/0;NT;Ben\ns/c/1;a4c;\ns/c/9;NT;\ns/c/2;NT;\ns/c/2;NT;\n",
    )
    found = read_labels(path, "class", VIEWS, FRAMES)
    assert given_labels(found) == {"s/c/2": "NT"}
    reason = problems(found)
    assert reason["s/c/0"] == "is labelled differently in one file: A4C by Ana, NT by Ben; keep one"
    assert "'a4c' is no class" in reason["line 4"]
    assert "no frame goes by the name s/c/9" in reason["line 5"]
    assert len(reason) == 3


def test_csv_masks_are_read_beside_the_table_and_held_to_the_size_of_the_frame(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.fromarray(LV.astype(np.uint8) * 2).save(tmp_path / "masks/0.png")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "masks/small.png")
    path = write(
        tmp_path, "l.csv", "frame_id,mask_path\ns/c/0,masks/0.png\ns/c/1,masks/small.png\ns/c/2,masks/gone.png\n"
    )
    found = read_labels(path, "mask", CHAMBERS, dict.fromkeys(FRAMES, (6, 10)))
    assert found.labels.frame_id.tolist() == ["s/c/0"]
    assert np.array_equal(found.labels["mask"][0], LV * 2)
    assert found.labels["label"][0] is None
    reason = problems(found)
    assert "3x3, but its image is 6x10" in reason["line 3: s/c/1"]
    assert "no such mask" in reason["line 4: s/c/2"]


# --- COCO ---------------------------------------------------------------------------------------------------


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


# --- Label Studio -------------------------------------------------------------------------------------------

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


# --- CVAT ---------------------------------------------------------------------------------------------------


def cvat(images: str, meta: str = "<updated>2018-09-25 11:38:27.301183+03:00</updated>") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><name>w</name>{meta}</task></meta>{images}</annotations>"
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


# --- files, names, regions ----------------------------------------------------------------------------------


def test_a_zip_with_one_label_file_is_read(tmp_path: Path) -> None:
    image = f'<image id="0" name="images/{image_name("s/c/0")}" width="9" height="9"><tag label="NT"/></image>'
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("annotations.xml", cvat(image))
        archive.writestr("images/x.png", b"")
    found = read_labels(str(tmp_path / "export.zip"), "class", VIEWS, FRAMES)
    assert given_labels(found) == {"s/c/0": "NT"}


def test_labels_are_read_from_any_fsspec_address() -> None:
    import fsspec

    with fsspec.open("memory://labels/l.csv", "w") as file:
        file.write("frame_id,label\ns/c/0,NT\n")
    assert given_labels(read_labels("memory://labels/l.csv", "class", VIEWS)) == {"s/c/0": "NT"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,b\n1,2\n", "needs frame_id"),
        ("<html></html>", "no format we know"),
        ("{}", "no format we know"),
        ('[{"id": 1,', "damaged"),
        ("<annotations>", "damaged"),
        ('{"images": [1], "annotations": [], "categories": []}', "not built as"),
        ('{"images": [], "annotations": 3}', "not built as"),
        ("PK\x03\x04 no zip", "damaged zip"),
    ],
)
def test_a_file_that_is_no_label_export_is_refused_by_name(tmp_path: Path, content: str, reason: str) -> None:
    path = write(tmp_path, "file", content)
    with pytest.raises(UnreadableFile, match=reason) as refusal:
        read_labels(path, "class", VIEWS)
    assert path in str(refusal.value)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12), st.integers(0, 10**6))
def test_a_frame_id_survives_in_the_name_of_its_image(study: str, clip: str, index: int) -> None:
    frame = f"{study.replace('/', '-')}/{clip.replace('/', '-')}/{index}"
    if not frame.isprintable():
        return
    for name in (image_name(frame), "w_images/" + image_name(frame, 12), "0badcafe-" + image_name(frame, 3)):
        assert FrameNames([frame]).find([name]) == frame
        if "badcafe" not in name or "_-" in name:
            assert FrameNames().find([name]) == frame
    assert all(c.isascii() and (c.isalnum() or c in "-_.") for c in image_name(frame))


def test_a_name_too_long_for_a_file_system_is_found_among_known_frames() -> None:
    frame = "s" * 300 + "/c/0"
    assert len(image_name(frame, 1)) < 200
    assert FrameNames([frame, "s/c/1"]).find([image_name(frame, 1)]) == frame
    assert FrameNames(["s/c/1"]).find([image_name(frame, 1)]) is None


def test_a_polygon_on_pixel_edges_covers_whole_pixels() -> None:
    expected = np.zeros((6, 10), bool)
    expected[1:4, 2:5] = True
    assert np.array_equal(polygons_to_pixels([[2, 1, 5, 1, 5, 4, 2, 4]], 6, 10), expected)


def test_moments_are_told_in_utc() -> None:
    assert utc("2024-01-30T02:40:43.893565Z") == "2024-01-30T02:40:43.893+00:00"
    assert utc("2024-01-30 02:40") == "2024-01-30T02:40:00.000+00:00"
    assert utc("yesterday") is None
    assert utc(None) is None
