"""Dagster's own home: its settings, written once, and the batches it must know as partitions."""

import json
import os
from pathlib import Path

import dagster as dg
import yaml

from enrich_assets.archive.home import Archive
from enrich_assets.defs.mount import Mount
from enrich_assets.settings import Profile
from enrich_assets.store.folder import Folder
from enrich_assets.store.remote.databases import DRIVER, FROM_ENVIRONMENT, database_url

MOST_WORKERS = 8  # a worker holds torch, Dagster and MLflow: some 0.7 GB before the first frame

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

# A run that crashed is launched again; steps that failed are not, they say why.
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false
"""


STORAGE = """
# Runs, events and schedules, for every node that knows this address.
storage:
  postgres:
    postgres_url: {url}
"""


class OtherStorage(RuntimeError):
    """`dagster.yaml` keeps Dagster's records elsewhere than the profile says."""


def cells_at_once(profile: Profile) -> int:
    """Trainings side by side: as the profile says; by default one on a GPU, else one per core, up to 8."""
    if profile.workers is not None:
        return profile.workers
    from enrich_assets.method.device import pick
    from enrich_assets.method.threads import n_threads

    return 1 if pick(profile.device).type != "cpu" else min(MOST_WORKERS, n_threads())


def dagster_home(home: Path, profile: Profile) -> Path:
    """The folder of Dagster's instance, made with its `dagster.yaml` where it is missing.

    Returns
    -------
    Path
        DAGSTER_HOME where that is set, else `dagster/` in home.

    Raises
    ------
    OtherStorage
        If the profile names a database for Dagster, and the `dagster.yaml` that is there another or none.
    """
    named = os.environ.get("DAGSTER_HOME")
    folder = Path(named) if named else home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    settings = Folder(str(folder))
    if not settings.exists("dagster.yaml"):
        at_once = cells_at_once(profile)
        text = DAGSTER_YAML.format(at_once=at_once, runs=max(2, at_once))
        if profile.tracking.dagster_storage:
            text += STORAGE.format(url=_storage_url(profile.tracking.dagster_storage))
        settings.write("dagster.yaml", text.encode())
    elif profile.tracking.dagster_storage:
        _require_storage(folder / "dagster.yaml", profile.tracking.dagster_storage)
    return folder


def _storage_url(address: str) -> str:
    """The address as `dagster.yaml` holds it, in YAML: one from the environment by its name, so that no password is written down."""
    if address.startswith(FROM_ENVIRONMENT):
        name = address.removeprefix(FROM_ENVIRONMENT)
        if os.environ.get(name) != database_url(address):
            raise OtherStorage(f"{name} must name the driver, because Dagster reads it as it stands: write {DRIVER}...")
        return json.dumps({"env": name})
    return json.dumps(database_url(address))


def _require_storage(file: Path, address: str) -> None:
    """Compare an existing `dagster.yaml`, which is its owner's to change, with what the profile asks for."""
    settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    storage = settings.get("storage") or {}
    if json.loads(_storage_url(address)) != (storage.get("postgres") or {}).get("postgres_url"):
        raise OtherStorage(
            f"{file} keeps Dagster's records elsewhere than the profile says (tracking.dagster_storage): remove it, and it is written "
            "again, or write the same address into it"
        )


def open_instance(archive: Archive) -> dg.DagsterInstance:
    """The instance of this home, knowing every batch that was ingested."""
    instance = dg.DagsterInstance.from_config(str(dagster_home(archive.home, archive.profile)))
    know_batches(archive, instance)
    return instance


def know_batches(archive: Archive, instance: dg.DagsterInstance, mount: Mount = Mount()) -> None:  # noqa: B008  (frozen)
    """Make every batch of the archive a partition."""
    name = mount.batches.name
    assert name is not None
    known = set(instance.get_dynamic_partitions(name))
    new = [batch for batch in archive.batches if batch not in known]
    if new:
        instance.add_dynamic_partitions(name, new)
