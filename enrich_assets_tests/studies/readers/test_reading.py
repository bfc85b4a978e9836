"""Whatever kind a file is of, its frames come out as they are, or it is refused by name."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from enrich_assets.studies.addresses import source_digest
from enrich_assets.studies.decoding import read_still
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers import read_clip, read_mask
from enrich_assets_tests.studies.made_dicom import as_bytes, dataset, sector

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (24, 32), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
SMOOTH = np.stack(
    [cv2.GaussianBlur(np.roll(cv2.resize(GREY, (96, 64)), 3 * shift, axis=1), (9, 9), 0) for shift in range(12)]
)


def saved(path: Path, image: NDArray[Any], **options: Any) -> str:
    Image.fromarray(image).save(path, **options)
    return str(path)


def video(path: Path, frames: NDArray[np.uint8], codec: str = "mpeg4", pixels: str = "yuv420p", **flags: Any) -> str:
    with av.open(str(path), "w", **flags) as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.bit_rate = 8_000_000
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(frame, format="gray" if frames.ndim == 3 else "rgb24"))
            )
        container.mux(stream.encode(None))
    return str(path)


# -- stills --------------------------------------------------------------------------------------------------


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


# -- videos --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mp4", "mpeg4", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mov", "mpeg4", "yuv420p"),
        ("a.mpeg", "mpeg2video", "yuv420p"),
        ("a.mkv", "ffv1", "gray"),
        ("a.avi", "rawvideo", "bgr24"),
    ],
)
def test_every_frame_of_a_video_comes_out_in_order_and_in_full_range(
    tmp_path: Path, name: str, codec: str, pixels: str
) -> None:
    clip = read_clip(video(tmp_path / name, SMOOTH, codec, pixels))
    assert clip.frames.shape == SMOOTH.shape
    difference = np.abs(clip.frames.astype(int) - SMOOTH)
    assert difference.mean() < 3
    assert difference.max() <= (0 if codec == "ffv1" else 40)
    assert clip.frame_times_ms is not None
    assert np.allclose(clip.frame_times_ms, np.arange(12) * 40)
    assert clip.warnings == []


def test_luma_agrees_with_opencv(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", SMOOTH)
    capture, theirs = cv2.VideoCapture(path), []
    while (read := capture.read())[0]:
        theirs.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY))
    assert np.abs(read_clip(path).frames.astype(int) - np.stack(theirs)).max() <= 3


@pytest.mark.parametrize(("matrix", "quarter_turns"), [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_a_video_filmed_sideways_is_turned(tmp_path: Path, matrix: tuple[int, ...], quarter_turns: int) -> None:
    path = Path(video(tmp_path / "a.mp4", SMOOTH))
    upright = read_clip(str(path)).frames
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # the track header's display matrix, 16.16 fixed point
    a, b, c, d = (value << 16 for value in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    assert np.array_equal(read_clip(str(path)).frames, np.rot90(upright, quarter_turns, axes=(1, 2)))


def test_every_frame_of_a_gif_comes_out(tmp_path: Path) -> None:
    pages = [Image.fromarray(frame // 4 * 4) for frame in SMOOTH]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=80)
    clip = read_clip(str(tmp_path / "a.gif"))
    assert np.array_equal(clip.frames, SMOOTH // 4 * 4)


def test_a_video_read_through_a_url_is_the_video_on_disk(tmp_path: Path) -> None:
    path = Path(video(tmp_path / "a.mp4", SMOOTH))
    with fsspec.open("memory://clips/a.mp4", "wb") as file:
        file.write(path.read_bytes())
    assert np.array_equal(read_clip("memory://clips/a.mp4").frames, read_clip(str(path)).frames)
    assert source_digest("memory://clips/a.mp4") == source_digest(str(path))


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mjpeg"), ("a.mpeg", "mpeg2video"), ("a.mkv", "mpeg4")])
def test_a_video_cut_off_gives_the_frames_before_the_cut(tmp_path: Path, name: str, codec: str) -> None:
    frames = np.concatenate([SMOOTH] * 5)
    path = Path(video(tmp_path / name, frames, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p"))
    whole = read_clip(str(path)).frames
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = read_clip(str(path))
    assert 10 < len(clip) < 50
    assert np.array_equal(clip.frames[:-3], whole[: len(clip) - 3])


def test_a_video_cut_off_is_told_where_the_container_knows_its_length(tmp_path: Path) -> None:
    path = Path(video(tmp_path / "a.mp4", np.concatenate([SMOOTH] * 5), options={"movflags": "faststart"}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = read_clip(str(path))
    assert 10 < len(clip) < 50
    assert len(clip.warnings) == 1
    assert str(len(clip)) in clip.warnings[0]


def test_a_video_without_its_index_or_frames_is_refused(tmp_path: Path) -> None:
    path = Path(video(tmp_path / "a.mp4", SMOOTH))  # the index stands at the end
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableFile, match=r"a\.mp4"):
        read_clip(str(path))


# -- refusals, zips ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", b"", "is empty"),
        ("a.txt", b"hello", "kind that is not read"),
        ("a.npy", b"\x93NUMPY\x01\0", "kind that is not read"),
        ("a.mp4", b"<html>404</html>" * 30, "does not open as a video"),
        ("a.dcm", b"<html>404</html>" * 30, "DICOM"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + b"x" * 300, "does not decode"),
        ("a.avi", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("a.zip", b"PK\x03\x04 cut", "zip"),
    ],
)
def test_what_is_no_picture_is_refused_with_file_reason_and_remedy(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=reason) as caught:
        read_clip(str(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))
    assert caught.value.remedy


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(UnreadableFile):
            read_clip(str(path))
    with pytest.raises(UnreadableFile, match="no such file"):
        read_clip("memory://nowhere/none.png")


def test_a_zip_with_one_file_reads_as_that_file_and_several_must_be_named(tmp_path: Path) -> None:
    made = as_bytes(dataset(sector(2)))
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    with zipfile.ZipFile(one, "w") as archive:
        archive.writestr("folder/IM1.dcm", made)
        archive.writestr("__MACOSX/._IM1.dcm", b"x")
    assert np.array_equal(read_clip(str(one)).frames, sector(2))
    with zipfile.ZipFile(two, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", made)
        archive.writestr("b.dcm", made)
    with pytest.raises(UnreadableFile, match="2 files"):
        read_clip(str(two))
    assert np.array_equal(read_clip(f"zip://b.dcm::{two}").frames, sector(2))


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.mkv"])
def test_a_damaged_file_in_a_zip_is_refused(tmp_path: Path, name: str) -> None:
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "PNG")
    content = {"a.png": out.getvalue(), "a.dcm": as_bytes(dataset(sector(1)))}.get(name, b"")
    if name == "a.mkv":
        content = Path(video(tmp_path / name, SMOOTH)).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, content)
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    whole[len(content) // 2] ^= 255  # the checksum no longer fits
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(UnreadableFile, match=name):
        read_clip(str(tmp_path / "a.zip"))


# -- masks ---------------------------------------------------------------------------------------------------

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


# -- real archives -------------------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.parametrize("suffix", ["gif", "mp4", "mov", "mpeg"])
def test_real_clips_of_each_kind_decode_to_their_end(realdata: Path, suffix: str) -> None:
    files = sorted((realdata / "pocus_lung_clips/clips").glob(f"*.{suffix}"), key=lambda file: file.stat().st_size)
    assert files
    for file in files[:2]:
        clip = read_clip(str(file))
        assert len(clip) >= 20
        assert clip.frames.std() > 10
        assert clip.warnings == []


@pytest.mark.realdata
def test_real_masks_read_with_their_classes(realdata: Path) -> None:
    found = set()
    for file in sorted((realdata / "ucsf_echo_views/masks").glob("*")):
        found |= set(np.unique(read_mask(str(file), 5, (256, 256))).tolist())
    assert found == {0, 1, 2, 3, 4}
