"""The repository of definitions: its keys, checks, edges, jobs and partitions are as the design says; no ranking depends on a label."""

from __future__ import annotations

import dagster as dg
import pytest

from enrich_assets.core.reads import Over
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.build import build_definitions
from enrich_assets.profiles import load_profile


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(load_profile("demo"))


def key(text: str) -> dg.AssetKey:
    return dg.AssetKey(text.split("/"))


def test_keys_are_those_of_the_design(definitions: dg.Definitions) -> None:
    keys = {"/".join(k.path) for k in definitions.resolve_asset_graph().get_all_asset_keys()}
    whole = {
        "studies",
        "frames",
        "split",
        "label_presence",
        "labels",
        "vae_weights",
        "embeddings/vae",
        "archive/similarity/vae",
        "archive/redundancy/vae",
        "leaks",
        "embedding_health",
        "results",
        "report",
    }
    per_task = {"pool", "similarity/vae", "redundancy/vae", "test_set", "training_length", "comparison", "worklist"}
    per_arm = {"ranking", "subset", "model", "evaluation"}
    wanted = whole | {f"{t}/{a}" for t in ("view", "chambers") for a in per_task}
    wanted |= {f"{t}/{arm}/{a}" for t in ("view", "chambers") for arm in ("enrich", "random", "all") for a in per_arm}
    assert keys == wanted


def test_checks_are_those_of_the_graph_and_blocking_where_nothing_may_follow(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found = {f"{'/'.join(k.asset_key.path)}@{k.name}": graph.get(k) for k in graph.asset_check_keys}
    declared = graph_of(load_profile("demo")).checks
    assert set(found) == set(declared)
    assert {key for key, node in found.items() if node.blocking} == {k for k, c in declared.items() if c.blocking}
    warnings = {check.check_name for check in declared.values() if not check.blocking}
    assert warnings == {
        "manifest_moves_nobody",
        "drift",
        "near_duplicates_across_split",
        "labels_agree",
        "patients_differ",
        "stopped_improving",
        "fits_the_pool",
        "nothing_to_warn_of",
    }


def test_a_length_that_the_profile_names_is_no_asset() -> None:
    assert not [k for k in graph_of(load_profile("paper")).steps if k.endswith("training_length")]


def test_no_ranking_depends_on_a_label(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    def ancestors(of: dg.AssetKey) -> set[dg.AssetKey]:
        parents = graph.get(of).parent_keys
        return set(parents).union(*(ancestors(parent) for parent in parents))

    for task in ("view", "chambers"):
        for arm in ("enrich", "random", "all"):
            assert key("labels") not in ancestors(key(f"{task}/{arm}/subset"))
            assert key("labels") in ancestors(key(f"{task}/{arm}/evaluation"))


def test_what_dagster_draws_is_what_the_steps_read(definitions: dg.Definitions) -> None:
    graph, declared = definitions.resolve_asset_graph(), graph_of(load_profile("demo"))
    for name, step in declared.steps.items():
        read = {k for r in step.reads.values() if r.over is not Over.ITSELF for k in r.keys(step.where)} - {name}
        assert graph.get(key(name)).parent_keys == {key(k) for k in read}, name


def test_batches_are_dynamic_and_the_grid_has_two_dimensions(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    assert isinstance(graph.get(key("frames")).partitions_def, dg.DynamicPartitionsDefinition)
    assert isinstance(graph.get(key("view/similarity/vae")).partitions_def, dg.DynamicPartitionsDefinition)
    grid = graph.get(key("view/enrich/model")).partitions_def
    assert isinstance(grid, dg.MultiPartitionsDefinition)
    assert len(grid.get_partition_keys()) == 2 * 5
    assert graph.get(key("view/all/model")).partitions_def.get_partition_keys() == [f"all|{s}" for s in range(5)]


def test_every_asset_says_what_it_is(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for asset in graph.get_all_asset_keys():
        node = graph.get(asset)
        assert node.group_name not in (None, "default"), asset
        assert node.description, asset
        assert node.kinds, asset
        assert node.code_version, asset


def test_an_arm_is_a_group_within_its_task(definitions: dg.Definitions) -> None:
    """The graph showed `evaluation` six times, and nothing of whose it was."""
    graph = definitions.resolve_asset_graph()
    node = graph.get(key("view/enrich/evaluation"))
    assert node.group_name == "view/enrich"
    assert node.tags.items() >= {"enrich/task": "view", "enrich/arm": "enrich"}.items()
    assert node.description.startswith("view, arm enrich: ")
    assert graph.get(key("view/comparison")).group_name == "view"


def test_every_sensor_and_schedule_says_what_it_does(definitions: dg.Definitions) -> None:
    for one in (*definitions.sensors, *definitions.schedules):
        assert len(one.description or "") > 40, one.name
        assert one.description.endswith("."), one.name


def test_each_job_has_one_partitions_definition(definitions: dg.Definitions) -> None:
    names = {job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")}
    per_task = {
        f"{what}_{task}" for what in ("rank", "find_length", "train", "train_all") for task in ("view", "chambers")
    }
    assert names == {"decode_batch", "train_vae", "measure_similarity", "publish", "ingest_drops"} | per_task


@pytest.mark.parametrize("name", ["archive", "paper"])
def test_other_profiles_load_too(name: str) -> None:
    assert build_definitions(load_profile(name)).resolve_asset_graph().get_all_asset_keys()
