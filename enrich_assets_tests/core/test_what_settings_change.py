"""A setting makes stale what it changes, and nothing else."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from enrich_assets.archive import Archive
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets.core.planner import Planner
from enrich_assets.core.step import plain
from enrich_assets.defs.assets import graph_of
from enrich_assets.method.hyperparameters import SegmenterSettings
from enrich_assets.profiles import load_profile
from enrich_assets.settings import Profile
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import bring_up_to_date, extended, is_fresh, planner_of, tamper, verdict


def stale(archive: Archive) -> dict[str, str]:
    """Key of a step or check -> why, of all that is not fresh as things stand."""
    planner = planner_of(archive)
    found = {}
    for declared in (*planner.graph.steps.values(), *planner.graph.checks.values()):
        for cell in planner.cells(declared):
            verdict_now = planner.verdict(declared, cell.partition)
            if not verdict_now.is_fresh:
                found[declared.key] = verdict_now.why
    return found


def with_settings(home: Path, text: str) -> Archive:
    return extended(home, home / "enrich.yaml", text)


def half_silent(archive: Archive) -> None:
    """Half of the VAE's units are as good as constant."""
    measures = archive.store.receipts.require(Cell("vae_weights")).metrics["measures"]
    variances = [*measures["unit_variances"][::2], *[0.0] * (len(measures["unit_variances"]) // 2)]
    tamper(archive, Cell("vae_weights"), metrics={"measures": {**measures, "unit_variances": variances}})


@pytest.fixture(scope="module")
def profile(small_home: Path) -> Profile:
    return load_profile(str(small_home / "enrich.yaml"))


def test_under_the_same_settings_all_is_fresh(small: Path) -> None:
    assert stale(with_settings(small, "")) == {}


def test_a_threshold_of_the_health_check_makes_the_check_stale_and_retrains_nothing(small: Path) -> None:
    archive = with_settings(small, "vae: {min_active_share: 0.02}\n")
    shows_it = {"embedding_health": "its settings changed"}
    assert stale(archive) == {"vae_weights@health": "its settings changed", **shows_it}
    before = archive.store.receipts.require(Cell("vae_weights"))
    assert bring_up_to_date(archive, "", "vae_weights") == {"vae_weights@health": "its settings changed"}
    assert archive.store.receipts.require(Cell("vae_weights")) == before
    assert set(stale(archive)) <= {"embedding_health", "results", "report"}, "what shows the outcome"


def test_a_threshold_that_the_vae_does_not_reach_blocks_what_would_be_made_of_it(small: Path) -> None:
    archive = with_settings(small, "vae: {min_active_share: 0.6}\n")
    half_silent(archive)
    bring_up_to_date(archive, "", "vae_weights")
    assert not archive.store.receipts.require(Cell("vae_weights@health")).metrics["passed"]
    assert is_fresh(archive, "vae_weights")
    blocked = verdict(archive, "embeddings/vae", "first")
    assert blocked.is_blocked
    assert "vae_weights did not pass its check health" in blocked.why


@pytest.mark.parametrize("setting", ["max_steps: 121", "latent: 64", "beta: 5"])
def test_what_the_weights_depend_on_makes_them_stale(small: Path, setting: str) -> None:
    assert verdict(with_settings(small, f"vae: {{{setting}}}\n"), "vae_weights").why == "its settings changed"


def test_keeping_the_matrix_leaves_rankings_and_redundancy_as_they_are(small: Path) -> None:
    archive = with_settings(small, "similarity: {store_matrix: true}\n")
    assert set(stale(archive)) >= {"view/similarity/vae", "chambers/similarity/vae"}
    for arm in ("enrich", "random", "all"):
        assert is_fresh(archive, f"view/{arm}/ranking", "0"), "before the panel is made again"
    before = archive.store.receipts.require(Cell("view/similarity/vae", "first"))
    for task in ("view", "chambers"):
        bring_up_to_date(archive, "first", f"{task}/similarity/vae")
    after = archive.store.receipts.require(Cell("view/similarity/vae", "first"))
    assert after.digest == before.digest, "the matrix lies beside the content"
    assert any(name.startswith("matrix.zarr/") for name in after.notes)
    for arm in ("enrich", "random", "all"):
        assert is_fresh(archive, f"view/{arm}/ranking", "0"), "and after"
    assert is_fresh(archive, "view/redundancy/vae")
    assert set(stale(archive)) <= {"results", "report"}


def test_the_size_of_a_task_leaves_the_pool_of_another_as_it_is(small: Path) -> None:
    archive = with_settings(small, "tasks: {view: {size: 40}}\n")
    before = {task: archive.store.receipts.require(Cell(f"{task}/pool", "first")) for task in ("view", "chambers")}
    why = bring_up_to_date(archive, "first", *BATCH_ASSETS)
    assert why["frames[first]"] == "its settings changed"
    assert "split[first]" not in why
    for key in ("chambers/pool", "chambers/similarity/vae", "embeddings/vae"):
        assert is_fresh(archive, key, "first"), key
    assert is_fresh(archive, "chambers/enrich/model", "3|0")
    assert is_fresh(archive, "chambers/enrich/evaluation", "3|0")
    assert verdict(archive, "view/pool", "first").is_stale, "its own pictures are others"
    bring_up_to_date(archive, "first", "view/pool")
    assert archive.store.receipts.require(Cell("view/pool", "first")).digest != before["view"].digest
    assert archive.store.receipts.require(Cell("chambers/pool", "first")) == before["chambers"]


def test_the_size_of_a_task_of_masks_leaves_the_pool_of_a_task_of_classes_as_it_is(small: Path) -> None:
    archive = with_settings(small, "tasks: {chambers: {size: 40}}\n")
    bring_up_to_date(archive, "first", *BATCH_ASSETS)
    assert is_fresh(archive, "view/pool", "first")
    assert is_fresh(archive, "view/enrich/model", "10|0")
    assert verdict(archive, "chambers/pool", "first").is_stale


def test_another_budget_makes_the_rankings_stale_and_no_pool(small: Path) -> None:
    archive = with_settings(small, "tasks: {view: {budgets: [10, 20, 30]}}\n")
    found = stale(archive)
    assert found["view/enrich/ranking"] == "its settings changed"
    assert not [key for key in found if key.startswith("chambers/") or "pool" in key or "similarity" in key]


def test_who_looks_on_changes_nothing(small: Path) -> None:
    archive = with_settings(small, "workers: 2\nincoming: {settle_seconds: 5}\nschedules: {retraining: '0 1 * * *'}\n")
    assert stale(archive) == {}


def test_the_planner_makes_nothing(small: Path) -> None:
    archive = with_settings(small, "vae: {max_steps: 121}\n")
    before = sorted((path, path.stat().st_mtime_ns) for path in (small / "store").rglob("*"))
    planner = Planner(archive, graph_of(archive.profile))
    for step in planner.graph.steps.values():
        for cell in planner.cells(step):
            planner.verdict(step, cell.partition)
    assert sorted((path, path.stat().st_mtime_ns) for path in (small / "store").rglob("*")) == before


def test_another_order_of_the_classes_makes_every_model_of_the_task_stale(small: Path) -> None:
    """A model's outputs are numbered by the classes; labels read again under the new order hold what they held."""
    archive = with_settings(small, "tasks: {view: {classes: [A4C, NT], positive: A4C}}\n")
    before = archive.store.receipts.require(Cell("labels", "first"))
    bring_up_to_date(archive, "first", "label_presence", "labels")
    assert archive.store.receipts.require(Cell("labels", "first")).digest == before.digest
    found = stale(archive)
    assert {f"view/{arm}/model" for arm in ("enrich", "random", "all")} <= found.keys()
    assert not any(key.startswith("chambers/") for key in found)


def test_a_setting_that_came_later_says_nothing_at_its_default_so_that_what_was_made_before_stays() -> None:
    paper = plain(SegmenterSettings())
    assert "batch_norm" not in paper
    assert paper == {name: value for name, value in plain(asdict(SegmenterSettings())).items() if name != "batch_norm"}
    assert plain(SegmenterSettings(batch_norm=True)) == {**paper, "batch_norm": True}
