"""`enrich plan`: it forecasts what `enrich run` then makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.profiles import load_profile
from enrich_assets.running.forecast import PlannedStage, make_plan, plan_text
from enrich_assets.store.receipts import Cell


@pytest.fixture
def archive(small: Path) -> Archive:
    return Archive(small, load_profile(str(small / "enrich.yaml")))


def training(archive: Archive) -> PlannedStage:
    return next(stage for stage in make_plan(archive).stages if stage.name == "view: training")


def test_where_everything_stands_there_is_nothing_to_do(archive: Archive) -> None:
    assert plan_text(archive).startswith("everything is up to date")


def test_cells_that_are_gone_are_forecast_with_what_they_took_before(archive: Archive) -> None:
    seconds = 0.0
    for partition in ("10|0", "10|1"):
        for arm in ("enrich", "random"):
            model = Cell(f"view/{arm}/model", partition)
            seconds += archive.store.receipts.require(model).metrics["seconds"]
            archive.store.receipts.forget(model)
    stage = training(archive)
    assert len(stage.cells) == 2 * 2 * 2
    assert stage.is_measured
    assert stage.seconds > seconds / 4
    assert f"{len(stage.cells)}" in plan_text(archive)


def test_cells_side_by_side_take_half_the_time(archive: Archive) -> None:
    for partition in ("10|0", "10|1"):
        archive.store.receipts.forget(Cell("view/enrich/model", partition))
    alone = training(archive)
    archive.profile = archive.profile.model_copy(update={"workers": 2})
    assert training(archive).seconds == pytest.approx(alone.seconds / 2)
    steps = archive.store.receipts.require(Cell("view/training_length")).metrics["steps"]
    assert training(archive).note == f"2 trainings, 2 scores, 2 at a time, {steps} steps each"


def test_a_damaged_table_does_not_stop_the_plan(archive: Archive) -> None:
    subset = archive.store.receipts.require(Cell("view/enrich/subset", "10|0"))
    Path(archive.store.folder.path(archive.store.path(subset, "subset.parquet"))).write_bytes(b"")
    for partition in ("10|0", "10|1"):
        archive.store.receipts.forget(Cell("view/enrich/model", partition))
    cells = set(training(archive).cells)
    assert Cell("view/enrich/model", "10|1") in cells
    assert Cell("view/enrich/model", "10|0") not in cells, "it cannot be made of what cannot be read"


def test_before_anything_is_decoded_a_task_of_masks_counts_the_masks(archive: Archive, tmp_path: Path) -> None:
    fresh = Archive(tmp_path / "fresh", archive.profile)
    ingest(fresh, str(archive.home / "phantom"), "first")
    rows = fresh.register.rows(fresh.batch("first"))
    sides = Catalogue(archive).split().sides  # of the same files, where they were split
    of_train = round(rows["mask_path"].notna().sum() * (rows["patient_id"].map(sides) == "train").mean())
    ranking = next(stage for stage in make_plan(fresh).stages if stage.name == "chambers: ranking")
    assert ranking.note.startswith(f"{of_train:,} frames, ")


def test_before_anything_is_decoded_frames_are_estimated_by_the_headers_of_some_files(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly where every file is looked into; within a fifth by some of them, for the phantom's clips are of several lengths."""
    from enrich_assets.archive.sides import expected

    fresh = Archive(tmp_path / "fresh", archive.profile)
    ingest(fresh, str(archive.home / "phantom"), "first")
    rows, decoded = fresh.register.rows(fresh.batch("first")), len(Catalogue(archive).frame_table())
    frames, is_estimate = expected.expected_frames(fresh, rows)
    assert not is_estimate
    assert frames.sum() == decoded
    monkeypatch.setattr(expected, "MOST_LOOKED_INTO", 16)
    frames, is_estimate = expected.expected_frames(fresh, rows)
    assert is_estimate
    assert frames.sum() == pytest.approx(decoded, rel=0.2)


def test_the_plan_of_an_empty_home_says_that_it_is_empty(tmp_path: Path) -> None:
    assert "no studies were ingested yet" in plan_text(Archive(tmp_path / "none", load_profile("demo")))
