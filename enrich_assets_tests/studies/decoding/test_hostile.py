"""Files made to do harm: bombs are refused by what their headers announce, playlists are no videos, pictures of nothing are none."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from enrich_assets.studies.decoding import read_still
from enrich_assets.studies.dicom.header import open_dataset
from enrich_assets.studies.dicom.pixels import decode
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers import Wanted, read_clip, read_pictures
from enrich_assets_tests.studies.made_dicom import as_bytes, dataset


def tiff_of_pages(pages: int, side: int, samples: int = 3) -> bytes:
    """Page after page of one and the same small strip, each announcing side x side pixels."""
    strip = zlib.compress(bytes(64))
    bits_at, strip_at = 8, 16
    content = bytearray(b"II*\0" + struct.pack("<I", 16 + len(strip) + len(strip) % 2))
    content += struct.pack("<HHHH", 8, 8, 8, 0) + strip + b"\0" * (len(strip) % 2)
    for page in range(pages):
        tags = [
            (256, 4, 1, side),
            (257, 4, 1, side),
            (258, 3, samples, bits_at if samples > 1 else 8),
            (259, 3, 1, 8),
            (262, 3, 1, 2 if samples > 1 else 1),
            (273, 4, 1, strip_at),
            (277, 3, 1, samples),
            (278, 4, 1, side),
            (279, 4, 1, len(strip)),
        ]
        content += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        content += struct.pack("<I", len(content) + 4 if page < pages - 1 else 0)
    return bytes(content)


def test_a_tiff_whose_pages_together_fill_the_memory_is_refused_by_its_header() -> None:
    """Incident: 7 MB, 100 pages of 4096x4096 RGB, over 7.2 GB when stopped."""
    with pytest.raises(UnreadableFile, match=r"bomb\.tif: decodes to more than 2 GiB"):
        read_still("bomb.tif", tiff_of_pages(100, 4096))


def test_a_tiff_of_small_pages_without_end_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="more than 10,000 pages"):
        read_still("many.tif", tiff_of_pages(10_001, 4, samples=1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pages_read_one_by_one_are_those_read_together(dtype: type) -> None:
    rng = np.random.default_rng(7)
    pages = [Image.fromarray(rng.integers(0, np.iinfo(dtype).max, (31, 17), dtype)) for _ in range(9)]
    out = io.BytesIO()
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    whole, together = cv2.imdecodemulti(np.frombuffer(out.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert whole
    expected = np.stack(together) if dtype is np.uint8 else (np.stack(together) >> 8).astype(np.uint8)
    np.testing.assert_array_equal(read_still("a.tif", out.getvalue()).frames, expected)


def test_a_deflated_dicom_that_unpacks_to_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """Incident: 1 MB of deflated DICOM took 9.2 GB and was accepted."""
    made = dataset(np.zeros((1, 8, 8), np.uint8), modality="US")
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    head = as_bytes(made).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    # Two more bytes in that element, so two more in it and in the group: as a writer would have it.
    length = struct.unpack("<I", head[140:144])[0]
    at = head.index(b"1.2.840.10008.1.2.1.99")
    head = head[: at - 2] + struct.pack("<H", 22) + head[at:]
    head = head[:140] + struct.pack("<I", length + 2) + head[144:]
    packing = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = packing.compress(bytes(16 << 20)) + packing.flush(zlib.Z_FULL_FLUSH)
    path = tmp_path / "bomb.dcm"
    path.write_bytes(head[: 144 + length + 2] + piece * 40 + packing.flush())
    assert path.stat().st_size < 4 << 20
    with pytest.raises(UnreadableFile, match="inflates to more than 512 MiB"):
        open_dataset(str(path))


def test_bytes_of_all_channels_count_not_pixels_alone() -> None:
    made = dataset(np.zeros((1, 8, 8, 3), np.uint8), "RGB", modality="US")
    made.Rows = made.Columns = 4096
    made.NumberOfFrames = 50  # 0.8 gigapixels
    with pytest.raises(UnreadableFile, match="decodes to more than 2 GiB"):
        decode(made, "bomb.dcm")


@pytest.mark.parametrize(
    "window", [{}, {"WindowCenter": 4e8, "WindowWidth": 1e9}, {"RescaleSlope": 2, "RescaleIntercept": -7}]
)
def test_deep_pixels_turned_grey_frame_by_frame_are_those_of_the_whole(window: dict[str, float]) -> None:
    """The range is the clip's, not the frame's: PS3.3 C.11.2.1.2 written down for all frames at once."""
    values = np.random.default_rng(3).integers(0, 1 << 30, (4, 9, 7)).astype(np.uint32)
    values[2] //= 1000
    frames = decode(dataset(values, **window), "deep.dcm").frames
    real = values.astype(np.float64) * window.get("RescaleSlope", 1) + window.get("RescaleIntercept", 0)
    if "WindowCenter" in window:
        share = (real - (window["WindowCenter"] - 0.5)) / (window["WindowWidth"] - 1) + 0.5
    else:
        share = (real - real.min()) / (real.max() - real.min())
    np.testing.assert_array_equal(frames, np.round(np.clip(share, 0, 1) * 255).astype(np.uint8))


# --- one file's name, another file's pixels -----------------------------------------------------------------


@pytest.fixture
def neighbour(tmp_path: Path) -> Path:
    path = tmp_path / "neighbour.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for level in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64), 40 * level, np.uint8), format="gray")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
    return path


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile neighbour.mp4\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nneighbour.mp4\n#EXT-X-ENDLIST\n",
    "hls by address": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nfile://{folder}/neighbour.mp4\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    "<Representation><BaseURL>{folder}/neighbour.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_a_playlist_does_not_play_its_neighbour(neighbour: Path, kind: str, suffix: str) -> None:
    path = neighbour.with_name(f"x{suffix}")
    path.write_text(PLAYLISTS[kind].format(folder=neighbour.parent))
    with pytest.raises(UnreadableFile, match="does not open as a video"):
        read_clip(str(path))
    assert len(read_clip(str(neighbour))) == 5


# --- pictures of nothing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_picture_without_one_number_is_not_black(value: float) -> None:
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.float32)).save(out, "TIFF")
    with pytest.raises(UnreadableFile, match="holds no number in any pixel"):
        read_still("nan.tif", out.getvalue())


def test_a_picture_with_a_hole_is_read(tmp_path: Path) -> None:
    picture = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    picture[0, 0] = np.nan
    Image.fromarray(picture).save(tmp_path / "hole.tif")
    frames = read_clip(str(tmp_path / "hole.tif")).frames
    assert (frames[0, 0, 0], frames[0, 7, 7]) == (0, 255)


def test_a_refusal_lists_a_few_numbers_and_counts_the_rest(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableFile, match="0, 1, 2, 3, 4 and 199,995 more") as refusal:
        read_pictures(str(tmp_path / "a.png"), Wanted(tuple(range(200_000)), whole=False), {})
    assert len(str(refusal.value)) < 300
