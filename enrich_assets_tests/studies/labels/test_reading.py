"""Reading an export of labels: whichever format it is in, and whatever it is packed in. Not here: the formats."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.frame_names import image_name
from enrich_assets.studies.labels import read_labels
from enrich_assets_tests.studies.labels.made_exports import (
    FRAMES,
    VIEWS,
    cvat,
    given_labels,
    write,
)


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
