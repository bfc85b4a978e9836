"""A home opened: the values it keeps in memory, the batches it works on."""

from __future__ import annotations

import gc
import weakref
from itertools import islice
from pathlib import Path

from enrich_assets.archive.home import WHOLES_IN_MEMORY
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


def test_of_many_cells_together_few_values_are_kept_for_their_tables_are_as_large_as_the_archive(
    tmp_path: Path,
) -> None:
    archive, receipts = opened(tmp_path / "home"), {}
    for number in range(30):
        draft = archive.store.draft(Cell("a", str(number)), settings="s", inputs={})
        draft.write("content", str(number).encode())
        receipts[str(number)] = draft.commit()
    wholes = [weakref.ref(archive.value(Value, dict(islice(receipts.items(), n)))) for n in range(2, 31)]
    gc.collect()
    assert sum(whole() is not None for whole in wholes) == WHOLES_IN_MEMORY
    assert archive.value(Value, receipts) is wholes[-1]()


def test_an_archive_works_on_the_batches_that_were_there_until_it_looks_again(tmp_path: Path) -> None:
    archive, other = opened(tmp_path / "home"), opened(tmp_path / "home")
    ingest(archive, str(write_stills(tmp_path / "one", [{"patient_id": "a", "clip_id": "c"}])), "one")
    assert archive.batches == other.batches == ["one"]
    ingest(other, str(write_stills(tmp_path / "two", [{"patient_id": "b", "clip_id": "c"}])), "two")
    assert archive.batches == ["one"]
    archive.look_again()
    assert archive.batches == ["one", "two"]
