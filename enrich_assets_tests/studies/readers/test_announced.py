"""How many frames a header announces is how many are then read."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from enrich_assets.studies.readers import frames_announced, read_clip
from enrich_assets_tests.studies.made_dicom import dataset, save, sector


def video(path: Path, n: int, codec: str) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for at in range(n):
            pixels = np.full((48, 64, 3), 10 * at, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return str(path)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.avi", "mjpeg"), ("a.mkv", "mpeg4")])
def test_a_video_announces_its_frames(tmp_path: Path, name: str, codec: str) -> None:
    path = video(tmp_path / name, 7, codec)
    assert frames_announced(path) == len(read_clip(path).frames) == 7


def test_stills_and_dicom_announce_theirs(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    assert frames_announced(str(tmp_path / "a.png")) == 1
    assert frames_announced(save(dataset(sector(5), modality="US"), tmp_path / "cine")) == 5
    assert frames_announced(save(dataset(sector(1), modality="US"), tmp_path / "still")) == 1


def test_what_cannot_be_read_announces_nothing(tmp_path: Path) -> None:
    for name, content in (
        ("a.mp4", b"\0\0\0\x18ftypmp42"),
        ("b.dcm", b"\0" * 128 + b"DICM\xff\xff"),
        ("c.txt", b"words"),
    ):
        (tmp_path / name).write_bytes(content)
        assert frames_announced(str(tmp_path / name)) is None
    assert frames_announced(str(tmp_path / "absent.mp4")) is None
