"""Every frame of a video comes out, or those before the damage, and the damage is told."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest
from PIL import Image

from enrich_assets.studies.addresses import source_digest
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers import read_clip
from enrich_assets_tests.studies.readers.made_pictures import SMOOTH, video


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
