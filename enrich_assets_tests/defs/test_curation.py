"""Curation as the profile asks for it: other rules and measures, the kept matrix, estimates, a store elsewhere."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.profiles import load_profile
from enrich_assets.store.panels import open_matrix, panel_redundancy, read_panel
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import (
    extended,
    make_cells,
)


def with_profile(home: Path, text: str) -> Archive:
    return extended(home, home / "enrich.yaml", text)


ARMS = """
tasks:
  view:
    arms:
      enrich: {rule: k-center-greedy, similarity: cosine}
      random: {rule: random}
      by_mean: {rule: mean}
      by_service: {rule: facility-location}
      by_structure: {rule: max, similarity: ssim}
      by_pixels: {rule: max, similarity: pixels}
"""


def test_every_rule_and_measure_orders_the_whole_pool(small: Path) -> None:
    archive = with_profile(small, ARMS)
    orders = {}
    for arm in archive.profile.tasks["view"].arms:
        receipt = make_cells(archive, "0", f"view/{arm}/ranking")
        orders[arm] = list(archive.store.table(receipt, "ranking")["frame_id"])
    pool = set(Catalogue(archive).pool("view").ids)
    for arm, order in orders.items():
        assert set(order) == pool, arm
        assert len(order) == len(pool), arm
        assert order[:6] == orders["random"][:6], "all arms start from the same frames"
    assert len({tuple(order) for order in orders.values()}) == len(orders), "no two rules give the same order here"


@pytest.mark.parametrize(("dtype", "within"), [("int32", 0.0), ("float16", 6e-4)])
def test_the_matrix_is_kept_where_asked_for_and_opened_lazily(small: Path, dtype: str, within: float) -> None:
    archive = with_profile(small, f"similarity: {{store_matrix: true, matrix_dtype: {dtype}}}\n")
    receipt = make_cells(archive, "first", "view/similarity/vae")
    matrix = open_matrix(archive.store, receipt)
    vectors = Catalogue(archive).vectors().of(Catalogue(archive).pool("view").frames).astype(np.int64)
    exact = vectors @ vectors.T
    found = np.asarray(matrix[:]) if dtype == "int32" else np.asarray(matrix[:], np.float64) * SCALE**2
    assert matrix.dtype == np.dtype(dtype)
    assert np.abs(found - exact).max() <= within * SCALE**2


def test_beyond_the_stated_cost_redundancy_is_estimated_and_says_so(small: Path) -> None:
    exact = Archive(small, load_profile(str(small / "enrich.yaml")))
    truth = exact.store.receipts.require(Cell("view/redundancy/vae")).metrics
    archive = with_profile(small, "similarity: {max_pairs: 10, sampled_pairs: 20000}\n")
    panel = make_cells(archive, "first", "view/similarity/vae")
    receipt = make_cells(archive, "", "view/redundancy/vae")
    assert panel.metrics["is_estimate"]
    assert receipt.metrics["is_estimate"]
    table = archive.store.table(receipt, "redundancy")
    assert table["is_estimate"].all()
    assert (table["ci_low"] <= table["share"]).all()
    assert (table["share"] <= table["ci_high"]).all()
    assert abs(receipt.metrics["share_over_0.5"] - truth["share_over_0.5"]) < 0.03


def test_a_panel_counts_every_pair_of_the_pool(small_home: Path) -> None:
    archive = Archive(small_home, load_profile(str(small_home / "enrich.yaml")))
    n = len(Catalogue(archive).pool("view"))
    receipt = archive.store.receipts.require(Cell("view/similarity/vae", "first"))
    assert read_panel(archive.store, receipt).histograms.sum() == n * (n - 1) // 2
    table = panel_redundancy(archive.store, receipt)
    assert table.loc[table["relation"] == "all", "pairs"].sum() == n * (n - 1) // 2


def test_a_store_at_another_address_holds_the_same_content(small_home: Path, tmp_path: Path) -> None:
    local = Archive(small_home, load_profile(str(small_home / "enrich.yaml")))
    elsewhere = Archive(tmp_path, local.profile, store_url=f"memory://{uuid.uuid4().hex}")
    ingest(elsewhere, str(small_home / "phantom"), "first")
    for key in (*BATCH_ASSETS, "view/pool", "chambers/pool"):
        receipt = make_cells(elsewhere, "first", key)
        if key != "labels":  # labels say when they were received
            assert receipt.digest == local.store.receipts.require(Cell(key, "first")).digest, key
    there, here = Catalogue(elsewhere), Catalogue(local)
    assert there.frames().pixels("view", there.frame_table()).shape[0] == len(here.frame_table())
