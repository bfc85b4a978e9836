"""A mask's classes come out as they are, or it is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers import read_mask
from enrich_assets_tests.studies.readers.made_pictures import COLOUR, GREY, RNG, saved

CHAMBERS = ["background", "LV", "RV", "LA", "RA"]


def test_a_mask_is_its_class_indices_in_every_form(tmp_path: Path) -> None:
    mask = RNG.integers(0, 5, (24, 32), dtype=np.uint8)
    palette = Image.fromarray(mask, "P")
    palette.putpalette([9, 9, 9, 255, 0, 0, 0, 255, 0, 0, 0, 255, 7, 7, 7])
    palette.save(tmp_path / "p.png")
    paths = [saved(tmp_path / "a.png", mask), saved(tmp_path / "a.tif", mask), str(tmp_path / "p.png")]
    paths.append(saved(tmp_path / "w.png", mask.astype(np.uint16)))
    paths.append(saved(tmp_path / "rgb.png", np.dstack([mask] * 3)))
    for path in paths:
        assert np.array_equal(read_mask(path, CHAMBERS, (24, 32)), mask)


def test_black_and_white_stands_for_background_and_the_one_structure(tmp_path: Path) -> None:
    inside = GREY > 99
    for pixels in (inside, inside * np.uint8(255), inside * np.uint8(1)):
        assert np.array_equal(read_mask(saved(tmp_path / "m.png", pixels), 2, (24, 32)), inside)
        assert np.array_equal(read_mask(saved(tmp_path / "m.png", pixels), None, (24, 32)), inside)


def test_a_jpeg_of_black_and_white_is_cut_at_the_middle(tmp_path: Path) -> None:
    drawn = np.zeros((64, 96), np.uint8)
    drawn[16:48, 24:72] = 255
    path = saved(tmp_path / "m.jpg", drawn, quality=90)
    assert np.array_equal(read_mask(path, 2, drawn.shape), drawn // 255)
    assert np.array_equal(read_mask(path, None, drawn.shape), drawn // 255)


@pytest.mark.parametrize(
    ("name", "mask", "why"),
    [
        ("soft.png", cv2.GaussianBlur(np.eye(64, dtype=np.uint8) * 255, (9, 9), 0), "too many for class indices"),
        ("grey.png", np.where(np.eye(64) > 0, 127, 0).astype(np.uint8), "values up to 127"),
        (
            "three.jpg",
            np.repeat(np.uint8([0, 127, 255, 0]), 16)[:, None].repeat(64, axis=1),
            "more than black and white",
        ),
    ],
)
def test_a_mask_without_class_names_that_holds_grey_values_is_refused(
    tmp_path: Path, name: str, mask: NDArray[np.uint8], why: str
) -> None:
    with pytest.raises(UnreadableFile, match=why):
        read_mask(saved(tmp_path / name, mask), None, mask.shape)


def test_of_a_mask_with_pages_each_frame_has_its_own(tmp_path: Path) -> None:
    pages = [np.eye(8, k=k, dtype=np.uint8) for k in range(3)]
    Image.fromarray(pages[0]).save(
        tmp_path / "m.tif", save_all=True, append_images=[Image.fromarray(p) for p in pages[1:]]
    )
    for index, page in enumerate(pages):
        assert np.array_equal(read_mask(str(tmp_path / "m.tif"), 2, (8, 8), page=index, page_each=True), page)
    with pytest.raises(UnreadableFile, match="has 3 pages, none for frame 3"):
        read_mask(str(tmp_path / "m.tif"), 2, (8, 8), page=3)
    with pytest.raises(UnreadableFile, match="one mask for a clip of several frames"):
        read_mask(saved(tmp_path / "one.png", pages[0]), 2, (8, 8), page_each=True)


def test_a_folder_of_one_mask_per_class(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    left, upper = np.zeros((24, 32), np.uint8), np.zeros((24, 32), np.uint8)
    left[:, :10], upper[:8] = 255, 1
    saved(folder / "LV.png", left)
    saved(folder / "la.png", upper)
    mask = read_mask(str(folder), CHAMBERS, (24, 32))
    assert (mask[10:, :10] == 1).all()
    assert (mask[:8] == 3).all()  # named later, so on top
    assert (mask[8:, 10:] == 0).all()
    with pytest.raises(UnreadableFile, match="no names"):
        read_mask(str(folder), 5, (24, 32))
    saved(folder / "aorta.png", left)
    with pytest.raises(UnreadableFile, match=r"aorta\.png.*no known class.*LV"):
        read_mask(str(folder), CHAMBERS, (24, 32))


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((24, 32), 5, np.uint8), r"indices \[5\]"),
        (np.zeros((24, 33), np.uint8), "24x33"),
        (np.full((24, 32), 700, np.uint16), "no class index"),
        (COLOUR, "in colour"),
    ],
)
def test_a_mask_of_another_size_or_with_an_unknown_class_is_refused_by_name(
    tmp_path: Path, pixels: NDArray[Any], reason: str
) -> None:
    path = saved(tmp_path / "wrong.png", pixels)
    with pytest.raises(UnreadableFile, match=rf"wrong\.png: .*{reason}"):
        read_mask(path, CHAMBERS, (24, 32))


def test_a_missing_mask_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"none\.png: there is no such mask"):
        read_mask(str(tmp_path / "none.png"), 5, (24, 32))


@pytest.mark.realdata
def test_real_masks_read_with_their_classes(realdata: Path) -> None:
    found = set()
    for file in sorted((realdata / "ucsf_echo_views/masks").glob("*")):
        found |= set(np.unique(read_mask(str(file), 5, (256, 256))).tolist())
    assert found == {0, 1, 2, 3, 4}
