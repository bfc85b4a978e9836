"""De-identification after DICOM PS3.15 Annex E (Basic Application Level Confidentiality Profile), by an allow-list.

Nothing of a DICOM header is kept but a short list of numbers (converted to int or float), coded terms (kept only if they are
among the terms listed here) and dates (shifted by a number of days of the patient's own). Free text, names, private
attributes and UIDs have no way through: identifiers that are needed to tell patients and studies apart are replaced by keyed
hashes. Pixels outside the ultrasound cone are set to 0 (Clean Pixel Data Option).

Maintained packages rewrite a DICOM file by a table of what to remove, because a DICOM file is what they hand on; what
their table does not know stays in. Measured: a name planted in 711 text attributes of pydicom's dictionary (retired and
harmless ones among them) stood in 449 after `dicom-anonymizer` 2.1.0 with its defaults. We keep pixels and a dozen
values, never a DICOM file, so the stronger rule is at hand: what the lists below do not know stays out, standard or
private, whatever edition of the standard it comes from.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from enrich_assets.studies.pseudonyms import Pseudonyms

_NUMBERS: dict[str, Callable[[str], int | float]] = {
    **dict.fromkeys(("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsStored"), int),
    **dict.fromkeys(("SeriesNumber", "InstanceNumber"), int),
    **dict.fromkeys(("FrameTime", "CineRate", "RecommendedDisplayFrameRate"), float),
}
# Images of these hold no ultrasound cone; they keep their corners unless they say that text is burned in.
_WITHOUT_CONE = frozenset(("MR", "CT", "PT", "NM", "MG", "CR", "DX", "XA", "RF", "RTDOSE", "RTIMAGE", "SEG"))
_COLOURS = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_TERMS = {
    "Modality": frozenset(("US", "IVUS", "ES", "XC", "OT", "SC", "OP", "GM", "SM")) | _WITHOUT_CONE,
    "PhotometricInterpretation": frozenset(("MONOCHROME1", "MONOCHROME2", *_COLOURS)),
    "BurnedInAnnotation": frozenset(("YES", "NO")),
}
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_MOMENTS = (("SeriesDate", "SeriesTime"), ("AcquisitionDate", "AcquisitionTime"), ("StudyDate", "StudyTime"))

_DARK = 16
_LEAST_BRIGHT_SHARE = 0.1


def attribute_text(dataset: Dataset | Mapping[str, str], keyword: str) -> str:
    """An attribute as text, '' where it is absent, empty or malformed: a broken value is no reason to stop here."""
    try:
        value = dataset.get(keyword)
    except Exception:
        return ""
    return "" if value is None else str(value).strip(" \0")


def patient_identifier(dataset: Dataset | Mapping[str, str]) -> str:
    """What tells this patient from others: PatientID, else name and birth date, else the study ('' if none).

    The issuer of the id is left out on purpose: two patients who pass for one cost a little, one patient who passes for two
    may stand on both sides of the split. For `Pseudonyms` only; never to be printed or stored.
    """
    if identifier := attribute_text(dataset, "PatientID"):
        return identifier
    if name := attribute_text(dataset, "PatientName").strip("^ "):
        return f"{name}\0{attribute_text(dataset, 'PatientBirthDate')}"
    return attribute_text(dataset, "StudyInstanceUID")


def first_date_and_time(dataset: Dataset | Mapping[str, str], pseudonyms: Pseudonyms, patient: str) -> str | None:
    """When the series (else the acquisition, the study) began: date and time of day, both shifted, ISO.

    All moments of a patient are moved alike, so their order and distances stay. PS3.15 E.3.6 (113107) asks that times be modified, too:
    a true time of day finds the patient in any worklist of that day.

    patient: the identifier, as `patient_identifier` gives it.
    """
    for date, time in _MOMENTS:
        if day := pseudonyms.shifted(attribute_text(dataset, date), patient):
            found = re.match(r"([01]\d|2[0-3]):?([0-5]\d):?([0-5]\d)", attribute_text(dataset, time))
            if not found:
                return day
            moment = datetime.datetime.fromisoformat(f"{day}T{':'.join(found.groups())}")
            return (moment - datetime.timedelta(seconds=pseudonyms.second_shift(patient))).isoformat()
    return None


def deidentify(dataset: Dataset, pseudonyms: Pseudonyms | None) -> tuple[dict[str, Any], list[str]]:
    """What may be kept of a header, and what was done to the rest.

    Parameters
    ----------
    dataset : Dataset
        Stays as it is.
    pseudonyms : Pseudonyms, optional
        Without them no identifier and no date is kept.

    Returns
    -------
    kept : dict
        Names to int, float or str; no value in it is free text.
    actions : list of str
        For the record, with the codes of PS3.15.
    """
    kept: dict[str, Any] = {}
    for keyword, convert in _NUMBERS.items():
        try:
            kept[_snake(keyword)] = convert(attribute_text(dataset, keyword))
        except (ValueError, OverflowError):
            continue
    for keyword, terms in _TERMS.items():
        if (term := attribute_text(dataset, keyword)) in terms:
            kept[_snake(keyword)] = term
    actions = ["PS3.15 basic profile (113100) by allow-list"]
    patient = patient_identifier(dataset)
    if pseudonyms and patient:
        kept["patient_id"] = pseudonyms.patient(patient)
        kept["study_id"] = pseudonyms.study(attribute_text(dataset, "StudyInstanceUID"), patient)
        actions.append("patient and study identifiers replaced by keyed hashes")
        for keyword in _DATES:
            if day := pseudonyms.shifted(attribute_text(dataset, keyword), patient):
                kept[_snake(keyword)] = day
        actions.append("dates shifted per patient (113107)")
    else:
        actions.append("patient and study identifiers and dates dropped")
    n_private = sum(tag.is_private for tag in dataset.keys())  # noqa: SIM118 - a Dataset iterates over elements
    n_other = len(dataset) - n_private - len([name for name in kept if name not in ("patient_id", "study_id")])
    actions.append(f"{n_private} private and {max(0, n_other)} other attributes dropped")
    return kept, actions


def _snake(keyword: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", keyword).lower()


def has_cone(dataset: Dataset) -> bool:
    """Whether pixels must be confined to a cone: all but images of other kinds that hold no burned-in text."""
    return (
        attribute_text(dataset, "Modality") not in _WITHOUT_CONE
        or attribute_text(dataset, "BurnedInAnnotation") == "YES"
    )


def image_regions(dataset: Dataset, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Where SequenceOfUltrasoundRegions says that images are (2D regions if there are any): (h, w) bool, or None."""
    inside = {True: np.zeros(shape, np.bool_), False: np.zeros(shape, np.bool_)}
    try:
        for region in dataset.get("SequenceOfUltrasoundRegions") or []:
            x0, y0 = int(region.RegionLocationMinX0), int(region.RegionLocationMinY0)
            x1, y1 = int(region.RegionLocationMaxX1), int(region.RegionLocationMaxY1)
            if 0 <= x0 <= x1 and 0 <= y0 <= y1:
                is_2d = region.get("RegionSpatialFormat") == 1
                inside[is_2d][y0 : y1 + 1, x0 : x1 + 1] = True
    except (AttributeError, TypeError, ValueError):
        return None
    for mask in (inside[True], inside[False]):
        if mask.any():
            return mask
    return None


def blank_outside_cone(
    frames: NDArray[np.uint8], regions: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.uint8], float]:
    """Clean Pixel Data: set to 0, in every frame, each pixel that lies outside the cone or outside `regions`.

    Parameters
    ----------
    frames : (n, h, w) uint8
        Changed in place where it can be written.
    regions : (h, w) bool, optional
        Where the header says that images are.

    Returns
    -------
    frames : (n, h, w) uint8
    blanked : float
        Share of the image: 0.0 where there is neither cone nor region, because the picture fills its frame.

    Raises
    ------
    ValueError
        Next to nothing is bright and there is no cone: what little is bright is then as likely a name as a heart.
    """
    from enrich_assets.method.images.cone import cone_mask  # late: it loads OpenCV

    inside = np.asarray(cone_mask(frames), np.bool_)
    if regions is not None and (inside & regions).any():
        inside = inside & regions
    if inside.all():
        bright = float((frames.max(axis=0) > _DARK).mean())
        if 0.0 < bright < _LEAST_BRIGHT_SHARE:
            raise ValueError("no cone in a dark picture")
        return frames, 0.0
    if not frames.flags.writeable:
        frames = frames.copy()
    np.multiply(frames, inside, out=frames)
    return frames, float(1 - inside.mean())
