"""What Dagster's pages show of a home: what each run made and where, and a subset's frames as pictures."""

from __future__ import annotations

import socket
from pathlib import Path

import dagster as dg

from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.instance import open_instance
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.run_tags import CELLS, NODE
from enrich_assets_tests.made_home import opened, receipt, verdict

SUBSET, PARTITION = "view/enrich/subset", "20|1"


def test_runs_say_what_they_made_of_what_and_where(small: Path) -> None:
    with open_instance(opened(small)) as instance:
        runs = instance.get_runs()
        assert {run.tags[NODE] for run in runs} == {socket.gethostname()}
        (run,) = instance.get_runs(
            dg.RunsFilter(tags={CELLS: "view, 20 labels, seed 1: subset, model, evaluation (enrich, random)"})
        )
        assert {key.path[-1] for key in run.asset_selection} == {"subset", "model", "evaluation"}
        assert len(run.asset_selection) == 6


def test_a_run_that_dagster_began_says_so_too(small: Path) -> None:
    archive = opened(small)
    before = receipt(archive, SUBSET, PARTITION)
    job = build_definitions(archive.profile, ArchiveResource.of(archive)).resolve_implicit_global_asset_job_def()
    with open_instance(archive) as instance:
        chosen = job.get_subset(asset_selection={dg.AssetKey(SUBSET.split("/"))})
        result = chosen.execute_in_process(instance=instance, partition_key=PARTITION)
        tags = instance.get_run_by_id(result.run_id).tags
        assert tags[NODE] == socket.gethostname()
        assert tags[CELLS] == "view, 20 labels, seed 1: subset (enrich)"
        (event,) = result.asset_materializations_for_node("view__enrich__subset")
    table = event.metadata["first_frames"].value
    order = archive.store.table(before, "subset")["frame_id"]
    rows = [line for line in table.splitlines() if "data:image/webp;base64," in line]
    assert [row.split("|")[3].strip() for row in rows] == list(order)
    assert len(table) < 100_000
    after = receipt(archive, SUBSET, PARTITION)
    assert (after.digest, after.inputs, after.files) == (before.digest, before.inputs, before.files), (
        "pictures are no content"
    )
    assert not [name for name in after.read if name.startswith("frames")], "nor part of the lineage"
    assert verdict(archive, "view/enrich/model", PARTITION).is_fresh


def test_an_evaluation_links_to_its_run_in_mlflow(small: Path) -> None:
    archive = opened(small)
    run_id = receipt(archive, "view/enrich/evaluation", PARTITION).metrics["mlflow_run_id"]
    with open_instance(archive) as instance:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey(["view", "enrich", "evaluation"]), asset_partitions=[PARTITION]
            ),
            limit=1,
        ).records
    link = records[0].asset_materialization.metadata["mlflow_run_id"]
    assert isinstance(link, dg.UrlMetadataValue)
    assert f"/runs/{run_id}?" in link.value
    assert link.value.startswith("http://127.0.0.1:5000/#/experiments/")
