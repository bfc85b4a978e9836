"""Two archives mounted in one project of somebody else's, by two `defs.yaml`: nothing clashes, each goes its way, and `dg` agrees."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster.components import load_from_defs_folder
from dagster.components.core.component_tree import ComponentTreeException
from PIL import Image

import enrich_assets
from enrich_assets.archive import Archive
from enrich_assets.archive.drops import DropRegister, find_drops, ingest_drops
from enrich_assets.archive.ingest import ingest
from enrich_assets.component import EnrichArchive, MountError
from enrich_assets.defs.attempts import ATTEMPT_OF, MOST_ATTEMPTS, attempts
from enrich_assets.defs.mount import Mount
from enrich_assets.profiles import load_profile
from enrich_assets.store.receipts import Cell

REPOSITORY = Path(enrich_assets.__file__).parents[1]
SMALL = Path(__file__).with_name("small.yaml")
NAMES = ("one", "two")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DECODED = ("studies", "frames", "split", "label_presence", "labels")

needs_dg = pytest.mark.skipif(importlib.util.find_spec("dagster_dg_cli") is None, reason="`dg` is not installed")

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


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Two archives, a batch of stills ingested into each; one has its profile beside its `defs.yaml`, the other in home."""
    for variable in ("ENRICH_HOME", "ENRICH_PROFILE", "ENRICH_STORE", "DAGSTER_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ARCHIVES", str(tmp_path / "archives"))
    made = Project(tmp_path, "mounting")
    for text, file in (
        (PYPROJECT.format(package=made.package), "pyproject.toml"),
        ("", "mounting/__init__.py"),
        (DEFINITIONS, "mounting/definitions.py"),
        ("", "mounting/defs/__init__.py"),
        (ONE, "mounting/defs/one/defs.yaml"),
        (PROFILE, "mounting/defs/one/profile.yaml"),
        (TWO, "mounting/defs/two/defs.yaml"),
        (PROFILE, "archives/two/enrich.yaml"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    for number, name in enumerate(NAMES):
        ingest(made.archive(name), str(write_stills(tmp_path / "stills" / name, seed=number)), f"first_of_{name}")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield made
    for module in [module for module in sys.modules if module.split(".")[0] == made.package]:
        del sys.modules[module]


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


# ------------------------------------------------------------------------------------------------------------ the names


def test_both_archives_load_side_by_side(project: Project) -> None:
    defs = project.load()
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    of = {name: {"/".join(key.path[1:]) for key in graph.get_all_asset_keys() if key.path[0] == name} for name in NAMES}
    assert of["one"] == of["two"] >= {*DECODED, "vae_weights", "view/enrich/ranking", "results", "report"}
    assert len(graph.get_all_asset_keys()) == 2 * len(of["one"])
    checks = [{key.name for key in graph.asset_check_keys if key.asset_key.path[0] == name} for name in NAMES]
    assert checks[0] == checks[1] >= {"patients_disjoint", "panel_is_whole", "joined_to_subsets"}


def test_everything_that_has_a_name_carries_the_prefix_of_its_archive(project: Project) -> None:
    repository = project.load().get_repository_def()
    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    sensors = {sensor.name for sensor in repository.sensor_defs}
    schedules = {schedule.name for schedule in repository.schedule_defs}
    groups = {node.group_name for node in repository.asset_graph.asset_nodes}
    for names in (jobs, sensors, schedules, groups, set(repository.get_top_level_resources())):
        one, two = ({name.removeprefix(f"{p}_") for name in names if name.startswith(f"{p}_")} for p in NAMES)
        assert one == two
        assert len(names) == 2 * len(one) > 0
    assert {"one_decode_batch", "two_ingest_drops", "one_rank_view", "two_train_all_view"} <= jobs
    assert {"one_incoming", "two_first_vae", "one_follow", "two_unseen_changes", "one_retrain_cells"} <= sensors
    assert {"one_tidy_incoming", "two_tidy_incoming"} <= sensors
    assert {"one_recuration", "two_retraining_view"} <= schedules
    partitions = {getattr(n.partitions_def, "name", None) for n in repository.asset_graph.asset_nodes} - {None}
    assert partitions == {"one_batch", "two_batch"}


def test_no_edge_leads_from_one_archive_into_the_other(project: Project) -> None:
    for node in project.load().resolve_asset_graph().asset_nodes:
        assert {parent.path[0] for parent in node.parent_keys} <= {node.key.path[0]}


def test_ops_of_the_two_archives_have_names_of_their_own(project: Project) -> None:
    defs = project.load()
    ops = [
        {node.name for node in defs.resolve_job_def(f"{name}_{job}").nodes}
        for name in NAMES
        for job in ("decode_batch", "ingest_drops", "publish")
    ]
    assert sum(map(len, ops)) == len(set().union(*ops))


def test_without_a_prefix_names_are_those_of_the_archive_by_itself(project: Project) -> None:
    (project.defs_folder / "one" / "defs.yaml").write_text(ONE.replace("  key_prefix: one\n", ""))
    defs = project.load()
    keys = defs.resolve_asset_graph().get_all_asset_keys()
    assert {dg.AssetKey("studies"), dg.AssetKey(["two", "studies"])} <= set(keys)
    assert defs.resolve_job_def("decode_batch")
    assert defs.resolve_job_def("two_decode_batch")


# ------------------------------------------------------------------------------------------------------------- the work


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


# ----------------------------------------------------------------------------------------------------------- the errors


@pytest.mark.parametrize(
    ("yaml", "profile", "sentence"),
    [
        (ONE, "task: {}\n", "profile.yaml, line 1: task is no setting"),
        (ONE.replace("profile.yaml", "absent.yaml"), PROFILE, "absent.yaml: no such profile; name a YAML file"),
        (ONE.replace("archives/one", "pyproject.toml"), PROFILE, "pyproject.toml is a file: name the folder"),
        (ONE.replace("../../../archives/one", "s3://bucket/one"), PROFILE, "put the URL under `store`"),
        (ONE.replace("../../../archives/one", "''"), PROFILE, "is empty: name the folder of the archive"),
        (ONE.replace("key_prefix: one", "key_prefix: heart-left"), PROFILE, "use letters, digits and _"),
    ],
)
def test_what_cannot_be_mounted_is_said_with_the_file_and_what_to_do(
    project: Project, yaml: str, profile: str, sentence: str
) -> None:
    where = project.defs_folder / "one" / "defs.yaml"
    where.write_text(yaml)
    where.with_name("profile.yaml").write_text(profile)
    refusal = refusal_of(project)
    assert re.match(f"{where}: (home|profile|key_prefix): ", refusal)
    assert sentence in refusal


def test_the_home_of_an_earlier_version_is_refused_as_the_project_loads(project: Project) -> None:
    layout = project.folder / "archives" / "one" / "store" / "layout.json"
    layout.write_text(json.dumps({"layout": 1}))
    assert re.search(r"one/defs\.yaml: home: .*layout 1.*another ENRICH_HOME", refusal_of(project))


def refusal_of(project: Project) -> str:
    """Our sentence; Dagster adds which component it came from."""
    with pytest.raises(ComponentTreeException) as refused:
        project.load()
    assert isinstance(refused.value.__cause__, MountError)
    return str(refused.value.__cause__)


# -------------------------------------------------------------------------------------------------------- the import


def test_the_package_offers_the_component_and_imports_nothing_for_it() -> None:
    code = (
        "import sys, enrich_assets; print('EnrichArchive' in dir(enrich_assets), 'dagster' in sys.modules);"
        "from enrich_assets import EnrichArchive; print(EnrichArchive.__name__, [m for m in ('torch', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.split("\n")[:2] == ["True False", "EnrichArchive []"]
    assert enrich_assets.EnrichArchive is EnrichArchive
    with pytest.raises(AttributeError, match="NoSuchThing"):
        enrich_assets.NoSuchThing  # noqa: B018


# ------------------------------------------------------------------------------------------------------------------ dg


@needs_dg
def test_dg_checks_and_lists_the_project(project: Project) -> None:
    checked = project.dg("check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All definitions loaded successfully" in checked.stdout + checked.stderr
    checked = project.dg("check", "yaml", "--validate-requirements")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = project.dg("list", "defs", "--json")
    assert listed.returncode == 0, listed.stderr
    defs = json.loads(listed.stdout)
    for kind, of_each in (("assets", "{}/studies"), ("jobs", "{}_decode_batch"), ("sensors", "{}_incoming")):
        names = {entry.get("asset_key") or entry["name"] for entry in defs[kind]}
        assert {of_each.format(name) for name in NAMES} <= names


@needs_dg
def test_dg_knows_the_component_and_what_its_attributes_mean(project: Project) -> None:
    listed = project.dg("list", "components", "--json")
    components = [entry["key"] for entry in json.loads(listed.stdout)["items"]]
    assert "enrich_assets.EnrichArchive" in components, (
        f"{components}: install enrich-assets again, its entry points have changed (`make setup`)"
    )
    attributes = EnrichArchive.get_model_cls().model_json_schema()["properties"]
    assert set(attributes) == {"home", "profile", "store", "key_prefix"}
    assert all(attribute["description"] for attribute in attributes.values())


@needs_dg
def test_dg_points_at_a_wrong_attribute(project: Project) -> None:
    shutil.rmtree(project.defs_folder / "two")  # of several of one type, `dg check yaml` looks at one alone
    (project.defs_folder / "one" / "defs.yaml").write_text(ONE.replace("key_prefix:", "prefix:"))
    checked = project.dg("check", "yaml")
    assert checked.returncode != 0
    assert "defs.yaml:5" in checked.stdout
    assert "'prefix' was unexpected" in checked.stdout
