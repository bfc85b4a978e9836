"""A Dagster project of somebody else's in which two archives are mounted, and what a daemon would do with it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster.components import load_from_defs_folder
from PIL import Image

import enrich_assets
from enrich_assets.archive import Archive
from enrich_assets.profiles import load_profile

REPOSITORY = Path(enrich_assets.__file__).parents[1]
SMALL = Path(__file__).parents[1] / "small.yaml"
NAMES = ("one", "two")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DECODED = ("studies", "frames", "split", "label_presence", "labels")

PYPROJECT = """\
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{package}"
"""
DEFINITIONS = """\
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
ONE = """\
type: enrich_assets.EnrichArchive
attributes:
  home: ../../../archives/one
  profile: profile.yaml
  key_prefix: one
"""
TWO = """\
type: enrich_assets.EnrichArchive
attributes:
  home: "{{ env.ARCHIVES }}/two"
  store: ../../../elsewhere
  key_prefix: two
requirements:
  env: [ARCHIVES]
"""
# Everything that makes a sensor or a schedule of its own; no time passes before a drop is complete.
PROFILE = f"""\
extends: {SMALL}
incoming: {{settle_seconds: 0, after: remove}}
schedules: {{retraining: "0 5 * * 1"}}
tasks: {{chambers: null}}
"""


@dataclass(frozen=True)
class Project:
    """A Dagster project in a folder, as somebody would write it who never saw our code."""

    folder: Path
    package: str

    @property
    def defs_folder(self) -> Path:
        return self.folder / self.package / "defs"

    def archive(self, name: str) -> Archive:
        """The archive as the `enrich` command would open it."""
        home = self.folder / "archives" / name
        store = self.folder / "elsewhere" if name == "two" else home / "store"
        return Archive(home, load_profile(str(self.defs_folder / "one" / "profile.yaml")), str(store))

    def load(self) -> dg.Definitions:
        return load_from_defs_folder(path_within_project=self.folder)

    def dg(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, in the project; the project and this checkout are importable, neither is installed."""
        instance = self.folder / "dagster"
        instance.mkdir(exist_ok=True)
        (instance / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        path = os.pathsep.join([str(self.folder), str(REPOSITORY)])
        of_project = {"PYTHONPATH": path, "HOME": str(self.folder), "DAGSTER_HOME": str(instance)}
        environment = {**os.environ, **of_project, "NO_COLOR": "1", "COLUMNS": "400"}
        command = [sys.executable, "-m", "dagster_dg_cli.cli", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)


def write_stills(folder: Path, seed: int, patients: int = 6) -> Path:
    """A picture of noise for each patient, half of them labelled, and the manifest."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        Image.fromarray(rng.integers(0, 255, (60, 60), dtype=np.uint8)).save(folder / f"{patient}.png")
        label = ("A4C", "NT", "", "")[patient % 4]
        rows.append({"path": f"{patient}.png", "patient_id": f"{folder.name}{patient}", "label": label})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder


def tick(
    defs: dg.Definitions, sensor: str, instance: dg.DagsterInstance, cursor: str | None = None
) -> SensorExecutionData:
    """What the daemon would do at a tick: evaluate, and make what is requested partitions."""
    resources = defs.get_repository_def().get_top_level_resources()
    reference = None if instance.is_ephemeral else instance.get_ref()
    with dg.build_sensor_context(
        instance, cursor=cursor, definitions=defs, resources=resources, instance_ref=reference
    ) as context:
        result = defs.resolve_sensor_def(sensor).evaluate_tick(context)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return result


def lasting_instance(project: Project) -> dg.DagsterInstance:
    """One on disk: an ephemeral one has no reference by which Dagster looks up the partition of a run request."""
    folder = project.folder / "dagster"
    folder.mkdir(exist_ok=True)
    return dg.DagsterInstance.local_temp(str(folder))


def decode(defs: dg.Definitions, name: str, batch: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def(f"{name}_decode_batch")
    return job.execute_in_process(run_config=QUIET, instance=instance, partition_key=batch)


def carry_out(defs: dg.Definitions, request: dg.RunRequest, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """A run as it was asked for: these assets and checks of a job, for a partition, with its tags."""
    job = defs.resolve_job_def(request.job_name).get_subset(
        asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys or ())
    )
    return job.execute_in_process(
        run_config=QUIET, instance=instance, partition_key=request.partition_key, tags=dict(request.tags)
    )
