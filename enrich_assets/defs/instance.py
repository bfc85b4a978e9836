"""Dagster's own home inside ours: its settings, written once, and the batches it must know as partitions."""

import os
from pathlib import Path

import dagster as dg

from enrich_assets.archive import Archive
from enrich_assets.defs.partitions import BATCH
from enrich_assets.defs.workers import trainings_at_once
from enrich_assets.settings import Profile
from enrich_assets.store.folder import Folder

DAGSTER_YAML = """\
# Written by enrich when this home was made; yours to change.
telemetry:
  enabled: false
nux:
  enabled: false

# A run whose process died gives its place back.
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60

# Training and embedding take a GPU one at a time; without one, a core each.
concurrency:
  pools:
    default_limit: {at_once}
    granularity: run
  runs:
    max_concurrent_runs: {runs}

run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
"""


def dagster_home(home: Path, profile: Profile) -> Path:
    """The folder `dagster/` in home, made with its `dagster.yaml` if it is not there; named in DAGSTER_HOME."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    settings = Folder(str(folder))
    if not settings.exists("dagster.yaml"):
        at_once = trainings_at_once(profile)
        settings.write("dagster.yaml", DAGSTER_YAML.format(at_once=at_once, runs=max(2, at_once)).encode())
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def open_instance(archive: Archive) -> dg.DagsterInstance:
    """The instance of this home, knowing every batch that has arrived."""
    dagster_home(archive.home, archive.profile)
    instance = dg.DagsterInstance.get()
    know_batches(archive, instance)
    return instance


def know_batches(archive: Archive, instance: dg.DagsterInstance) -> None:
    known = set(instance.get_dynamic_partitions(BATCH))
    new = [batch for batch in archive.batches if batch not in known]
    if new:
        instance.add_dynamic_partitions(BATCH, new)
