"""Two archives in one project: each goes its way."""

from __future__ import annotations

import dagster as dg
import pytest

from enrich_assets.archive.drops import DropRegister, find_drops, ingest_drops
from enrich_assets.defs.attempts import ATTEMPT_OF, MOST_ATTEMPTS, attempts
from enrich_assets.defs.mount import Mount
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.component.mounted import (
    DECODED,
    NAMES,
    QUIET,
    Project,
    carry_out,
    decode,
    lasting_instance,
    tick,
    write_stills,
)


def test_a_batch_of_each_is_decoded_from_the_mounted_definitions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENRICH_STORE", str(project.folder / "not_here"))  # names one archive: not these
    monkeypatch.setenv("ENRICH_PROFILE", "paper")
    defs = project.load()
    with dg.DagsterInstance.ephemeral() as instance:
        for name in NAMES:
            tick(defs, f"{name}_incoming", instance)
            assert decode(defs, name, f"first_of_{name}", instance).success
            made = {
                event.asset_key for event in instance.fetch_materializations(dg.AssetKey([name, "labels"]), 9).records
            }
            assert made == {dg.AssetKey([name, "labels"])}
    assert not (project.folder / "not_here").exists()
    for name in NAMES:
        archive = project.archive(name)
        assert archive.batches == [f"first_of_{name}"]
        for key in DECODED:
            assert archive.store.receipts.current(Cell(key, f"first_of_{name}")) is not None
    assert not (project.folder / "archives" / "two" / "store").exists()  # its store is elsewhere


def test_batches_ingested_from_the_command_line_become_partitions_of_their_own_archive(project: Project) -> None:
    """By the tick of either sensor, for one of them may be off."""
    defs = project.load()
    for sensor in ("incoming", "unseen_changes"):
        with dg.DagsterInstance.ephemeral() as instance:
            for name in NAMES:
                assert not tick(defs, f"{name}_{sensor}", instance).run_requests  # ingested by hand: decoded by hand
                assert instance.get_dynamic_partitions(f"{name}_batch") == [f"first_of_{name}"]
            assert instance.get_dynamic_partitions("batch") == []


def test_what_follows_a_batch_is_asked_for_in_its_own_archive_alone(project: Project) -> None:
    defs = project.load()
    with dg.DagsterInstance.ephemeral() as instance:
        for name in NAMES:
            tick(defs, f"{name}_incoming", instance)
        cursor = dg.evaluate_automation_conditions(defs, instance).cursor
        decode(defs, "two", "first_of_two", instance)
        result = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
        keys = defs.resolve_asset_graph().get_all_asset_keys()
        asked = {key: result.get_requested_partitions(key) for key in keys if result.get_num_requested(key)}
        assert asked == {
            dg.AssetKey(["two", "view", "pool"]): {"first_of_two"},
            dg.AssetKey(["two", "view", "test_set"]): {None},
        }


def test_a_label_that_came_unseen_is_asked_for_by_the_sensor_of_its_archive(project: Project) -> None:
    defs = project.load()
    with lasting_instance(project) as instance:
        for name in NAMES:
            tick(defs, f"{name}_incoming", instance)
            decode(defs, name, f"first_of_{name}", instance)
        project.archive("two").store.receipts.forget(Cell("labels", "first_of_two"))
        requests = {}
        for name in NAMES:
            before = tick(defs, f"{name}_unseen_changes", instance)  # automation, which sees edges, goes first
            requests[name] = tick(defs, f"{name}_unseen_changes", instance, before.cursor).run_requests
        asked = {
            name: {key for request in found for key in request.asset_selection} for name, found in requests.items()
        }
        assert dg.AssetKey(["two", "labels"]) in asked["two"]
        assert dg.AssetKey(["one", "labels"]) not in asked["one"]
        assert all(request.tags[ATTEMPT_OF].startswith("two/") for request in requests["two"])


def test_a_drop_is_ingested_and_decoded_by_runs_of_its_own_archive(project: Project) -> None:
    defs = project.load()
    drop = write_stills(project.folder / "archives" / "one" / "incoming" / "monday", seed=7)
    (drop / "_READY").touch()
    with lasting_instance(project) as instance:
        assert not tick(defs, "two_incoming", instance).run_requests
        (request,) = tick(defs, "one_incoming", instance).run_requests
        assert request.job_name == "one_ingest_drops"
        job = defs.resolve_job_def(request.job_name)
        assert job.execute_in_process(run_config={**QUIET, **request.run_config}, instance=instance).success
        assert instance.get_dynamic_partitions("one_batch") == ["first_of_one", "monday"]
        while requests := tick(defs, "one_incoming", instance).run_requests:
            assert {request.job_name for request in requests} == {"one_decode_batch"}
            for request in requests:
                assert carry_out(defs, request, instance).success
        for batch in ("first_of_one", "monday"):  # the one before it, too: whose sides of the split it has to keep
            assert project.archive("one").store.receipts.current(Cell("labels", batch)) is not None
        assert not tick(defs, "two_incoming", instance).run_requests


def test_attempts_of_one_archive_do_not_use_up_those_of_another(project: Project) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(MOST_ATTEMPTS):
            instance.create_run_for_job(
                dg.JobDefinition(name="failed", graph_def=dg.GraphDefinition(name="failed")),
                tags={ATTEMPT_OF: Mount("one").tag("decode-monday")},
                status=dg.DagsterRunStatus.FAILURE,
            )
        assert not attempts(instance, Mount("one").tag("decode-monday")).may_try
        assert attempts(instance, Mount("two").tag("decode-monday")).may_try


def test_while_a_run_makes_cells_of_a_batch_no_other_one_is_asked_for(project: Project) -> None:
    """Of that archive: the other may have a batch of the same name."""
    defs = project.load()
    for name in NAMES:
        drop = write_stills(project.folder / "archives" / name / "incoming" / "monday", seed=7)
        ingest_drops(
            project.archive(name),
            find_drops(project.archive(name), [DropRegister(project.archive(name)).key_of(drop.name)]),
        )
    with lasting_instance(project) as instance:
        instance.create_run_for_job(
            defs.resolve_job_def("one_decode_batch"),
            tags={"dagster/partition": "monday"},
            status=dg.DagsterRunStatus.STARTED,
        )
        asked = {
            name: {request.partition_key for request in tick(defs, f"{name}_incoming", instance).run_requests}
            for name in NAMES
        }
    assert asked == {"one": {"first_of_one"}, "two": {"first_of_two", "monday"}}
