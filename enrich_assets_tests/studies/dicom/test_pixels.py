"""Every way in which DICOM may store an image ends in the same grey values."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pydicom
import pydicom.encaps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from enrich_assets.studies.decoding import Clip
from enrich_assets.studies.dicom.reading import read_dicom
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets_tests.studies.made_dicom import as_bytes, dataset, sector

RNG = np.random.default_rng(0)
CINE = RNG.integers(0, 256, (3, 10, 12), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (2, 10, 12, 3), dtype=np.uint8)
UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
COLOURS_IN_GREY = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in COLOURS])


def read(made: Dataset) -> Clip:
    return read_dicom("made.dcm", as_bytes(made))


def values(low: int, high: int, dtype: str) -> NDArray[Any]:
    return np.linspace(low, high, 120).round().astype(dtype).reshape(1, 10, 12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9)),
    st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]),
)
def test_eight_bit_pixels_come_back_as_they_were(pixels: NDArray[np.uint8], syntax: UID) -> None:
    made = dataset(pixels)
    if syntax == RLELossless:
        made.compress(RLELossless)
    made.file_meta.TransferSyntaxUID = syntax
    clip = read(made)
    assert np.array_equal(clip.frames, pixels)
    assert clip.frames.dtype == np.uint8
    assert clip.kept["number_of_frames"] == len(pixels)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, JPEG2000Lossless])
def test_other_lossless_forms_keep_every_pixel(syntax: UID) -> None:
    pixels = np.tile(CINE, (1, 8, 8))
    made = dataset(pixels)
    if syntax == JPEG2000Lossless:
        made.compress(JPEG2000Lossless)
    made.file_meta.TransferSyntaxUID = syntax
    assert np.array_equal(read(made).frames, pixels)


def test_big_endian_words_are_turned_round() -> None:
    pixels = values(0, 4000, "u2")
    little = dataset(pixels, BitsStored=12, HighBit=11)
    big = dataset(pixels, BitsStored=12, HighBit=11)
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    big.PixelData = pixels.astype(">u2").tobytes()
    assert np.array_equal(read(big).frames, read(little).frames)
    assert np.unique(read(little).frames).size > 100


def test_colours_become_grey_by_opencvs_weights_however_they_are_laid_out() -> None:
    assert np.array_equal(read(dataset(COLOURS, "RGB")).frames, COLOURS_IN_GREY)
    planes = dataset(COLOURS, "RGB", PlanarConfiguration=1)
    planes.PixelData = COLOURS.transpose(0, 3, 1, 2).tobytes()
    assert np.array_equal(read(planes).frames, COLOURS_IN_GREY)


def test_the_luma_of_ybr_is_the_grey() -> None:
    luma = RNG.integers(20, 230, (2, 10, 12), dtype=np.uint8)
    ybr = np.stack([luma, np.full_like(luma, 128), np.full_like(luma, 128)], axis=-1)
    assert np.abs(read(dataset(ybr, "YBR_FULL")).frames.astype(int) - luma).max() <= 1


def test_a_palette_is_looked_up() -> None:
    made = dataset(CINE, "PALETTE COLOR")
    red, green, blue = (RNG.integers(0, 256, 256, dtype=np.uint16) for _ in range(3))
    for name, table in (("Red", red), ("Green", green), ("Blue", blue)):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(made, f"{name}PaletteColorLookupTableData", (table * 257).astype("<u2").tobytes())
    colours = np.stack([red, green, blue], axis=-1).astype(np.uint8)[CINE]
    wanted = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in colours])
    assert np.array_equal(read(made).frames, wanted)


def test_monochrome1_is_turned_round() -> None:
    assert np.array_equal(read(dataset(CINE, "MONOCHROME1")).frames, 255 - CINE)


def test_twelve_bits_without_a_window_are_stretched_over_the_whole_clip() -> None:
    pixels = np.stack([values(100, 600, "u2")[0], values(600, 1100, "u2")[0]])
    frames = read(dataset(pixels, BitsStored=12, HighBit=11)).frames
    assert (frames[0].min(), frames[0].max(), frames[1].max()) == (0, 128, 255)  # not each frame by itself


def test_the_display_window_follows_the_standards_formula() -> None:
    pixels = values(-200, 400, "i2")
    made = dataset(pixels, RescaleSlope=2, RescaleIntercept=-10, WindowCenter=[50, 900], WindowWidth=[400, 1])
    display = pixels.astype(float) * 2 - 10  # PS3.3 C.11.2.1.2.1, with the first of the windows
    wanted = np.where(
        display <= 50 - 0.5 - 399 / 2,
        0,
        np.where(display > 50 - 0.5 + 399 / 2, 255, ((display - 49.5) / 399 + 0.5) * 255),
    )
    assert np.array_equal(read(made).frames, np.round(wanted).astype(np.uint8))


@pytest.mark.parametrize(("function", "at_centre"), [("LINEAR", 128), ("LINEAR_EXACT", 128), ("SIGMOID", 128)])
def test_each_window_function_is_half_bright_at_its_centre_and_rises(function: str, at_centre: int) -> None:
    pixels = np.arange(400, 520, dtype=np.uint16).reshape(1, 10, 12)
    made = dataset(pixels, WindowCenter=460, WindowWidth=100, VOILUTFunction=function)
    frames = read(made).frames.ravel()
    assert abs(int(frames[60]) - at_centre) <= 2
    assert (np.diff(frames.astype(int)) >= 0).all()


def test_overlay_bits_above_the_stored_ones_are_not_brightness() -> None:
    pixels = values(0, 4095, "u2")
    with_overlay = pixels | (RNG.integers(0, 2, pixels.shape, dtype=np.uint16) << 15)
    wanted = read(dataset(pixels, BitsStored=12, HighBit=11)).frames
    assert np.array_equal(read(dataset(with_overlay, BitsStored=12, HighBit=11)).frames, wanted)


def test_padding_does_not_set_the_range() -> None:
    pixels = values(1000, 2000, "u2")
    pixels[0, 0, :5] = 65535
    made = dataset(pixels, PixelPaddingValue=65535)
    frames = read(made).frames
    assert frames[0, 0, 5:].min() < 10
    assert frames[0, -1, -1] == 255


def test_one_bit_pixels_are_black_and_white() -> None:
    bits = RNG.integers(0, 2, (1, 8, 16), dtype=np.uint8)
    made = dataset(bits)
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = 0
    made.PixelData = np.packbits(bits, bitorder="little").tobytes()
    assert np.array_equal(read(made).frames, bits * 255)


def jpeg_cine(n: int) -> Dataset:
    smooth = np.stack([cv2.resize(RNG.integers(0, 256, (6, 8), dtype=np.uint8), (64, 48)) for _ in range(n)])
    made = dataset(smooth)
    encoded = [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes() for frame in smooth]
    made.PixelData = pydicom.encaps.encapsulate(encoded)
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made.smooth = smooth
    return made


def test_jpeg_baseline_reads_close_to_what_was_stored() -> None:
    made = jpeg_cine(4)
    assert np.abs(read(made).frames.astype(int) - made.smooth).max() <= 6


def test_frames_up_to_the_damage_are_read_and_the_rest_is_told() -> None:
    cut = dataset(CINE)
    cut.PixelData = cut.PixelData[:250] + b""
    clip = read(cut)
    assert np.array_equal(clip.frames, CINE[:2])
    assert clip.warnings == ["is cut off: 2 of 3 frames were read"]
    fewer = jpeg_cine(2)
    fewer.NumberOfFrames = 5
    clip = read(fewer)
    assert len(clip) == 2
    assert "2 of 5" in clip.warnings[0]


def test_half_a_jpeg_frame_is_not_filled_up() -> None:
    made = jpeg_cine(2)
    encoded = list(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=2))
    made.PixelData = pydicom.encaps.encapsulate([encoded[0], encoded[1][: len(encoded[1]) // 2]])
    clip = read(made)
    assert len(clip) == 1
    assert "1 of 2" in clip.warnings[0]


def test_mpeg_inside_dicom_is_a_video() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mpeg2video") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = 48, 64, "yuv420p", 4_000_000
        smooth = jpeg_cine(8).smooth
        for frame in smooth:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode(None))
    made = dataset(smooth, FrameTime=40)
    made.PixelData = pydicom.encaps.encapsulate([out.getvalue()])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = MPEG2MPML
    clip = read(made)
    assert clip.frames.shape == (8, 48, 64)
    assert np.abs(clip.frames.astype(int) - smooth).mean() < 4


@pytest.mark.parametrize(
    "attributes",
    [
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": 2_000_000_000},
        {"NumberOfFrames": -3},
        {"Rows": 0},
        {"SamplesPerPixel": 7},
        {"BitsAllocated": 12},
        {"PixelData": b"\0\0"},
    ],
)
def test_absurd_headers_are_refused_before_memory_is_taken(attributes: dict[str, Any]) -> None:
    made = dataset(CINE, **attributes)
    with pytest.raises(UnreadableFile) as caught:
        read(made)
    assert caught.value.path == "made.dcm"
    assert caught.value.reason
    assert caught.value.remedy


def test_an_unknown_compression_is_refused_by_name() -> None:
    made = dataset(CINE)
    made.file_meta.TransferSyntaxUID = UID("1.2.840.113619.5.2")
    with pytest.raises(UnreadableFile, match=r"made\.dcm"):
        read(made)


@pytest.mark.parametrize("keyword", ["PixelData", "Rows", "BitsAllocated"])
def test_a_missing_attribute_is_named(keyword: str) -> None:
    made = dataset(CINE)
    delattr(made, keyword)
    with pytest.raises(UnreadableFile, match=keyword if keyword != "PixelData" else "no pixel data"):
        read(made)


def test_frame_times_come_from_the_header() -> None:
    assert read(dataset(CINE, FrameTime=40)).frame_times_ms.tolist() == [0.0, 40.0, 80.0]
    assert read(dataset(CINE, FrameTimeVector=[0, 30, 50])).frame_times_ms.tolist() == [0.0, 30.0, 80.0]
    assert read(dataset(CINE)).frame_times_ms is None


WHOLE = as_bytes(dataset(CINE, "MONOCHROME2", "US", **dict.fromkeys(UIDS, "1.2.3.4")))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_flipped_bytes_never_do_worse_than_a_refusal(data: st.DataObject) -> None:
    whole = bytearray(WHOLE)
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:  # any other exception fails the test
        frames = read_dicom("made.dcm", bytes(whole[:cut] if cut % 2 else whole)).frames
    except UnreadableFile:
        return
    assert frames.dtype == np.uint8
    assert frames.ndim == 3


# -- files from scanners -------------------------------------------------------------------------------------


@pytest.fixture
def good(realdata: Path) -> Path:
    """Sixteen files from scanners that can be read."""
    return realdata / "dicom_ultrasound/good"


def real(file: Path) -> NDArray[np.uint8]:
    from enrich_assets.studies.readers import read_clip

    return read_clip(str(file)).frames


@pytest.mark.realdata
def test_every_good_file_reads(good: Path) -> None:
    from enrich_assets.studies.readers import read_clip

    files = sorted(good.glob("*"))
    assert len(files) == 16
    for file in files:
        clip = read_clip(str(file))
        assert clip.frames.dtype == np.uint8, file.name
        assert clip.frames.max() > 150, file.name
        assert 3 < clip.frames.mean() < 120, file.name
        assert clip.warnings == [], file.name


@pytest.mark.realdata
def test_every_bad_file_is_refused_by_name(realdata: Path) -> None:
    from enrich_assets.studies.readers import read_clip

    files = sorted((realdata / "dicom_ultrasound/bad").glob("*"))
    assert files
    for file in files:
        with pytest.raises(UnreadableFile, match=file.name):
            read_clip(str(file))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("one", "other", "tolerance"),
    [
        ("OBXXXX1A_2frame.dcm", "OBXXXX1A_rle_2frame.dcm", 0),  # RLE is lossless
        ("OBXXXX1A_2frame.dcm", "OBXXXX1A_expb_2frame.dcm", 0),  # so is another byte order
        ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm", 0),
        ("US1_UNCR.dcm", "US1_J2KR.dcm", 0),  # reversible JPEG 2000
    ],
)
def test_one_scan_in_two_forms_gives_the_same_pixels(good: Path, one: str, other: str, tolerance: int) -> None:
    assert np.abs(real(good / one).astype(int) - real(good / other)).max() <= tolerance


@pytest.mark.realdata
def test_a_jpeg_cine_agrees_with_pydicoms_own_colours(good: Path) -> None:
    ours = real(good / "examples_ybr_color.dcm")
    theirs = np.stack(
        [
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            for frame in pydicom.dcmread(good / "examples_ybr_color.dcm").pixel_array
        ]
    )
    inside = ours > 0
    assert np.abs(ours.astype(int) - theirs)[inside].mean() < 1.0


def test_a_made_sector_keeps_its_inside_and_loses_its_outside() -> None:
    frames = sector()
    clip = read(dataset(frames, modality="US"))
    core = np.s_[:, 80:220, 180:220]
    assert np.array_equal(clip.frames[core], frames[core])
    assert (clip.frames[:, :20, :100] == 0).all()
