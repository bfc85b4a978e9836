"""A still's pixels come out as they are, whatever file it is in."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.studies.decoding import read_still
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers import read_clip
from enrich_assets_tests.studies.readers.made_pictures import COLOUR, GREY, SMOOTH, saved


@settings(max_examples=40, deadline=None, derandomize=True)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_grey_png_comes_back_as_it_was(pixels: NDArray[np.uint8]) -> None:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    assert np.array_equal(read_still("a.png", out.getvalue()).frames, pixels[None])


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_colour_becomes_grey_by_opencvs_weights(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, COLOUR, **({"lossless": True} if name.endswith("webp") else {}))
    assert np.array_equal(read_clip(path).frames[0], cv2.cvtColor(COLOUR, cv2.COLOR_RGB2GRAY))


def test_jpeg_reads_close_to_what_was_saved(tmp_path: Path) -> None:
    frames = read_clip(saved(tmp_path / "a.jpg", SMOOTH[0], quality=98)).frames
    assert np.abs(frames[0].astype(int) - SMOOTH[0]).max() <= 4


def test_content_counts_not_the_suffix(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", GREY)
    Path(path).rename(tmp_path / "a.avi")
    assert np.array_equal(read_clip(str(tmp_path / "a.avi")).frames[0], GREY)


def test_palette_bilevel_and_transparent_images(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).quantize(16).save(tmp_path / "p.png")
    palette = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    assert np.array_equal(read_clip(str(tmp_path / "p.png")).frames[0], cv2.cvtColor(palette, cv2.COLOR_RGB2GRAY))
    assert set(np.unique(read_clip(saved(tmp_path / "b.png", GREY > 99)).frames)) == {0, 255}
    seen = np.dstack([COLOUR, np.where(GREY > 99, 255, 0).astype(np.uint8)])
    frame = read_clip(saved(tmp_path / "t.png", seen)).frames[0]
    assert (frame[GREY <= 99] == 0).all()  # hidden colours stay hidden
    assert np.array_equal(frame[GREY > 99], cv2.cvtColor(COLOUR, cv2.COLOR_RGB2GRAY)[GREY > 99])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_sixteen_bit_files_are_scaled_by_the_bits_they_use(tmp_path: Path, name: str, bits: int) -> None:
    pixels = np.linspace(0, (1 << bits) - 1, 24 * 32).astype(np.uint16).reshape(24, 32)
    frame = read_clip(saved(tmp_path / name, pixels)).frames[0]
    assert np.array_equal(frame, (pixels >> (bits - 8)).astype(np.uint8))


def test_float_tiff_is_a_share_or_is_stretched(tmp_path: Path) -> None:
    share = np.linspace(0, 1, 24 * 32, dtype=np.float32).reshape(24, 32)
    wanted = np.round(share * 255).astype(np.uint8)
    assert np.array_equal(read_clip(saved(tmp_path / "a.tif", share)).frames[0], wanted)
    stretched = read_clip(saved(tmp_path / "b.tif", share * 900 - 50)).frames[0]
    assert np.abs(stretched.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_pages_of_a_tiff_are_frames(tmp_path: Path, compression: str | None) -> None:
    pages = [Image.fromarray(frame) for frame in SMOOTH[:5]]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:], compression=compression)
    assert np.array_equal(read_clip(str(tmp_path / "a.tiff")).frames, SMOOTH[:5])


def test_a_tiff_whose_white_is_zero_comes_out_as_it_looks(tmp_path: Path) -> None:
    """A TIFF of 16 bits written by hand: no library here writes that kind."""
    truth = (GREY.astype(np.uint16) << 8) | GREY
    height, width = truth.shape
    tags = [(256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, 1), (262, 3, 0)]
    tags += [(273, 4, 8 + 2 + 12 * 9 + 4), (277, 3, 1), (278, 4, height), (279, 4, truth.nbytes)]
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags))
    head += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags) + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(head + (65535 - truth).astype("<u2").tobytes())
    assert np.array_equal(read_clip(str(tmp_path / "a.tif")).frames[0], GREY)


def test_a_colour_png_of_sixteen_bits_keeps_its_depth(tmp_path: Path) -> None:
    twelve = np.repeat(GREY.astype(np.uint16)[..., None] << 4, 3, axis=2)
    cv2.imwrite(str(tmp_path / "a.png"), twelve)
    assert np.abs(read_clip(str(tmp_path / "a.png")).frames[0].astype(int) - GREY).max() <= 1


def test_a_tiff_of_long_floats_is_read(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.tif"), GREY.astype(np.float64) / 255)
    assert np.array_equal(read_clip(str(tmp_path / "a.tif")).frames[0], GREY)


def test_the_thumbnail_before_a_tiffs_picture_is_left_out_and_told(tmp_path: Path) -> None:
    thumbnail, whole = Image.fromarray(GREY[::4, ::4]), Image.fromarray(GREY)
    thumbnail.save(tmp_path / "a.tif", save_all=True, append_images=[whole])
    clip = read_clip(str(tmp_path / "a.tif"))
    assert np.array_equal(clip.frames, GREY[None])
    assert clip.warnings == ["left out 1 pages of another size than the largest"]


def test_a_picture_taken_upside_down_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    path = saved(tmp_path / "a.png", GREY, exif=exif)
    assert np.array_equal(read_clip(path).frames[0], np.rot90(GREY, -1))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
def test_half_a_picture_is_refused_not_filled_up(tmp_path: Path, name: str) -> None:
    path = Path(saved(tmp_path / name, cv2.resize(COLOUR, (320, 240))))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableFile) as caught:
        read_clip(str(path))
    assert caught.value.path == str(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded() -> None:
    out = io.BytesIO()
    Image.new("1", (8, 8)).save(out, "PNG")
    content = bytearray(out.getvalue())
    content[16:24] = struct.pack(">II", 12_000, 12_000)  # width and height in the header, with its checksum
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(UnreadableFile, match=r"12000x12000|more pixels"):
        read_still("bomb.png", bytes(content))
