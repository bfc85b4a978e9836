"""The views: SQL gives the reported numbers, and leads from a number to its files."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.store.published import publish, query
from enrich_assets.store.published.views import VIEWS
from enrich_assets_tests.store.published.rows import evaluation


def test_auc_worked_by_hand(tmp_path: Path) -> None:
    """Scores .1- .4- .4+ .8+ : of the 4 pairs three are in order and one ties, (3 + 1/2) / 4 = 0.875."""
    rows = [("a", 0, 0.1), ("b", 0, 0.4), ("c", 1, 0.4), ("d", 1, 0.8)]
    predictions = [
        {"evaluation_id": "e", "frame_id": f"s/c/{n}", "class": "A4C", "truth": t, "score": s} for n, t, s in rows
    ]
    tables = {
        "evaluations": pd.DataFrame([evaluation("e", "auc", 0.875), evaluation("untested", "auc", 0.5)]),
        "predictions": pd.DataFrame(predictions),
    }
    publish(tables, tmp_path / "enrich.duckdb")
    assert query(tmp_path / "enrich.duckdb", "SELECT value FROM auc_by_sql").value.tolist() == [0.875]
    beside = query(tmp_path / "enrich.duckdb", "FROM recomputed ORDER BY evaluation_id").set_index("evaluation_id")
    assert beside.loc["e", "difference"] == 0.0
    assert np.isnan(beside.loc["untested", "value_by_sql"])


def test_auc_of_one_class_only_is_null(tmp_path: Path) -> None:
    rows = pd.DataFrame({"evaluation_id": "e", "frame_id": ["f", "g"], "class": "A", "truth": 1, "score": [0.1, 0.2]})
    publish({"predictions": rows}, tmp_path / "enrich.duckdb")
    assert query(tmp_path / "enrich.duckdb", "FROM auc_by_sql").value.isna().all()


def test_jaccard_worked_by_hand(tmp_path: Path) -> None:
    """Frame 1: LV 3/4, LA absent from both (left out). Frame 2: LV 1/2, LA missed, 0/8. Frame 3: nothing,
    left out. Frames: 3/4 and (1/2 + 0) / 2 = 1/4; mean 1/2."""
    rows = [("1", "LV", 3, 4), ("1", "LA", 0, 0), ("2", "LV", 10, 20), ("2", "LA", 0, 8), ("3", "LV", 0, 0)]
    predictions = [
        {"evaluation_id": "e", "frame_id": f, "class": c, "intersection_pixels": i, "union_pixels": u}
        for f, c, i, u in rows
    ]
    tables = {
        "evaluations": pd.DataFrame([evaluation("e", "jaccard", 0.5)]),
        "predictions": pd.DataFrame(predictions),
    }
    publish(tables, tmp_path / "enrich.duckdb")
    assert query(tmp_path / "enrich.duckdb", "FROM recomputed")[["value_by_sql", "difference"]].values.tolist() == [
        [0.5, 0.0]
    ]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40), st.integers(1, 3))
def test_auc_by_sql_equals_counting_pairs(rows: list[tuple[bool, int]], n_classes: int) -> None:
    """AUC = P(positive above negative) + P(tie) / 2, over all pairs; several classes are averaged."""
    auc = []
    for k in range(n_classes):
        positive = [s for i, (t, s) in enumerate(rows) if t == (i % (k + 1) == 0)]
        negative = [s for i, (t, s) in enumerate(rows) if t != (i % (k + 1) == 0)]
        wins = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
        auc += [wins / (len(positive) * len(negative))] if positive and negative else []
    table = pd.DataFrame(
        [("e", f"f{i}", f"k{k}", int(t == (i % (k + 1) == 0)), s / 7)
         for k in range(n_classes) for i, (t, s) in enumerate(rows)],
        columns=["evaluation_id", "frame_id", "class", "truth", "score"],
    )  # fmt: skip
    with duckdb.connect() as connection:
        connection.from_df(table).create("predictions")
        view = next(view for view in VIEWS if view.name == "auc_by_sql")
        value = connection.execute(view.query).fetchone()[1]  # type: ignore[index]
    assert value == pytest.approx(np.mean(auc), abs=1e-12) if auc else value is None


def test_one_query_leads_from_a_score_to_its_source_files(tmp_path: Path) -> None:
    """Trained on 2 frames of clip 1 and 1 of clip 2, tested on clip 3; clip 1's path exists in another batch
    too."""
    frame = {"study_id": "s", "patient_id": "p", "frame_index": 0}
    frames = [("a/1/0", "b1", "1.avi"), ("a/1/1", "b1", "1.avi"), ("a/2/0", "b1", "2.avi"),
              ("a/3/0", "b2", "3.avi"),
              ("a/4/0", "b2", "1.avi")]  # fmt: skip
    tables = {
        "frames": pd.DataFrame(
            [{"frame_id": f, "clip_id": f[:3], "batch": b, "path": p, **frame} for f, b, p in frames]
        ),
        "files": pd.DataFrame(
            [{"path": p, "batch": b, "sha256": f"sha-{b}-{p}", "status": "read"} for b, p in
             [("b1", "1.avi"), ("b1", "2.avi"), ("b2", "3.avi"), ("b2", "1.avi")]]
        ),
        "subset_frames": pd.DataFrame(
            {"subset_id": "s1", "position": range(3), "frame_id": ["a/2/0", "a/1/0", "a/1/1"]}
        ),
        "predictions": pd.DataFrame(
            {"evaluation_id": "e", "frame_id": "a/3/0", "class": ["x", "y"], "truth": [0, 1], "score": 0.5}
        ),
        "evaluations": pd.DataFrame([evaluation("e", "auc", 0.9, mlflow_run_id="r", dagster_run_id="d")]),
        "provenance": pd.DataFrame(
            [("split", "", "d1"), ("embeddings", "b2", "d3"), ("embeddings", "b1", "d2"),
             ("classification/enrich/ranking", "0", "d4"), ("classification/enrich/evaluation", "4|0", "d5")],
            columns=["asset", "partition", "digest"],
        ).assign(evaluation_id="e"),
    }  # fmt: skip
    path = tmp_path / "enrich.duckdb"
    publish(tables, path)
    traced = query(
        path,
        """
        SELECT DISTINCT files.path, files.sha256 FROM evaluations JOIN subset_frames USING (subset_id)
        JOIN frames USING (frame_id) JOIN files ON files.batch = frames.batch AND files.path = frames.path
        WHERE evaluation_id = 'e' ORDER BY 1
        """,
    )
    assert traced.values.tolist() == [["1.avi", "sha-b1-1.avi"], ["2.avi", "sha-b1-2.avi"]]
    listed = query(path, "SELECT role, path, sha256, n_frames FROM source_files ORDER BY role DESC, path")
    assert listed.values.tolist() == [
        ["train", "1.avi", "sha-b1-1.avi", 2],
        ["train", "2.avi", "sha-b1-2.avi", 1],
        ["test", "3.avi", "sha-b2-3.avi", 1],
    ]
    row = query(path, "FROM lineage").iloc[0]
    assert (row.split_digest, row.embeddings_digest, row.ranking_digest) == ("d1", "d2, d3", "d4")
    assert (row.predictions_digest, row.mlflow_run_id, row.dagster_run_id) == ("d5", "r", "d")
    assert row.n_source_files == 2
    assert row.value == 0.9


def test_curves_hold_current_evaluations_only(tmp_path: Path) -> None:
    rows = [
        evaluation("a", "auc", 0.8), evaluation("b", "auc", 0.9, seed=1),
        evaluation("old", "auc", 0.1, current=False),
    ]  # fmt: skip
    publish({"evaluations": pd.DataFrame(rows)}, tmp_path / "enrich.duckdb")
    curve = query(tmp_path / "enrich.duckdb", "FROM curves").iloc[0]
    assert (curve.n, curve["mean"]) == (2, pytest.approx(0.85))
    assert curve.sd == pytest.approx(0.1 / np.sqrt(2))
