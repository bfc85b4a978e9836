"""What failed is asked for again up to a limit, and one bad drop stops no other."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from enrich_assets.archive import Archive, drops
from enrich_assets.archive.drops import DropRegister
from enrich_assets.archive.ingest import Found
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets.defs.attempts import MOST_ATTEMPTS
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.mount import BATCH
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets_tests.defs.drop_world import World


def test_a_drop_whose_run_failed_is_asked_for_again_up_to_the_limit_and_then_the_sensor_says_so(world: World) -> None:
    world.drop("monday")
    keys = []
    for _ in range(MOST_ATTEMPTS):
        (request,) = world.look()
        keys.append(request.run_key)
        world.ended(request, dg.DagsterRunStatus.STARTED)
        assert world.look() == [], "while one goes on, no other is asked for"
        assert world.skip_reason == "nothing new in incoming/"
        going_on = world.instance.get_runs()[0]
        world.instance.report_run_failed(going_on, "the disk was full")
    assert MOST_ATTEMPTS == 3
    assert len(set(keys)) == 3, "Dagster drops a request whose key it has seen"
    assert world.look() == []
    assert "1 drops could not be ingested in 3 runs" in world.skip_reason
    assert "monday" not in world.skip_reason, "the name of a drop may be a patient's"


def test_a_changed_drop_begins_a_new_count(world: World) -> None:
    world.drop("monday")
    for _ in range(MOST_ATTEMPTS):
        world.failed(world.look()[0])
    assert world.look() == []
    world.drop("monday", seed=1)
    (request,) = world.look()
    assert str(request.run_key).endswith("-1")
    world.ingest(request)
    assert [r.partition_key for r in world.look()] == ["monday"]


def test_a_batch_whose_decoding_failed_is_asked_for_again_up_to_the_limit(world: World) -> None:
    world.drop("monday")
    (request,) = world.tick()
    keys = {request.run_key}
    world.failed(request)
    for _ in range(MOST_ATTEMPTS - 1):
        (request,) = world.look()
        keys.add(request.run_key)
        world.failed(request)
    assert len(keys) == MOST_ATTEMPTS
    assert world.look() == []
    assert "batch monday could not be decoded in 3 runs" in world.skip_reason
    world.drop("monday", "one", "two", seed=1)
    (again,) = world.tick()
    assert again.partition_key == "monday"
    assert again.run_key not in keys


def test_a_batch_whose_decoding_stopped_half_way_is_asked_for_by_the_cells_that_lack(world: World) -> None:
    world.drop("monday")
    world.tick()
    world.make("monday", "studies")
    (request,) = world.look()
    assert request.partition_key == "monday"
    assert {key.to_user_string() for key in request.asset_selection or []} == set(BATCH_ASSETS) - {"studies"}


def test_one_bad_drop_does_not_stop_the_others(world: World) -> None:
    world.drop("bad")
    (bad,) = world.look()
    world.failed(bad)
    world.drop("good")
    again, good = world.look()
    assert again.run_key != bad.run_key
    world.failed(again)
    world.ingest(good)
    requests = world.look()
    assert {(r.job_name, r.partition_key) for r in requests} == {("ingest_drops", None), ("decode_batch", "good")}
    world.failed(next(r for r in requests if r.job_name == "ingest_drops"))
    world.make("good")
    assert world.look() == []
    assert "could not be ingested" in world.skip_reason
    world.drop("later")
    assert [r.job_name for r in world.look()] == ["ingest_drops"]


def make_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drop `bad` may not be looked at."""
    real = drops.look_at

    def look_at(archive: Archive, path: str) -> Found:
        if path.endswith("/bad"):
            raise PermissionError(13, "Permission denied", path)
        return real(archive, path)

    monkeypatch.setattr(drops, "look_at", look_at)


def test_a_drop_that_cannot_be_read_does_not_stop_those_of_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, drops_per_batch=3)
    for name in ("a", "bad", "c"):
        world.drop(name)
    make_unreadable(monkeypatch)
    (request,) = world.look()
    outcomes = world.ingest(request)
    assert [type(outcome.error) for outcome in outcomes] == [PermissionError, type(None)]
    assert world.archive.batches == ["a-and-1-more"]
    assert world.patients("a-and-1-more") == ["a", "c"]
    assert (world.incoming / "bad").is_dir(), "it stays where it is: the reason may pass"
    world.make("a-and-1-more")
    for _ in range(MOST_ATTEMPTS):
        (request,) = world.look()
        world.ingest(request)
    assert world.look() == []
    assert "1 drops could not be ingested in 3 runs" in world.skip_reason
    monkeypatch.undo()
    (world.incoming / "bad" / "manifest.csv").touch()
    (request,) = world.look()
    world.ingest(request)
    assert world.archive.batches == ["a-and-1-more", "bad"]


def test_drops_that_brought_their_run_down_together_are_tried_each_by_itself(tmp_path: Path) -> None:
    world = World(tmp_path, drops_per_batch=3)
    for name in ("a", "bad", "c"):
        world.drop(name)
    (together,) = world.look()
    world.failed(together)  # killed: nothing of it was ingested
    alone = world.look()
    assert [len(r.run_config["ops"]["ingest"]["config"]["drops"]) for r in alone] == [1, 1, 1]
    bad = DropRegister(world.archive).key_of("bad")
    for request in alone:
        if request.run_config["ops"]["ingest"]["config"]["drops"] == [bad]:
            world.failed(request)
        else:
            world.ingest(request)
    assert world.archive.batches == ["a", "c"]


def test_a_run_with_a_drop_that_cannot_be_read_fails_after_it_has_ingested_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, drops_per_batch=2)
    for name in ("bad", "good"):
        world.drop(name)
    make_unreadable(monkeypatch)
    (request,) = world.look()
    definitions = build_definitions(world.archive.profile, ArchiveResource.of(world.archive))
    result = definitions.resolve_job_def("ingest_drops").execute_in_process(
        instance=world.instance, run_config=dict(request.run_config), tags=dict(request.tags), raise_on_error=False
    )
    assert not result.success
    assert world.instance.get_dynamic_partitions(BATCH) == ["good"]
    assert {r.job_name for r in world.look()} == {"ingest_drops", "decode_batch"}
