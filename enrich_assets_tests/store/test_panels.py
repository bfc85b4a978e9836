"""Redundancy as it is published: the whole pool in one table, its batches in another, each summing to one whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.pairs.panel import RELATIONS, PairLists, sum_panels
from enrich_assets.method.pairs.similarity import all_pairs
from enrich_assets.store.panels import neighbour_table, redundancy_table
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


@settings(max_examples=40, deadline=None, derandomize=True)
@given(n=st.integers(1, 20), listed=st.integers(1, 4), coarse=st.booleans(), seed=st.integers(0, 10_000))
def test_the_neighbours_of_each_frame_stand_once_in_the_order_of_the_definition(
    n: int, listed: int, coarse: bool, seed: int
) -> None:
    """Frame by frame: those of both lists, by name of the relation, then the nearest first, then the earlier in the pool."""
    rng = np.random.default_rng(seed)
    raw = rng.choice([-1.0, 1.0], (n, 3)) if coarse else rng.standard_normal((n, 8))  # coarse: many are equally near
    clips = np.sort(rng.integers(0, 6, n))
    patients, pool = clips // 2, pd.DataFrame({"frame_id": [f"frame-{i}" for i in range(n)]})
    lists = PairLists(neighbours=listed)
    panel = all_pairs(to_fixed_point(raw), clips=clips, patients=patients, lists=lists, device="cpu")
    nearest, outside = panel.cosines("neighbour_similarity"), panel.cosines("outside_similarity")
    rows = []
    for i in range(n):
        found = {int(j): nearest[i, k] for k, j in enumerate(panel.neighbours[i]) if j >= 0}
        found |= {int(j): outside[i, k] for k, j in enumerate(panel.outside_neighbours[i]) if j >= 0}
        for relation in sorted(RELATIONS):
            related = [
                j
                for j in found
                if relation == RELATIONS[0 if clips[i] == clips[j] else 1 if patients[i] == patients[j] else 2]
            ]
            for rank, j in enumerate(sorted(related, key=lambda j: (-found[j], j)), start=1):
                rows.append((f"frame-{i}", rank, f"frame-{j}", found[j], relation))
    table = neighbour_table(panel, pool, clips, patients)
    assert list(table.itertuples(index=False, name=None)) == rows
