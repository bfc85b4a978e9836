"""Labels from a table: its shape is ours or LightlyStudio's, the answers worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from enrich_assets.studies.frame_names import image_name
from enrich_assets.studies.labels import read_labels
from enrich_assets_tests.studies.labels.made_exports import (
    CHAMBERS,
    FRAMES,
    LV,
    VIEWS,
    given_labels,
    problems,
    write,
)


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
