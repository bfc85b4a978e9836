"""Text burned into pictures is warned of, where it stands and not what it says; a picture of speckle alone is not suspected."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.decoding import NotLookedFor
from enrich_assets.archive.ingest import ingest
from enrich_assets.studies.decoding import burned_in
from enrich_assets.studies.readers import Wanted, read_pictures
from enrich_assets_tests.defs.made_archive import make_cells, opened, write_stills
from enrich_assets_tests.studies.made_dicom import dataset, save, sector

needs_ocr = pytest.mark.skipif(
    not burned_in.can_look(), reason="the extra `ocr` is not installed (`.ci/run` installs it)"
)
NAMES = {
    "inside the cone": ("DOE JANE", (330, 300)),
    "at its edge": ("MUSTER ERIKA", (470, 520)),
    "a date": ("1970-01-02", (350, 250)),
}


def clip(text: str = "", at: tuple[int, int] = (0, 0), n: int = 3) -> NDArray[np.uint8]:
    frames = sector(n, height=600, width=800)
    frames = np.stack(
        [cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in frames]
    )  # as speckle is: grains of some pixels
    for frame in frames:
        cv2.putText(frame, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1, cv2.LINE_AA)
    return frames


@needs_ocr
@pytest.mark.parametrize("place", NAMES)
def test_a_name_is_warned_of_by_its_place_and_never_repeated(tmp_path: Path, place: str) -> None:
    text, (x, y) = NAMES[place]
    path = save(dataset(clip(text, (x, y)), modality="US"), tmp_path / "a.dcm")
    (warning,) = [w for w in read_pictures(path, Wanted((), whole=True), {}).warnings if "burned" in w]
    assert not [word for word in text.split() if word in warning]
    rows, columns = (
        tuple(map(int, part.split(" to "))) for part in warning.split("rows ")[1].split(":")[0].split(" and columns ")
    )
    assert rows[0] <= y - 5 <= rows[1]
    assert columns[0] <= x + 40 <= columns[1]


@needs_ocr
@pytest.mark.parametrize("text", ["", "10", "5 cm", "M3"])
def test_speckle_and_the_ticks_of_a_scale_are_not_suspected(text: str) -> None:
    assert burned_in.warning_of_text(clip(text, (350, 300))) is None


@needs_ocr
def test_the_warning_stands_in_the_table_of_clips(tmp_path: Path) -> None:
    folder = write_stills(tmp_path / "drop", [{"patient_id": p, "clip_id": p, "label": "NT"} for p in "ab"])
    Image.fromarray(clip("DOE JANE", (330, 300))[0]).save(folder / "i1.png")
    archive = opened(tmp_path / "home")
    ingest(archive, str(folder), "one")
    make_cells(archive, "one", "studies", "frames")
    clips = Catalogue(archive).frames(["one"]).clips.set_index("clip_id")["warnings"]
    assert clips["a/a"] == ""
    assert "text is burned into the picture" in clips["b/b"]


def test_where_nobody_can_look_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enrich_assets.studies.decoding.burned_in.can_look", lambda: False)
    archive = opened(tmp_path / "home")
    ingest(archive, str(write_stills(tmp_path / "drop", [{"patient_id": "a", "clip_id": "a", "label": "NT"}])), "one")
    with pytest.warns(NotLookedFor, match=r"was not looked for: `pip install 'enrich-assets\[ocr\]'`"):
        make_cells(archive, "one", "studies", "frames")
