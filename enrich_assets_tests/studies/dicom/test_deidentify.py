"""No name gets through: not in attributes, not in messages, not in logs, not in the pixels around the
cone."""

from __future__ import annotations

import logging
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from enrich_assets.method.images.cone import cone_mask
from enrich_assets.studies.dicom import scan_dicom
from enrich_assets.studies.dicom.deidentify import blank_outside_cone, deidentify, image_regions
from enrich_assets.studies.dicom.reading import read_dicom
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.pseudonyms import Pseudonyms
from enrich_assets_tests.studies.made_dicom import dataset, save, sector

NAME = "VANMALIUS"
TEXT = ("AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
PSEUDONYMS = Pseudonyms(bytes(range(32)))
OTHER_KEY = Pseudonyms(bytes(32))


def named_everywhere(keep_modality: str = "US") -> Dataset:
    """A sector with the name in every text attribute of the standard, in sequences, private attributes and
    pixels."""
    made = dataset(sector(text=NAME), modality=keep_modality)
    untouched = {"Modality", "PhotometricInterpretation", "SpecificCharacterSet", "BurnedInAnnotation"}
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        group = tag >> 16
        if not keyword or keyword in untouched or group in (0x0000, 0x0002, 0x0028, 0x5400, 0x60, 0x7FE0):
            continue
        if vr in TEXT:
            made.add_new(tag, vr, f"{NAME}^MARIA" if vr == "PN" else NAME)
    inner = Dataset()
    inner.PatientName, inner.PersonName, inner.CodeMeaning = NAME, NAME, NAME
    made.RequestAttributesSequence = Sequence([inner])
    made.OtherPatientIDsSequence = Sequence([inner])
    block = made.private_block(0x0011, NAME, create=True)
    block.add_new(0x01, "LO", NAME)
    made.StudyDate = made.SeriesDate = made.PatientBirthDate = "19691231"
    made.SeriesTime = "101112"
    return made


@pytest.fixture
def named_file(tmp_path: Path) -> str:
    """Written before anything is listened to: pydicom complains of such values where they are written."""
    return str(save(named_everywhere(), tmp_path / "one.dcm"))


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """What was logged, warned and printed while a test ran."""
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")

        def logged() -> str:
            out, err = capfd.readouterr()
            return "\n".join([caplog.text, *(str(w.message) for w in warned), out, err])

        yield logged


def test_a_name_in_every_attribute_reaches_nothing(  # type: ignore[no-untyped-def]
    tmp_path: Path, named_file: str, everything_logged
) -> None:
    assert NAME.encode() in Path(named_file).read_bytes()
    clip = read_dicom(named_file, pseudonyms=PSEUDONYMS)
    rows, refused = scan_dicom(str(tmp_path), PSEUDONYMS)
    output = repr((clip, clip.kept, clip.actions, clip.warnings)) + rows.to_csv() + refused.to_csv()
    assert len(rows) == 1
    assert NAME not in (output + everything_logged()).upper()
    assert "1969" not in output
    assert all(isinstance(value, int | float | str) for value in clip.kept.values())


def test_nothing_is_kept_that_is_not_on_the_list() -> None:
    kept, _ = deidentify(named_everywhere(), PSEUDONYMS)
    assert set(kept) <= {
        *(
            "rows",
            "columns",
            "number_of_frames",
            "samples_per_pixel",
            "bits_stored",
            "series_number",
            "instance_number",
        ),
        *(
            "frame_time",
            "cine_rate",
            "recommended_display_frame_rate",
            "modality",
            "photometric_interpretation",
        ),
        *("burned_in_annotation", "patient_id", "study_id", "study_date", "series_date"),
    }


def test_a_name_where_a_term_or_number_belongs_is_not_kept() -> None:
    made = dataset(sector(), modality="US", FrameTime=None)
    made.Modality = made.BurnedInAnnotation = NAME
    kept, _ = deidentify(made, PSEUDONYMS)
    assert NAME not in repr(kept)
    assert "modality" not in kept


def test_without_pseudonyms_no_identifier_and_no_date_is_kept() -> None:
    kept, actions = deidentify(named_everywhere(), None)
    assert not {"patient_id", "study_id", "study_date"} & set(kept)
    assert "patient and study identifiers and dates dropped" in actions


@pytest.mark.parametrize("keyword", ["NumberOfFrames", "BitsAllocated", "Rows", "FrameTime", "WindowCenter"])
def test_a_name_in_a_broken_number_is_not_quoted_by_the_refusal(
    tmp_path: Path,
    keyword: str,
    everything_logged,  # type: ignore[no-untyped-def]
) -> None:
    made = dataset(sector(), modality="US")
    whole = Path(save(made, tmp_path / "one.dcm"))
    made.add_new(keyword, "LO", NAME)  # the wrong kind of value under the right tag
    save(made, whole)
    refusal: UnreadableFile | None = None
    output = ""
    try:
        output = repr(read_dicom(str(whole), pseudonyms=PSEUDONYMS))
    except UnreadableFile as error:
        refusal = error
    if refusal:
        output = "".join(traceback.format_exception(refusal)) + repr(refusal) + str(refusal)
        assert refusal.__context__ is None  # a chained error would carry the value into serialised tracebacks
    assert (refusal is None) == (keyword in ("FrameTime", "WindowCenter"))
    assert NAME not in output + everything_logged()


def test_burned_in_text_is_gone_and_the_heart_is_not() -> None:
    frames = sector(text=NAME)
    wanted = sector()
    blanked, share = blank_outside_cone(frames.copy())
    outside = ~cone_mask(frames)
    assert share == pytest.approx(outside.mean())
    assert (blanked[:, outside] == 0).all()
    assert (frames[:, :25, :110] > 200).any()  # the text was there
    assert (blanked[:, :25, :110] == 0).all()
    assert (blanked[:, -25:, :110] == 0).all()
    assert (blanked == wanted)[:, wanted[0] > 0].mean() > 0.97


def test_regions_confine_what_is_kept_further(tmp_path: Path) -> None:
    made = dataset(sector(), modality="US")
    region = Dataset()
    region.RegionSpatialFormat = 1
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 100, 50
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 299, 199
    trace = Dataset()  # an ECG below the picture
    trace.RegionSpatialFormat = 3
    trace.RegionLocationMinX0, trace.RegionLocationMinY0 = 0, 200
    trace.RegionLocationMaxX1, trace.RegionLocationMaxY1 = 399, 299
    made.SequenceOfUltrasoundRegions = Sequence([region, trace])
    mask = image_regions(made, (300, 400))
    assert mask is not None
    assert (mask[50:200, 100:300]).all()
    assert mask.sum() == 150 * 200
    frames = read_dicom(save(made, tmp_path / "r.dcm")).frames
    assert (frames[:, 200:] == 0).all()
    assert frames[:, 100:190, 180:220].max() > 100


def test_text_alone_on_a_dark_picture_is_refused(tmp_path: Path) -> None:
    frames = np.zeros((1, 300, 400), np.uint8) + sector(1, text=NAME) * (np.arange(300) < 30)[None, :, None]
    frames[:, :, 120:] = 0
    with pytest.raises(UnreadableFile, match="no ultrasound cone"):
        read_dicom(save(dataset(frames.astype(np.uint8), modality="US"), tmp_path / "dark.dcm"))


def test_a_picture_that_fills_its_frame_is_refused_if_it_says_that_text_is_burned_in(tmp_path: Path) -> None:
    full = np.random.default_rng(0).gamma(2, 40, (2, 120, 160)).clip(20, 255).astype(np.uint8)
    clip = read_dicom(save(dataset(full, modality="US"), tmp_path / "full.dcm"))
    assert np.array_equal(clip.frames, full)
    assert "no ultrasound cone found" in clip.warnings[0]
    with pytest.raises(UnreadableFile, match="burned into its pixels"):
        read_dicom(save(dataset(full, modality="US", BurnedInAnnotation="YES"), tmp_path / "text.dcm"))


# -- patients and their studies ------------------------------------------------------------------------------


def test_two_patients_under_one_study_uid_have_two_studies_and_one_patient_is_known_again() -> None:
    one = dataset(sector(1), PatientID="1", StudyInstanceUID="1.2.3")
    two = dataset(sector(1), PatientID="2", StudyInstanceUID="1.2.3")
    again = dataset(sector(1), PatientID="1 ", StudyInstanceUID="1.2.4")
    kept = [deidentify(made, PSEUDONYMS)[0] for made in (one, two, again)]
    assert kept[0]["study_id"] != kept[1]["study_id"]
    assert kept[0]["patient_id"] == kept[2]["patient_id"]
    assert kept[0]["study_id"] != kept[2]["study_id"]
