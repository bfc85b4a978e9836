"""An independent reading of PS3.15's Basic Application Level Confidentiality Profile (table E.1-1), held against what comes out here.

The table is the one that `dicom-anonymizer` ships (edition 2026c of the standard), written by others. Of each of its attributes this
asks the code itself, as a black box: does anything that is kept depend on it, and how? The answers must be those of `FATE`.
"""

from __future__ import annotations

import re
from datetime import date

import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table_e_1_1
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from enrich_assets.studies.dicom.deidentify import attribute_text, deidentify
from enrich_assets.studies.dicom.folder import _WANTED, _described
from enrich_assets.studies.pseudonyms import Pseudonyms

KEY = Pseudonyms(bytes(range(32)))
# Everything of table E.1-1 that leaves a trace; all else is dropped. Hashed: HMAC-SHA256 under the home's key (D and U of the table, with
# values consistent within the archive). Shifted: option 113107, Retain Longitudinal Temporal Information with Modified Dates.
FATE = {
    "PatientID": "hashed",
    "PatientName": "hashed",  # together with the birth date, where there is no PatientID
    "PatientBirthDate": "hashed",
    "StudyInstanceUID": "hashed",
    "SeriesInstanceUID": "hashed",
    "SOPInstanceUID": "hashed",
    "StudyDate": "shifted",
    "SeriesDate": "shifted",
    "AcquisitionDate": "shifted",
    "ContentDate": "shifted",
    "StudyTime": "shifted",
    "SeriesTime": "shifted",
    "AcquisitionTime": "shifted",
}
# Kept as they are: numbers and coded terms that the table does not list.
KEPT = {
    *(
        "Rows",
        "Columns",
        "NumberOfFrames",
        "SamplesPerPixel",
        "BitsStored",
        "SeriesNumber",
        "InstanceNumber",
        "FrameTime",
    ),
    *("CineRate", "RecommendedDisplayFrameRate", "Modality", "PhotometricInterpretation", "BurnedInAnnotation"),
}
ONE = {
    "DA": "19991231",
    "TM": "112233",
    "DT": "19991231112233",
    "UI": "1.2.345",
    "AS": "043Y",
    "IS": "4711",
    "DS": "47.11",
}
OTHER = {
    "DA": "19981130",
    "TM": "223311",
    "DT": "19981130223311",
    "UI": "1.2.543",
    "AS": "034Y",
    "IS": "1147",
    "DS": "11.47",
}
NUMBERS = ("US", "UL", "SS", "SL", "FL", "FD", "SV", "UV", "AT")
BYTES = ("OB", "OW", "UN", "OD", "OF", "OL", "OV")


def tags() -> list[tuple[int, int]]:
    """Of table E.1-1: standard attributes, the repeating groups left out (nothing of them is looked up by name)."""
    return sorted({tag for tag in table_e_1_1.ALL_TAGS if len(tag) == 2 and keyword_for_tag(Tag(tag))})


def value(vr: str, values: dict[str, str]) -> object:
    first = values is ONE
    if vr == "SQ":
        item = Dataset()
        item.PatientName = "VANMALIUS" if first else "OTHER"
        return Sequence([item])
    if vr in NUMBERS:
        return 47 if first else 11
    if vr in BYTES:
        return b"VANMALIU" if first else b"OTHEROTH"
    return values.get(vr, "VANMALIUS" if first else "OTHERNAME")


def exam(*, with_id: bool) -> Dataset:
    made = Dataset()
    made.Modality, made.Rows, made.Columns, made.PhotometricInterpretation = "US", 8, 9, "MONOCHROME2"
    made.SOPInstanceUID, made.StudyInstanceUID = "1.2.3.4", "1.2.3"
    if with_id:
        made.PatientID = "4711"
    else:
        made.PatientName = "Doe^Jane"
    return made


def kept_of(made: Dataset) -> str:
    """All that is stored of a header: what a clip keeps, what was done, the row. (How many were dropped counts all alike.)"""
    kept, actions = deidentify(made, KEY)
    header = {keyword: attribute_text(made, keyword) for keyword in _WANTED}
    row = _described("f", header, KEY, None)
    row.pop("instance")  # orders the rows and is not kept
    return f"{sorted(kept.items())} {re.sub(r'[0-9]+ private and [0-9]+', '', ' '.join(actions))} {sorted(row.items(), key=str)}"


def fate(keyword: str, vr: str) -> str:
    """What becomes of an attribute, by what comes out with it, without it, and with another value."""
    outcomes = set()
    dates_beside = (
        (None, "SeriesDate", "AcquisitionDate", "StudyDate") if vr == "TM" else (None,)
    )  # a time counts beside its date
    for with_id in (True, False):
        for date_beside in dates_beside:
            before, one, other = (exam(with_id=with_id) for _ in range(3))
            for made in (before, one, other):
                if date_beside and date_beside != keyword:
                    setattr(made, date_beside, "20010203")
            setattr(one, keyword, value(vr, ONE))
            setattr(other, keyword, value(vr, OTHER))
            texts = [kept_of(made) for made in (before, one, other)]
            if len(set(texts)) == 1:
                continue
            plain = str(value(vr, ONE))
            days = [f"{day:%Y-%m-%d}" for day in (date(1999, 12, 31),)] if vr == "DA" else []
            times = ["11:22:33", "112233"] if vr == "TM" else []
            if any(shape in texts[1] for shape in (plain, *days, *times)):
                outcomes.add("kept")
            else:
                outcomes.add("shifted" if vr in ("DA", "TM") and keyword != "PatientBirthDate" else "hashed")
    return "kept" if "kept" in outcomes else next(iter(outcomes), "dropped")


def test_the_table_is_the_standards() -> None:
    """Some of its lines, read in PS3.15 by hand: action codes of the basic profile."""
    assert len(tags()) > 500
    assert (0x0010, 0x0010) in table_e_1_1.Z_TAGS  # Patient's Name: Z
    assert (0x0010, 0x0020) in table_e_1_1.Z_D_TAGS  # Patient ID: Z/D
    assert (0x0010, 0x0030) in table_e_1_1.Z_TAGS  # Patient's Birth Date: Z
    assert (0x0020, 0x000D) in table_e_1_1.U_TAGS  # Study Instance UID: U
    assert (0x0010, 0x4000) in table_e_1_1.X_TAGS  # Patient Comments: X


def test_of_every_attribute_of_the_profile_becomes_what_the_table_here_says() -> None:
    found = {}
    for tag in tags():
        keyword, vr = keyword_for_tag(Tag(tag)), dictionary_VR(Tag(tag)).split(" ")[0]
        if (seen := fate(keyword, vr)) != "dropped":
            found[keyword] = seen
    assert found == FATE


def test_nothing_the_profile_lists_is_kept_as_it_is() -> None:
    listed = {keyword_for_tag(Tag(tag)) for tag in tags()}
    assert not KEPT & listed
    assert set(FATE) <= listed
    assert "kept" not in FATE.values()


@pytest.mark.parametrize("keyword", sorted(KEPT))
def test_what_is_kept_is_a_number_or_a_term_of_a_list(keyword: str) -> None:
    made = exam(with_id=True)
    made.add_new(Tag(made.data_element(keyword).tag) if keyword in made else keyword, dictionary_VR(keyword), None)
    made[keyword]._value = "VANMALIUS"
    assert "VANMALIUS" not in str(deidentify(made, KEY)[0])
