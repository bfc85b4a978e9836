"""Runs that a killed `enrich run` left behind are ended by the next one; nobody else's are touched."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from enrich_assets.archive.ingest import ingest
from enrich_assets.running.execution import TAGS, fail_dead_runs
from enrich_assets.running.upkeep.databases import end_dead_runs
from enrich_assets_tests.defs.made_archive import make_cells, opened, write_stills


def left_behind(instance: dg.DagsterInstance, tags: dict[str, str], status: dg.DagsterRunStatus) -> str:
    job = dg.define_asset_job("job")

    @dg.asset
    def thing() -> None: ...

    definitions = dg.Definitions(assets=[thing], jobs=[job])
    run = instance.create_run_for_job(definitions.resolve_job_def("job"), tags=tags, status=status)
    return run.run_id


def test_runs_of_a_killed_process_are_failed_and_others_left_alone() -> None:
    started = dg.DagsterRunStatus.STARTED
    with dg.DagsterInstance.ephemeral() as instance:
        ours, of_the_ui = left_behind(instance, TAGS, started), left_behind(instance, {}, started)
        done = left_behind(instance, TAGS, dg.DagsterRunStatus.SUCCESS)
        assert fail_dead_runs(instance, "home") == 1
        status = {run.run_id: run.status for run in instance.get_runs()}
        assert status[ours] is dg.DagsterRunStatus.FAILURE
        assert status[of_the_ui] is started
        assert status[done] is dg.DagsterRunStatus.SUCCESS
        assert fail_dead_runs(instance, "home") == 0


def test_what_a_killed_run_made_and_did_not_report_is_told_to_dagster(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    ingest(archive, str(write_stills(tmp_path / "one", [{"patient_id": "a", "clip_id": "c"}])), "one")
    made = make_cells(archive, "one", "studies")
    with dg.DagsterInstance.ephemeral() as instance:
        assert not end_dead_runs(archive, instance), "no run was cut off"
        left_behind(instance, TAGS, dg.DagsterRunStatus.STARTED)
        assert end_dead_runs(archive, instance) == [made]
        event = instance.get_latest_materialization_event(dg.AssetKey("studies"))
        assert event is not None
        assert event.asset_materialization.partition == "one"
        assert event.asset_materialization.tags["dagster/data_version"] == made.digest
        left_behind(instance, TAGS, dg.DagsterRunStatus.STARTED)
        assert not end_dead_runs(archive, instance), "it knows them now"
