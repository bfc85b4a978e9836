"""Redundancy as it is published: the whole pool in one table, its batches in another, each summing to one whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.pairs.panel import sum_panels
from enrich_assets.method.pairs.similarity import all_pairs
from enrich_assets.store.panels import redundancy_table
from enrich_assets.store.published import publish, query

BATCHES = {"first": (0, 30), "second": (30, 42), "third": (42, 60)}
CLIPS = np.arange(60) // 6
PATIENTS = CLIPS // 2


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty frames in three batches, the panels of the batches and their sum published."""
    vectors = to_fixed_point(np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32))
    panels = {
        batch: all_pairs(vectors[:end], clips=CLIPS[:end], patients=PATIENTS[:end], n_earlier=start, device="cpu")
        for batch, (start, end) in BATCHES.items()
    }
    of_batches = [
        redundancy_table(panel).assign(whole="pool", task="view", embedding="vae", batch=batch)
        for batch, panel in panels.items()
    ]
    tables = {
        "redundancy": redundancy_table(sum_panels(panels.values())).assign(whole="pool", task="view", embedding="vae"),
        "panel_redundancy": pd.concat(of_batches),
    }
    path = tmp_path_factory.mktemp("published") / "enrich.duckdb"
    publish(tables, path)
    return path


def test_shares_of_one_task_and_relation_sum_to_1(published: Path) -> None:
    sums = query(published, "SELECT relation, sum(share) AS share FROM redundancy GROUP BY whole, task, relation")
    assert set(sums["relation"]) == {"all", "within clip", "within patient", "between patients"}
    np.testing.assert_allclose(sums["share"], 1.0, rtol=1e-12)


def test_shares_of_one_batch_and_relation_sum_to_1(published: Path) -> None:
    sums = query(
        published,
        "SELECT batch, relation, sum(share) AS share FROM panel_redundancy GROUP BY whole, task, batch, relation",
    )
    assert set(sums["batch"]) == set(BATCHES)
    np.testing.assert_allclose(sums["share"], 1.0, rtol=1e-12)


def test_each_pair_belongs_to_one_batch(published: Path) -> None:
    """The panel of a batch holds its pairs with itself and every earlier batch, so the panels add up to the pool."""
    apart = query(
        published,
        """
        SELECT relation, lower, redundancy.pairs, sum(panel_redundancy.pairs) AS added
        FROM redundancy JOIN panel_redundancy USING (whole, task, relation, lower, is_estimate)
        GROUP BY relation, lower, redundancy.pairs HAVING redundancy.pairs <> sum(panel_redundancy.pairs)
        """,
    )
    assert apart.empty
    (pairs,) = query(published, "SELECT sum(pairs) AS pairs FROM redundancy WHERE relation = 'all'")["pairs"]
    assert pairs == 60 * 59 // 2
    of_batch = query(
        published, "SELECT batch, sum(pairs) AS pairs FROM panel_redundancy WHERE relation = 'all' GROUP BY batch"
    )
    assert dict(zip(of_batch["batch"], of_batch["pairs"], strict=True)) == {
        batch: (end - start) * start + (end - start) * (end - start - 1) // 2 for batch, (start, end) in BATCHES.items()
    }
