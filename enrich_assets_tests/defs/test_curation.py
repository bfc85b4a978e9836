"""Curation as the profile asks for it: other rules and measures, the kept matrix, estimates, a store elsewhere."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from enrich_assets.archive import Archive
from enrich_assets.defs.graph import Graph
from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.settings import load_profile
from enrich_assets.store.panels import open_matrix, panel_redundancy, read_panel
from enrich_assets.store.receipts import Cell


def with_profile(home: Path, text: str) -> Archive:
    own = home / "mine.yaml"
    own.write_text(f"extends: {home / 'enrich.yaml'}\n{text}", encoding="utf-8")
    return Archive(home, load_profile(str(own)))


ARMS = """
tasks:
  view:
    arms:
      enrich: {rule: max, similarity: cosine}
      random: {rule: random}
      by_mean: {rule: mean}
      by_service: {rule: facility-location}
      by_structure: {rule: max, similarity: ssim}
      by_pixels: {rule: max, similarity: pixels}
"""


def test_every_rule_and_measure_orders_the_whole_pool(small: Path) -> None:
    archive = with_profile(small, ARMS)
    graph = Graph(archive.profile)
    orders = {}
    for arm in archive.profile.tasks["view"].arms:
        graph.steps[f"view/{arm}/ranking"].materialise(archive, "0")
        receipt = archive.store.receipts.require(Cell(f"view/{arm}/ranking", "0"))
        orders[arm] = list(archive.store.table(receipt, "ranking")["frame_id"])
    pool = set(archive.pool("view")["frame_id"])
    for arm, order in orders.items():
        assert set(order) == pool, arm
        assert len(order) == len(pool), arm
        assert order[:6] == orders["random"][:6], "all arms start from the same frames"
    assert len({tuple(order) for order in orders.values()}) == len(orders), "no two rules give the same order here"


@pytest.mark.parametrize(("dtype", "within"), [("int32", 0.0), ("float16", 6e-4)])
def test_the_matrix_is_kept_where_asked_for_and_opened_lazily(small: Path, dtype: str, within: float) -> None:
    archive = with_profile(small, f"similarity: {{store_matrix: true, matrix_dtype: {dtype}}}\n")
    receipt, _ = Graph(archive.profile).steps["view/similarity"].materialise(archive, "first")
    matrix = open_matrix(archive.store, receipt)
    vectors = archive.vectors(archive.pool("view")).astype(np.int64)
    exact = vectors @ vectors.T
    found = np.asarray(matrix[:]) if dtype == "int32" else np.asarray(matrix[:], np.float64) * SCALE**2
    assert matrix.dtype == np.dtype(dtype)
    assert np.abs(found - exact).max() <= within * SCALE**2


def test_beyond_the_stated_cost_redundancy_is_estimated_and_says_so(small: Path) -> None:
    exact = Archive(small, load_profile(str(small / "enrich.yaml")))
    truth = exact.store.receipts.require(Cell("view/redundancy")).figures
    archive = with_profile(small, "similarity: {max_pairs: 10, sampled_pairs: 20000}\n")
    graph = Graph(archive.profile)
    panel, _ = graph.steps["view/similarity"].materialise(archive, "first")
    receipt, _ = graph.steps["view/redundancy"].materialise(archive)
    assert panel.figures["is_estimate"]
    assert receipt.figures["is_estimate"]
    table = archive.store.table(receipt, "redundancy")
    assert table["is_estimate"].all()
    assert (table["ci_low"] <= table["share"]).all()
    assert (table["share"] <= table["ci_high"]).all()
    assert abs(receipt.figures["share_over_0.5"] - truth["share_over_0.5"]) < 0.03


def test_a_panel_counts_every_pair_of_the_pool(small_home: Path) -> None:
    archive = Archive(small_home, load_profile(str(small_home / "enrich.yaml")))
    n = len(archive.pool("view"))
    receipt = archive.store.receipts.require(Cell("view/similarity", "first"))
    assert read_panel(archive.store, receipt).histograms.sum() == n * (n - 1) // 2
    table = panel_redundancy(archive.store, receipt)
    assert table.loc[table["relation"] == "all", "pairs"].sum() == n * (n - 1) // 2


def test_a_store_at_another_address_holds_the_same_content(small_home: Path, tmp_path: Path) -> None:
    local = Archive(small_home, load_profile(str(small_home / "enrich.yaml")))
    elsewhere = Archive(tmp_path, local.profile, store_url=f"memory://{uuid.uuid4().hex}")
    elsewhere.ingest(str(small_home / "phantom"), "first")
    graph = Graph(local.profile)
    for key in ("studies", "frames", "split", "labelled", "labels", "view/pool", "chambers/pool"):
        receipt, _ = graph.steps[key].materialise(elsewhere, "first")
        if key != "labels":  # labels say when they were received
            assert receipt.digest == local.store.receipts.require(Cell(key, "first")).digest, key
    assert elsewhere.frames.pixels("view", elsewhere.frame_table()).shape[0] == len(local.frame_table())
