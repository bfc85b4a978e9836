"""What happens while a run is at work: a batch is ingested, and the run goes on with what was there when it began."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrich_assets.archive.ingest import ingest
from enrich_assets.core.partitions import cell_keys
from enrich_assets.core.where import arms_of
from enrich_assets.store.receipts import Cell
from enrich_assets.studies.phantom import write_phantom
from enrich_assets_tests.made_home import finished, held, opened, run, sql, verdict

pytestmark = pytest.mark.long

GRID = ("subset", "model", "evaluation")


def test_a_batch_ingested_during_a_run_waits_for_the_next(small: Path) -> None:
    """`enrich ingest` of seven clips while 49 cells trained left 30 of them "not made: frames[batch-0001] ...", exit 1."""
    archive = opened(small)
    for arm in arms_of(archive.profile.tasks["view"]):
        for partition in held(archive, f"view/{arm}/evaluation"):
            for asset in ("model", "evaluation"):
                archive.store.receipts.forget(Cell(f"view/{arm}/{asset}", partition))
    write_phantom(str(small / "later"), patients=2, first_patient=8, scale=0.15)
    ingested: list[str] = []

    def ingest_at_the_first_training(line: str) -> None:
        if " training " in line and not ingested:
            batch = ingest(opened(small), str(small / "later"), "second").batch
            ingested.append(batch.name)

    outcome = run(archive, say=ingest_at_the_first_training)
    assert ingested == ["second"]
    assert (outcome.failed, outcome.blocked, outcome.waiting) == ({}, {}, 0)
    assert archive.batches == ["first"], "a run works on the batches that were there when it began"
    for arm in arms_of(archive.profile.tasks["view"]):
        grid = set(cell_keys(archive.profile.tasks["view"], arm))
        for asset in GRID:
            assert held(archive, f"view/{arm}/{asset}").keys() == grid
    assert sql(archive, "SELECT DISTINCT batch FROM frames")["batch"].tolist() == ["first"]
    assert all(
        verdict(archive, f"view/{arm}/evaluation", partition).is_fresh
        for arm in arms_of(archive.profile.tasks["view"])
        for partition in held(archive, f"view/{arm}/evaluation")
    )

    assert opened(small).batches == ["first", "second"]
    finished(opened(small))
    assert set(sql(archive, "SELECT DISTINCT batch FROM frames")["batch"]) == {"first", "second"}
    assert run(opened(small)).runs == 0


def test_a_batch_ingested_between_two_stages_is_not_read_by_any_of_them(small: Path) -> None:
    archive = opened(small)
    archive.store.receipts.forget(Cell("view/pool", "first"))
    write_phantom(str(small / "later"), patients=2, first_patient=8, scale=0.15)

    def ingest_at_the_first_line(line: str) -> None:
        if line.startswith("[1/1] similarity"):
            ingest(opened(small), str(small / "later"), "second")

    outcome = run(archive, say=ingest_at_the_first_line)
    assert opened(small).batches == ["first", "second"]
    assert (outcome.failed, outcome.blocked) == ({}, {})
    named = {Cell.parse(name) for receipt in archive.store.receipts.history("results") for name in receipt.read}
    assert "second" not in {cell.partition for cell in named}
