"""What is stated of the sides, and what is too few."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.sides.counts import count_sides, too_few
from enrich_assets.archive.sides.summary import side_report
from enrich_assets.cli import main
from enrich_assets_tests.defs.made_archive import make_cells, opened, write_stills


def stills(patients: int, label: str = "NT", first: int = 0) -> list[dict[str, object]]:
    return [
        {"patient_id": f"p{first + i:02d}", "clip_id": f"{i}-{c}", "label": label}
        for i in range(patients)
        for c in range(3)
    ]


def test_patients_and_frames_are_counted_before_and_after_decoding(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    ingest(archive, str(write_stills(tmp_path / "one", stills(8) + stills(4, "A4C", 8), side=24)), "one")
    before = count_sides(archive)
    make_cells(archive, "one")
    after = count_sides(archive)
    for counts in (before, after):
        assert not counts.is_estimate
        assert (counts.of("train"), counts.of("test")) == (9, 3)
        assert counts.of("test", what="frames") == 9
        assert {name: counts.of("test", "view", name) for name in ("NT", "A4C")} == {"NT": 2, "A4C": 1}
        assert counts.of("train", "view", "NT", "frames") == 18
    assert before.table.equals(after.table)


def test_frames_of_a_video_are_estimated_until_it_is_decoded(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    (tmp_path / "clips").mkdir()
    for i in range(2):
        (tmp_path / "clips" / f"{i}.mp4").write_bytes(b"not looked at here %d" % i)
    manifest = "path,patient_id,label\n0.mp4,a,NT\n1.mp4,b,NT\n"
    (tmp_path / "clips" / "manifest.csv").write_text(manifest, encoding="utf-8")
    ingest(archive, str(tmp_path / "clips"), "one")
    assert count_sides(archive).is_estimate
    assert "about" in "\n".join(side_report(archive))


def test_too_few_patients_are_named_with_number_reason_and_remedy(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    ingest(archive, str(write_stills(tmp_path / "one", stills(11) + stills(1, "A4C", 11), side=24)), "one")
    text = "\n".join(side_report(archive))
    assert "only 3 patients on the test side of 12: with fewer than 6 no comparison" in text
    assert (
        "view: A4C has only 0 patients on the test side of 1" in text
        or "view: A4C has only 0 patients on the train" in text
    )
    assert "what helps: ingest studies of more patients" in text


def test_enough_patients_are_no_cause_for_a_warning(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "split: {test_share: 0.25}\n")
    ingest(archive, str(write_stills(tmp_path / "one", stills(16) + stills(16, "A4C", 16), side=24)), "one")
    assert too_few(count_sides(archive)) == []
    assert not [line for line in side_report(archive) if line.startswith(("warning", "what helps"))]


def test_the_commands_state_the_sides(small: Path, tmp_path: Path) -> None:
    """`ingest`, `plan` and `worklist`, in the same words."""
    lines = side_report(opened_as_it_is(small))
    assert len(lines) > 3
    for command in (["plan"], ["worklist", "chambers", "--budget", "2", "--out", str(tmp_path / "w.csv")]):
        assert "\n".join(lines) in CliRunner().invoke(main, command).stdout, command
    folder = write_stills(tmp_path / "more", stills(2, first=50), side=300)
    told = CliRunner().invoke(main, ["ingest", str(folder)]).stdout
    assert "\n".join(side_report(opened_as_it_is(small))) in told


def opened_as_it_is(home: Path):  # type: ignore[no-untyped-def]
    from enrich_assets_tests.made_home import opened as opened_home

    return opened_home(home)
