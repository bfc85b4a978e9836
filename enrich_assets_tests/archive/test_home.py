"""A home opened: the values it keeps in memory, the batches it works on."""

from __future__ import annotations

from pathlib import Path

from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.values import Value
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import opened, write_stills


def test_a_cell_made_again_with_the_same_content_hands_out_its_new_numbers(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home")
    values = []
    for run in ("first", "second"):
        draft = archive.store.draft(Cell("a"), settings="s", inputs={})
        draft.write("content", b"the same")
        receipt = draft.commit(mlflow_run_id=run)
        values.append(archive.value(Value, {"": receipt}))
    assert values[0].receipt.digest == values[1].receipt.digest
    assert values[1].metrics["mlflow_run_id"] == "second"
    assert archive.value(Value, {"": receipt}) is values[1], "and is read once"


def test_an_archive_works_on_the_batches_that_were_there_until_it_looks_again(tmp_path: Path) -> None:
    archive, other = opened(tmp_path / "home"), opened(tmp_path / "home")
    ingest(archive, str(write_stills(tmp_path / "one", [{"patient_id": "a", "clip_id": "c"}])), "one")
    assert archive.batches == other.batches == ["one"]
    ingest(other, str(write_stills(tmp_path / "two", [{"patient_id": "b", "clip_id": "c"}])), "two")
    assert archive.batches == ["one"]
    archive.look_again()
    assert archive.batches == ["one", "two"]
