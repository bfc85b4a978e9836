"""Which batches a run of Dagster works on: those it was told of; all, where it was told of none."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.mount import BATCH
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import make_cells, opened, write_stills


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    archive = opened(tmp_path / "home")
    for batch, patient in (("one", "P1"), ("two", "P2")):
        rows: list[dict[str, object]] = [{"patient_id": patient, "split": "train", "label": "NT"} for _ in range(3)]
        ingest(archive, str(write_stills(tmp_path / batch, rows)), batch)
    make_cells(archive, "one")
    return archive


def makes_test_set(archive: Archive, known: list[str]) -> bool:
    """Whether a run on an instance that knows these batches makes the test set."""
    definitions = build_definitions(archive.profile, ArchiveResource.of(archive))
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        if known:
            instance.add_dynamic_partitions(BATCH, known)
        result = job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["view", "test_set"])], raise_on_error=False
        )
    return bool(result.get_asset_materialization_events())


def test_a_batch_that_is_no_partition_yet_is_left_out(archive: Archive) -> None:
    assert makes_test_set(archive, ["one"])
    read = archive.store.receipts.require(Cell("view/test_set")).read
    assert {Cell.parse(name).partition for name in read} == {"one"}


def test_an_instance_that_was_told_of_none_works_on_all(archive: Archive) -> None:
    assert not makes_test_set(archive, []), "nothing of batch two was read yet"
    make_cells(archive, "two")
    assert makes_test_set(archive, [])
    read = archive.store.receipts.require(Cell("view/test_set")).read
    assert {Cell.parse(name).partition for name in read} == {"one", "two"}
