"""After a repaired failure one run completes everything: each group is looked at when its turn comes, not stage by stage before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.core import making
from enrich_assets.core.making import Made
from enrich_assets.core.stages import Goal
from enrich_assets.core.step import Step
from enrich_assets.store.receipts import Cell
from enrich_assets.studies.phantom import write_phantom
from enrich_assets_tests.made_home import finished, opened, planner, run, sql, verdict

pytestmark = pytest.mark.long


def everything_is_fresh(archive: Archive) -> None:
    now = planner(archive)
    steps = [step for step in now.graph.steps.values() if isinstance(step, Step)]
    stale = [cell for step in steps for cell in now.cells(step) if not now.verdict(step, cell.partition).is_fresh]
    assert stale == []
    assert run(archive).runs == 0


def test_one_run_completes_what_a_missing_source_file_held_up(small: Path) -> None:
    write_phantom(str(small / "later"), patients=2, first_patient=8, scale=0.15)
    archive = opened(small)
    batch = ingest(archive, str(small / "later"), "second").batch
    rows = archive.register.rows(batch)
    away = [Path(path) for path in rows["path"].drop_duplicates()]
    shutil.move(small / "later", small / "unplugged")
    finished(opened(small))
    refused = sql(archive, "SELECT path, reason FROM refused WHERE batch = 'second'")
    assert set(refused["path"]) == {str(path) for path in away}, "named one by one, and the rest goes on"
    assert refused["reason"].str.startswith("is no longer there; bring it back, then `enrich run`").all()
    assert run(opened(small)).runs == 0, "what is missing still is no reason to try again"
    shutil.move(small / "unplugged", small / "later")
    assert verdict(opened(small), "frames", "second").why.endswith("is there again")
    finished(opened(small))
    everything_is_fresh(opened(small))
    assert set(sql(archive, "SELECT DISTINCT batch FROM frames")["batch"]) == {"first", "second"}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Keys of assets whose step fails as long as they are named here."""
    keys: set[str] = set()
    run_step = making._run_step

    def fails_if_named(planner: object, step: Step, *rest: object) -> Made:
        if step.key in keys:
            raise ValueError(f"{step.key} is broken")
        return run_step(planner, step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "_run_step", fails_if_named)
    return keys


@pytest.mark.parametrize(
    "key",
    ["studies", "label_presence", "embeddings/vae", "view/similarity/vae", "view/test_set", "view/enrich/ranking"],
)
def test_one_run_completes_what_a_failing_step_held_up(small: Path, failing: set[str], key: str) -> None:
    """A stage used to be filtered before its first group was made, so each run came one stage further."""
    archive = opened(small)
    receipts = archive.store.receipts
    for asset in ("studies", "label_presence", "embeddings/vae", "view/similarity/vae"):
        receipts.forget(Cell(asset, "first"))
    receipts.forget(Cell("view/test_set"))
    for seed in "01":
        receipts.forget(Cell("view/enrich/ranking", seed))
        for asset in ("subset", "model", "evaluation"):
            receipts.forget(Cell(f"view/enrich/{asset}", f"10|{seed}"))
    failing.add(key)
    broken = run(opened(small), Goal(task="view"))
    assert any(cell.partition("[")[0] == key for cell in broken.failed)
    assert all(f"{key} is broken" in why for why in broken.failed.values())
    failing.clear()
    finished(opened(small))
    everything_is_fresh(opened(small))
