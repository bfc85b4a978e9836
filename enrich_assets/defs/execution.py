"""Dagster runs of an archive: a few steps of one partition, executed in this process, and what came of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg

from enrich_assets.archive import Archive
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.steps import ONLY_STALE
from enrich_assets.store.receipts import Cell, DamagedStore, MissingArtefact

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Executed:
    """What a run made, and what it could not: cell -> why, in words for the user."""

    made: int
    seconds: float
    failed: dict[str, str] = field(default_factory=dict)


class Execution:
    """Executes runs on the instance that the UI shows."""

    def __init__(self, archive: Archive, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        definitions = build_definitions(archive.profile, ArchiveResource.of(archive))
        self._job = definitions.resolve_implicit_global_asset_job_def()

    def execute(self, keys: Sequence[str], partition: str) -> Executed:
        """Make the stale ones of these cells (asset keys, one partition). A failure of one is told, not raised."""
        start = time.perf_counter()
        result = self._job.execute_in_process(
            run_config=QUIET,
            instance=self.instance,
            partition_key=partition or None,
            asset_selection=[dg.AssetKey(key.split("/")) for key in keys],
            tags={ONLY_STALE: "true", "enrich/command": "run"},
            raise_on_error=False,
        )
        unsound = {
            check.asset_key.to_user_string(): f"did not pass its check {check.check_name}: {check.description}"
            for check in result.get_asset_check_evaluations()
            if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
        }
        failures = ((event.step_key or "", event) for event in result.all_events if event.is_step_failure)
        steps = {key.replace("__", "/"): event for key, event in failures}
        failed = {str(Cell(key, partition)): unsound.get(key) or _in_words(event) for key, event in steps.items()}
        return Executed(len(result.get_asset_materialization_events()), time.perf_counter() - start, failed)


def _in_words(event: dg.DagsterEvent) -> str:
    """The error as the user should read it: ours in its own words, others with their type."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "failed"
    text = " ".join(error.message.split())
    for ours in (MissingArtefact, DamagedStore):
        text = text.removeprefix(f"{ours.__module__}.{ours.__name__}: ")
    return text
