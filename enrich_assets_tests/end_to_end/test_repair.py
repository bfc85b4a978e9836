"""A home that was harmed: `enrich run` never calls it up to date, and `enrich repair` mends it or says what cannot be had."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from enrich_assets.cli import main
from enrich_assets.core.making import make
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.made_home import file_of, opened, planner, receipt, run, sql, verdict

pytestmark = pytest.mark.long

WHOLE = "nothing is missing or damaged"
VALUES = "SELECT task, arm, budget, seed, value, subset_id FROM evaluations WHERE current ORDER BY ALL"


def enrich(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def flip(path: Path, at: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(bytes(content))


def test_a_whole_home_has_nothing_to_repair(small: Path) -> None:
    done = enrich("repair", "--dry-run")
    assert (done.exit_code, WHOLE in done.output) == (0, True), done.output


def test_damaged_arrays_are_found_and_made_again_and_nothing_else_changes(small: Path) -> None:
    before = sql(opened(small), VALUES)
    models = [receipt(opened(small), "view/enrich/model", cell) for cell in ("10|0", "20|1")]
    harmed = [
        file_of(opened(small), "embeddings/vae", "first", "vectors.npy"),
        file_of(opened(small), "frames", "first", "view/0000.npy"),
        file_of(opened(small), "view/enrich/ranking", "0", "ranking.parquet"),
    ]
    for path in harmed:
        flip(path)
    found = enrich("repair", "--dry-run")
    assert found.exit_code == 1
    assert all(str(path) in found.output for path in harmed)
    done = enrich("repair")
    assert done.exit_code == 0, done.output
    assert WHOLE in enrich("repair", "--dry-run").output
    assert sql(opened(small), VALUES).equals(before)
    assert [receipt(opened(small), "view/enrich/model", cell) for cell in ("10|0", "20|1")] == models, (
        "nothing is trained"
    )


def test_a_run_makes_what_is_gone_again_but_never_less_than_it_was(small: Path) -> None:
    """Made again without its source files, the batch would be smaller, and everything after it another."""
    path = file_of(opened(small), "frames", "first", "similarity/0000.npy")
    wanted = path.read_bytes()
    path.unlink()
    sources = small.parent / "away"
    first = Path(opened(small).register.rows(opened(small).batch("first"))["path"].iloc[0])
    shutil.move(first, sources)
    try:
        blocked = verdict(opened(small), "frames", "first")
        assert blocked.is_blocked
        assert "1 of " in blocked.why
        assert str(first) in blocked.why
        done = enrich("repair")
        assert done.exit_code == 1
        assert "cannot be made again" in done.output
    finally:
        shutil.move(sources, first)
    assert verdict(opened(small), "frames", "first").why == "its file similarity/0000.npy is gone"
    done = enrich("run")
    assert done.exit_code == 0, done.output
    assert path.read_bytes() == wanted


def test_a_lost_past_is_said_by_every_run_until_it_is_repaired(small: Path) -> None:
    shutil.rmtree(small / "store" / "history" / "view")
    shutil.rmtree(small / "dagster")
    (small / "mlflow.db").unlink()
    for _ in range(2):
        done = enrich("run")
        assert done.exit_code == 1
        assert "everything is up to date" not in done.output
        for what in ("lineage: the history of", "Dagster's history: it knows nothing", "MLflow: it does not know 13"):
            assert what in done.output
    before = sql(opened(small), VALUES)
    done = enrich("repair")
    assert done.exit_code == 0, done.output
    assert sql(opened(small), VALUES).equals(before)
    assert enrich("lineage", "--all").exit_code == 0
    again = enrich("run")
    assert (again.exit_code, "everything is up to date" in again.output) == (0, True), again.output


def test_damaged_databases_are_said_in_a_sentence_and_put_aside(small: Path) -> None:
    runs = small / "dagster" / "history" / "runs.db"
    runs.write_bytes(runs.read_bytes()[:5000])
    done = enrich("run")
    assert done.exit_code == 1
    assert "a database in home is damaged" in done.output
    assert "enrich repair" in done.output
    done = enrich("repair")
    assert done.exit_code == 0, done.output
    assert runs.with_name("runs.db.damaged-1").exists()
    assert "everything is up to date" in enrich("run").output


def test_without_its_profile_a_home_is_not_run_under_another(small: Path) -> None:
    enrich("run")
    wanted = (small / "enrich.yaml").read_text()
    (small / "enrich.yaml").unlink()
    refused = enrich("run")
    assert refused.exit_code == 1
    assert "was made with it: `enrich repair` puts back the copy" in refused.output
    assert enrich("repair").exit_code == 0
    assert (small / "enrich.yaml").read_text() == wanted


def test_registers_are_mended_from_their_copies(small: Path) -> None:
    entry = small / "store" / "batches" / "first" / "0001" / "batch.json"
    wanted = json.loads(entry.read_text())
    entry.write_text("{")
    (small / "store" / "layout.json").write_text("{")
    refused = enrich("run")
    assert refused.exit_code == 1
    assert "is damaged: `enrich repair` writes it again" in refused.output
    mended = enrich("repair")
    assert mended.exit_code == 0, mended.output
    assert json.loads(entry.read_text()) == wanted
    assert "everything is up to date" in enrich("run").output


def test_a_truncated_receipt_costs_its_cell_alone(small: Path) -> None:
    models = {cell: receipt(opened(small), "view/enrich/model", cell) for cell in ("10|0", "10|1", "20|0")}
    name = small / "store" / "receipts" / f"{Cell('view/enrich/model', '10|0').folder}.json"
    name.write_bytes(name.read_bytes()[:100])
    assert verdict(opened(small), "view/enrich/model", "10|0").why == "its receipt cannot be read"
    found = enrich("repair")
    assert "the last one of its history is put back" in found.output
    assert {cell: receipt(opened(small), "view/enrich/model", cell) for cell in models} == models


def test_a_check_that_blocks_is_said_again_by_the_second_run(small: Path) -> None:
    now = planner(opened(small))
    check = now.graph["embeddings/vae@unit_length"]
    outcome = type("Outcome", (), {"passed": False, "description": "two vectors are too short", "table": None})
    object.__setattr__(check, "function", lambda context, **values: outcome)
    make(now, check, "first")
    for _ in range(2):
        blocked = run(opened(small)).blocked
        assert any("two vectors are too short" in why for why in blocked.values()), blocked
