"""Progress of long work: how fast it goes, by what was done since it began."""

from __future__ import annotations

import pytest

from enrich_assets import progress
from enrich_assets.progress import Pace


def test_work_of_an_earlier_attempt_does_not_count_as_speed() -> None:
    pace = Pace()
    assert pace.rate(400, 10.0) == 0
    assert pace.rate(410, 15.0) == 2
    assert pace.rate(420, 15.0 + 5.0) == 2


def test_where_there_is_no_terminal_plain_lines_say_how_far_and_how_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 12.0, 13.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress("frames: decoding", "files") as advance:
        advance(1_000, 2_100, {})
        advance(2_000, 2_100, {"frames": 5})
        advance(2_001, 2_100, {})  # too soon after the last line
    assert capsys.readouterr().err.splitlines() == [
        "  frames: decoding: 2,000 of 2,100 files, 90.9/s, 1 s left frames 5"
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (14_660, "14,660"),
        (14_663.0, "14,663"),
        (1_234_567, "1,234,567"),
        (400, "400"),
        (0.123456, "0.1235"),
        (5e-5, "5e-05"),
    ],
)
def test_counts_are_written_in_full_and_losses_to_four_digits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float, text: str
) -> None:
    clock = iter([0.0, 11.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress("ranking", "frames") as advance:
        advance(1, 2, {"frames": value})
    assert capsys.readouterr().err == f"  ranking: 1 of 2 frames frames {text}\n"
