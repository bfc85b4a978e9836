"""A check that was not run, though its asset is fresh (a run stopped between the two), is run without the asset being made again."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from enrich_assets.archive import Archive
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.instance import open_instance
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.profiles import load_profile
from enrich_assets.running.driver import Driver
from enrich_assets.store.receipts import Cell

CHECKS = [
    Cell("split@patients_disjoint", "first"),
    Cell("vae_weights@health"),
    Cell("view/enrich/ranking@train_frames_once", "0"),
    Cell("view/comparison@joined_to_subsets"),
]


@pytest.fixture
def archive(small: Path) -> Archive:
    archive = Archive(small, load_profile(str(small / "enrich.yaml")))
    for cell in CHECKS:
        archive.store.receipts.forget(cell)
    return archive


def test_a_run_catches_up_on_checks_of_every_kind_of_partition(archive: Archive) -> None:
    made = {cell: archive.store.receipts.require(Cell(cell.asset.partition("@")[0], cell.partition)) for cell in CHECKS}
    with open_instance(archive) as instance:
        outcome = Driver(archive, instance, print).run()
    assert not outcome.failed
    assert not outcome.blocked
    for cell, before in made.items():
        assert archive.store.receipts.require(cell).metrics["passed"]
        assert archive.store.receipts.require(before.cell) == before, "its asset was not made again"
    with open_instance(archive) as instance:
        assert Driver(archive, instance, print).run().runs == 0, "then there is nothing to do"


def test_the_sensor_asks_for_them_as_dagster_evaluates_it(archive: Archive) -> None:
    definitions = build_definitions(archive.profile, ArchiveResource.of(archive)).get_repository_def()
    sensor = definitions.get_sensor_def("unseen_changes")
    with dg.DagsterInstance.local_temp(str(archive.home)) as instance:
        instance.add_dynamic_partitions("batch", archive.batches)
        cursor = None
        for _ in range(2):  # automation goes first
            context = dg.SensorEvaluationContext(
                instance_ref=instance.get_ref(),
                last_tick_completion_time=None,
                last_run_key=None,
                cursor=cursor,
                log_key=None,
                repository_name=None,
                repository_def=definitions,
                resources={"archive": ArchiveResource.of(archive)},
            )
            data = sensor.evaluate_tick(context)
            cursor = data.cursor
    (request,) = data.run_requests or []
    assert request.partition_key == "first"
    assert request.tags["dagster/partition"] == "first"
    assert not request.asset_selection
    assert {key.name for key in request.asset_check_keys or []} == {"patients_disjoint"}
