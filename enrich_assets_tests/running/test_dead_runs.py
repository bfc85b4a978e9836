"""Runs that a killed `enrich run` left behind are ended by the next one; nobody else's are touched."""

from __future__ import annotations

import dagster as dg

from enrich_assets.running.execution import TAGS, fail_dead_runs


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
