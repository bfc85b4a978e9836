"""Pseudonyms: the same identifier, the same pseudonym; none can be reversed; the key is kept at one place and never shown."""

from __future__ import annotations

import datetime
import os
import pickle
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.studies.pseudonyms import Pseudonyms

PSEUDONYMS = Pseudonyms(bytes(range(32)))
OTHER_KEY = Pseudonyms(bytes(32))


# -- pseudonyms and dates ------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=20), st.text(max_size=20))
def test_pseudonyms_tell_patients_apart_and_say_nothing_of_them(one: str, other: str) -> None:
    a, b = PSEUDONYMS.patient(one), PSEUDONYMS.patient(other)
    assert re.fullmatch(r"P[0-9a-f]{12,}", a)
    assert a == PSEUDONYMS.patient(one)
    assert a != OTHER_KEY.patient(one)
    if one.isascii() and other.isascii():
        assert (a == b) == (one.strip(" \0") == other.strip(" \0"))
    assert a[1:] not in (PSEUDONYMS.study(one)[1:], PSEUDONYMS.clip(one)[1:])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=12), st.dates(datetime.date(1990, 1, 1)), st.dates(datetime.date(1990, 1, 1)))
def test_shifted_dates_keep_their_distance_within_a_patient_and_are_never_true(
    patient: str, first: datetime.date, second: datetime.date
) -> None:
    shift = PSEUDONYMS.day_shift(patient)
    assert -3650 <= shift <= -1
    moved = [PSEUDONYMS.shifted(day.strftime("%Y%m%d"), patient) for day in (first, second)]
    days = [datetime.date.fromisoformat(str(day)) for day in moved]
    assert days[1] - days[0] == second - first
    assert days[0] != first


def test_shifts_differ_between_patients() -> None:
    assert len({PSEUDONYMS.day_shift(f"patient {n}") for n in range(200)}) > 150


@pytest.mark.parametrize("text", ["", "19991332", "yesterday", "1999", "VANMALIUS"])
def test_what_is_no_date_gives_none(text: str) -> None:
    assert PSEUDONYMS.shifted(text, "1") is None


# -- the key -------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "pseudonyms.key"
    first = Pseudonyms.load_or_create(path)
    content = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Pseudonyms.load_or_create(path).patient("x") == first.patient("x")
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["pseudonyms.key"]
    assert Pseudonyms.load_or_create(tmp_path / "other.key").patient("x") != first.patient("x")


def test_many_who_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: Pseudonyms.load_or_create(tmp_path / "key"), range(16)))
    assert len({pseudonyms.patient("x") for pseudonyms in made}) == 1


def test_a_key_that_others_may_read_is_closed_again(tmp_path: Path) -> None:
    Pseudonyms.load_or_create(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    Pseudonyms.load_or_create(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_the_key_is_never_printed(tmp_path: Path) -> None:
    pseudonyms = Pseudonyms.load_or_create(tmp_path / "key")
    key = (tmp_path / "key").read_text().strip()
    assert key not in repr(pseudonyms) + str(pseudonyms)
    assert repr(bytes.fromhex(key)) not in repr(pseudonyms)
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(pseudonyms)


def test_a_spoilt_key_file_is_neither_replaced_nor_printed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("half a k")
    with pytest.raises(ValueError, match="puts a copy back") as caught:
        Pseudonyms.load_or_create(tmp_path / "key")
    assert "half a k" not in str(caught.value)
    assert (tmp_path / "key").read_text() == "half a k"
