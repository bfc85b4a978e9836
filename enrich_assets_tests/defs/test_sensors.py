"""Drops become batches and runs: detected without being read, and ingested by a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from enrich_assets.archive.drops import DropRegister, remove_read_drops
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.sources import source_files
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets.core.planner import Planner
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.mount import BATCH
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.drop_world import World, repository_of, tick_of
from enrich_assets_tests.defs.made_archive import verdict
from enrich_assets_tests.studies.made_dicom import dataset, save, sector


def test_a_complete_drop_becomes_a_batch_and_one_run(world: World) -> None:
    world.drop("monday", ready=False)
    assert world.look(0) == []
    (found,) = world.look(60)
    assert found.job_name == "ingest_drops"
    assert world.archive.batches == [], "a sensor detects, a run ingests"
    world.ingest(found)
    (request,) = world.look(60)
    assert (request.job_name, request.partition_key) == ("decode_batch", "monday")
    assert str(request.run_key).startswith("decode-monday-")
    assert world.instance.get_dynamic_partitions(BATCH) == ["monday"]
    world.make("monday")
    assert world.look(60) == []


def test_the_same_drop_again_does_nothing(world: World) -> None:
    world.drop("monday")
    world.tick()
    world.make("monday")
    assert world.tick() == []
    world.cursor = None  # somebody resets the sensor
    assert world.tick() == []
    world.drop("copy-of-monday")
    for file in (world.incoming / "monday").iterdir():
        (world.incoming / "copy-of-monday" / file.name).write_bytes(file.read_bytes())
    assert world.tick() == []
    assert world.archive.batches == ["monday"]


def test_a_run_is_asked_for_by_the_same_key_until_the_batch_is_read(world: World) -> None:
    """Were the daemon stopped between noting a drop down and launching its run, nothing would be lost, nothing run twice."""
    world.drop("monday")
    (found,) = world.look()
    assert [r.run_key for r in world.look()] == [found.run_key]
    world.ingest(found)
    (request,) = world.look()
    assert [r.run_key for r in world.look()] == [request.run_key]


def test_a_changed_drop_gives_its_batch_a_new_revision_and_a_new_run(world: World) -> None:
    world.drop("monday")
    (before,) = world.tick()
    world.make("monday")
    world.drop("monday", "one", "two", seed=1)
    (after,) = world.tick()
    assert (after.partition_key, world.revision("monday")) == ("monday", 2)
    assert after.run_key != before.run_key
    assert verdict(world.archive, "studies", "monday").why == "changed: manifest"


def test_touched_files_of_the_same_content_change_nothing(world: World) -> None:
    folder = world.drop("monday")
    world.tick()
    world.make("monday")
    for file in folder.iterdir():
        file.touch()
    assert world.tick() == []
    assert world.revision("monday") == 1


def test_a_burst_of_drops_becomes_few_batches(tmp_path: Path) -> None:
    world = World(tmp_path, drops_per_batch=3)
    for name in ("a", "b", "c", "d"):
        world.drop(name)
    requests = world.tick()
    assert [r.partition_key for r in requests] == ["a-and-2-more", "d"]
    assert world.patients("a-and-2-more") == ["a", "b", "c"]
    world.make("a-and-2-more")
    world.make("d")
    world.drop("b", "one", "two", seed=1)
    (again,) = world.tick()
    assert again.partition_key == "a-and-2-more"
    assert world.patients("a-and-2-more") == ["a", "b", "b", "c"], "the others' rows stay"


def test_a_broken_drop_is_set_aside_with_its_reason_and_the_next_goes_on(world: World) -> None:
    broken = world.drop("broken")
    (broken / "manifest.csv").write_text("file,who\none.png,x\n")
    empty = world.drop("gone")
    (empty / "one.png").unlink()
    world.drop("good")
    assert [r.partition_key for r in world.tick()] == ["good"]
    assert sorted(p.name for p in world.incoming.iterdir()) == ["good"]
    quarantine = world.home / "quarantine"
    assert sorted(p.name for p in quarantine.iterdir()) == ["broken", "gone"]
    reason = (quarantine / "broken" / "REASON.txt").read_text()
    assert "manifest.csv" in reason
    assert "has no column `path`" in reason
    assert "move the folder back" in reason
    assert (quarantine / "broken" / "one.png").exists()
    assert "no such file" in (quarantine / "gone" / "REASON.txt").read_text()


def test_a_corrected_drop_may_come_back(world: World) -> None:
    broken = world.drop("monday")
    whole = (broken / "manifest.csv").read_text()
    (broken / "manifest.csv").write_text("nonsense")
    world.tick()
    back = world.home / "quarantine" / "monday"
    (back / "REASON.txt").unlink()
    (back / "manifest.csv").write_text(whole)
    back.rename(broken)
    assert [r.partition_key for r in world.tick()] == ["monday"]


def test_a_new_drop_never_takes_the_name_of_another_batch(world: World) -> None:
    world.drop("monday")
    ingest(world.archive, str(world.drop("other")), "monday")
    requests = world.tick()
    assert {r.partition_key for r in requests} >= {"monday-2"}
    assert set(world.patients("monday")) == {"other"}


def test_a_dicom_drop_is_not_named_after_its_folder(world: World) -> None:
    name = "DOE_JANE"
    save(dataset(sector(2), modality="US", PatientID="X1"), world.incoming / name / "IM0001")
    (world.incoming / name / "_READY").touch()
    (request,) = world.tick()
    assert request.partition_key == "batch-0001"
    assert name not in str(world.cursor)
    stored = b"".join(p.read_bytes() for p in (world.home / "store").rglob("*") if p.is_file())
    assert name.encode() not in stored
    rows = world.archive.register.rows(world.archive.batch("batch-0001"))
    assert name not in rows.to_csv()
    assert [source_files(world.archive).address(p) for p in rows["path"]] == [str(world.incoming / name / "IM0001")]
    world.make("batch-0001", "studies", "frames")
    assert world.archive.store.receipts.require(Cell("frames", "batch-0001")).metrics["frames"] == 2


def test_read_dicom_drops_are_removed_when_the_profile_says_so(world: World) -> None:
    save(dataset(sector(2), modality="US"), world.incoming / "exam" / "IM1")
    (world.incoming / "exam" / "_READY").touch()
    world.drop("with-manifest")
    world.tick()
    drop_register = DropRegister(world.archive)
    assert sum(remove_read_drops(world.archive, drop_register, batch) for batch in world.archive.batches) == 1
    assert [p.name for p in world.incoming.iterdir()] == ["with-manifest"]


OPENED: list[str] | None = None


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and OPENED is not None:
        OPENED.append(str(arguments[0]))


sys.addaudithook(_note_opened)


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Paths of all files that Python opens meanwhile."""
    global OPENED
    OPENED = []
    try:
        yield OPENED
    finally:
        OPENED = None


def test_a_tick_detects_without_opening_a_file_of_a_drop(world: World) -> None:
    """A file that cannot be read, or is read for an hour, is the business of the run."""
    folder = world.drop("monday")
    (folder / "one.png").unlink()
    (folder / "one.png").symlink_to("/nowhere/at/all.png")
    (folder / "manifest.csv").chmod(0)
    with opened_files() as paths:
        (request,) = world.look()
    assert request.job_name == "ingest_drops"
    assert not [path for path in paths if path.startswith(str(world.incoming))]
    with opened_files() as paths:
        assert DropRegister(world.archive).entries == {}
        (folder / "_READY").read_bytes()
    assert str(folder / "_READY") in paths, "the hook sees what is opened"


def test_the_job_ingests_the_drops_and_adds_the_partition(world: World) -> None:
    world.drop("monday")
    (request,) = world.look()
    definitions = build_definitions(world.archive.profile, ArchiveResource.of(world.archive))
    result = definitions.resolve_job_def("ingest_drops").execute_in_process(
        instance=world.instance, run_config=dict(request.run_config), tags=dict(request.tags)
    )
    assert result.success
    assert world.instance.get_dynamic_partitions(BATCH) == ["monday"]
    assert world.patients("monday") == ["monday"]
    (decode,) = world.look()
    assert decode.partition_key == "monday"
    decoded = definitions.resolve_job_def("decode_batch").execute_in_process(
        instance=world.instance, partition_key=decode.partition_key, tags=dict(decode.tags)
    )
    assert decoded.success
    assert world.archive.store.receipts.require(Cell("frames", "monday")).metrics["frames"] == 1
    planner = Planner(world.archive, world.graph)
    assert all(planner.verdict(world.graph[asset], "monday").is_fresh for asset in BATCH_ASSETS)
    assert world.look() == []


def test_the_sensor_as_dagster_evaluates_it(world: World) -> None:
    """The definition itself: its cursor is text, its requests are for the job `ingest_drops`."""
    world.drop("monday")
    world.instance = dg.DagsterInstance.local_temp(str(world.home))  # one with tables, as the daemon has
    data = tick_of(world, "incoming")
    assert [r.job_name for r in data.run_requests or []] == ["ingest_drops"]
    (seen,) = json.loads(data.cursor or "")["seen"]
    assert seen == DropRegister(world.archive).key_of("monday"), "by a keyed hash of its name"
    sensor = repository_of(world).get_sensor_def("incoming")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == world.archive.profile.incoming.interval_seconds
