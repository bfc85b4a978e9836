"""Two archives in one project, by two `defs.yaml`: nothing clashes."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg
import pytest

import enrich_assets
from enrich_assets.component import EnrichArchive
from enrich_assets_tests.component.mounted import (
    DECODED,
    NAMES,
    ONE,
    REPOSITORY,
    Project,
)


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
