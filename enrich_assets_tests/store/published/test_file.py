"""The published file: what is in it, that it is swapped whole, and that SQL gives the reported numbers."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.store.published import file as published
from enrich_assets.store.published.file import PublishError, format_rows, publish, query, reading
from enrich_assets.store.published.schema import BY_NAME, TABLES
from enrich_assets.store.published.views import VIEWS


def evaluation(name: str, metric: str, value: float, **more: object) -> dict[str, object]:
    row: dict[str, object] = {
        "evaluation_id": name,
        "task": "classification",
        "arm": "enrich",
        "budget": 4,
        "seed": 0,
        "metric": metric,
        "value": value,
        "subset_id": "s1",
        "current": True,
    }
    return row | more


def generation(g: int) -> dict[str, pd.DataFrame]:
    """Tables that all say `g`, so that a mixture of two publishes would show."""
    frames = {
        "clip_id": "s/c",
        "study_id": "s",
        "patient_id": "p",
        "batch": "b",
        "frame_index": 0,
        "path": "x.png",
    }
    return {
        "evaluations": pd.DataFrame([evaluation(f"e{i}", "auc", float(g)) for i in range(50 + g)]),
        "frames": pd.DataFrame([{"frame_id": f"s/c/{i}", **frames, "pixel_digest": str(g)} for i in range(300)]),
    }


COHERENT = """
    SELECT (SELECT count(*) - 50 FROM evaluations) AS rows, (SELECT min(value) FROM evaluations) AS low,
           (SELECT max(value) FROM evaluations) AS high, (SELECT min(pixel_digest) FROM frames) AS first,
           (SELECT max(pixel_digest) FROM frames) AS last, (SELECT count(*) FROM frames) AS n
"""


# --- contents -----------------------------------------------------------------------------------------------


def test_tables_not_given_are_there_and_empty(tmp_path: Path) -> None:
    counts = publish({}, tmp_path / "enrich.duckdb")
    assert counts == {table.name: 0 for table in TABLES}
    for table in TABLES:
        empty = query(tmp_path / "enrich.duckdb", f"DESCRIBE {table.name}")
        assert list(empty["column_name"]) == list(table.column_names)
        assert list(empty["column_type"]) == [column.type for column in table.columns]
    for view in VIEWS:
        assert len(query(tmp_path / "enrich.duckdb", f"FROM {view.name}")) == 0


def test_every_table_view_and_column_carries_a_comment(tmp_path: Path) -> None:
    publish({}, tmp_path / "enrich.duckdb")
    silent = """
        SELECT table_name AS name FROM duckdb_tables() WHERE coalesce(comment, '') = ''
        UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal AND coalesce(comment, '') = ''
        UNION ALL SELECT table_name || '.' || column_name FROM duckdb_columns()
                  WHERE NOT internal AND coalesce(comment, '') = ''
    """
    assert list(query(tmp_path / "enrich.duckdb", silent)["name"]) == []
    described = query(
        tmp_path / "enrich.duckdb", "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    )
    for view in VIEWS:
        assert list(described.loc[described.table_name == view.name, "column_name"]) == list(view.columns)


def test_frames_arrow_and_parquet_urls_give_the_same_rows(tmp_path: Path) -> None:
    rows = pd.DataFrame({"asset": ["a", "b"], "check_name": ["x", "y"], "passed": [True, False]})
    rows.iloc[:1].to_parquet(tmp_path / "1.parquet")
    rows.iloc[1:].assign(severity="WARN").to_parquet(tmp_path / "2.parquet")  # a later file may know more columns
    rows.to_parquet("memory://checks.parquet")
    for source in (
        rows,
        pa.Table.from_pandas(rows),
        "memory://checks.parquet",
        [tmp_path / "1.parquet", f"file://{tmp_path}/2.parquet"],
    ):
        assert publish({"checks": source}, tmp_path / "enrich.duckdb")["checks"] == 2
        back = query(tmp_path / "enrich.duckdb", "SELECT asset, check_name, passed FROM checks ORDER BY asset")
        pd.testing.assert_frame_equal(back, rows, check_dtype=False)


def test_an_empty_frame_without_columns_is_an_empty_table(tmp_path: Path) -> None:
    nothing = {"checks": pd.DataFrame(), "frames": [], "files": pd.DataFrame({"path": []})}
    assert sum(publish(nothing, tmp_path / "enrich.duckdb").values()) == 0


def test_times_with_a_zone_are_published_in_utc_and_nan_as_null(tmp_path: Path) -> None:
    when = pd.Timestamp("2026-01-31 20:00", tz="America/New_York")
    row = evaluation("e", "auc", float("nan"), evaluated_at=when)
    publish({"evaluations": pa.Table.from_pylist([row])}, tmp_path / "enrich.duckdb")
    back = query(tmp_path / "enrich.duckdb", "SELECT evaluated_at, value IS NULL AS missing FROM evaluations")
    assert back.evaluated_at[0] == pd.Timestamp("2026-02-01 01:00")
    assert back.missing[0]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"evaluation": pd.DataFrame()}, "unknown tables.*evaluation"),
        ({"checks": pd.DataFrame({"asset": ["a"], "colour": ["red"]})}, "checks: unknown columns.*colour"),
        (
            {"checks": pd.DataFrame({"asset": ["a"], "check_name": ["x"]})},
            "checks: columns.*passed.*required",
        ),
        (
            {"checks": pd.DataFrame({"asset": ["a", None], "check_name": "x", "passed": True})},
            "checks: a required value is missing",
        ),
        (
            {"evaluations": pd.DataFrame([evaluation("e", "auc", 0.5, budget="many")])},
            "evaluations: a value does not fit",
        ),
        (
            {"evaluations": pd.DataFrame([evaluation("e", "auc", v) for v in (0.5, 0.6)])},
            "evaluations: 2 rows have evaluation_id='e'",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_the_old_file_stays(
    tmp_path: Path, tables: dict[str, pd.DataFrame], said: str
) -> None:
    path = tmp_path / "enrich.duckdb"
    publish(generation(3), path)
    with pytest.raises(PublishError, match=said):
        publish(tables, path)
    assert query(path, COHERENT).rows[0] == 3
    assert sorted(os.listdir(tmp_path)) in (["enrich.duckdb"], ["enrich.duckdb", "enrich.duckdb.lock"])


def test_times_as_text_are_read_as_utc_and_empty_text_is_no_time(tmp_path: Path) -> None:
    times = ["2026-01-01T12:00:00.000+02:00", "2026-01-01T12:00:00+00:00", "", None]
    rows = [evaluation(f"e{i}", "auc", 0.5, evaluated_at=time) for i, time in enumerate(times)]
    publish({"evaluations": pd.DataFrame(rows)}, tmp_path / "enrich.duckdb")
    back = query(tmp_path / "enrich.duckdb", "SELECT evaluated_at FROM evaluations ORDER BY evaluation_id")
    assert back.evaluated_at.tolist()[:2] == [pd.Timestamp("2026-01-01 10:00"), pd.Timestamp("2026-01-01 12:00")]
    assert back.evaluated_at.isna().tolist() == [False, False, True, True]


def test_all_tables_read_back_at_once(tmp_path: Path) -> None:
    publish(generation(2), tmp_path / "enrich.duckdb")
    tables = published.read_tables(tmp_path / "enrich.duckdb")
    assert list(tables) == list(BY_NAME)
    assert (len(tables["evaluations"]), len(tables["labels"])) == (52, 0)
    assert list(published.read_tables(tmp_path / "enrich.duckdb", ["curves"])) == ["curves"]


# --- numbers ------------------------------------------------------------------------------------------------


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


# --- swapping -----------------------------------------------------------------------------------------------

HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read-only")
for _ in sys.stdin:
    print(connection.execute("SELECT count(*) - 50 FROM evaluations").fetchone()[0], flush=True)
"""


@pytest.mark.parametrize("mode", ["read-only", "read-write"])
def test_a_shell_on_the_old_file_never_blocks_a_publish_and_keeps_its_view(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "enrich.duckdb"
    publish(generation(1), path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None

        def ask() -> int:
            shell.stdin.write("\n")  # type: ignore[union-attr]
            shell.stdin.flush()  # type: ignore[union-attr]
            return int(shell.stdout.readline())  # type: ignore[union-attr]

        assert ask() == 1
        assert query(path, COHERENT).rows[0] == 1  # we read beside it, even beside a writer
        publish(generation(2), path)
        assert ask() == 1
        assert query(path, COHERENT).rows[0] == 2
        shell.stdin.close()
        assert shell.wait(60) == 0
    assert query(path, COHERENT).rows[0] == 2


def test_a_connection_in_our_own_process_neither_blocks_nor_hides_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "enrich.duckdb"
    publish(generation(1), path)
    with reading(path) as old, duckdb.connect(str(path)) as writable:
        publish(generation(2), path)
        assert old.execute(COHERENT).fetchall()[0][0] == 1
        assert writable.execute(COHERENT).fetchall()[0][0] == 1
        assert query(path, COHERENT).rows[0] == 2


def test_the_log_of_a_shell_that_died_is_not_replayed_into_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "enrich.duckdb"
    publish(generation(1), path)
    scribble = """import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute('DELETE FROM frames')
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", scribble, str(path)], check=False).returncode == 9
    assert Path(f"{path}.wal").exists()
    assert query(path, COHERENT).n[0] == 300  # our reader does not see the scribble either
    publish(generation(2), path)
    with duckdb.connect(str(path), read_only=True) as anyone:
        assert anyone.execute("SELECT count(*) FROM frames").fetchall() == [(300,)]


READER = """
import sys, duckdb
path, last, sql = sys.argv[1], int(sys.argv[2]), sys.argv[3]
seen = set()
print("ready", flush=True)
for _ in range(5000):
    with duckdb.connect(path, read_only=True) as connection:
        rows, low, high, first, final, n = connection.execute(sql).fetchone()
    assert rows == low == high == int(first) == int(final) and n == 300, (rows, low, high, first, final, n)
    seen.add(rows)
    if rows == last:
        break
print(max(seen), flush=True)
"""


def test_a_reader_never_sees_half_a_publish(tmp_path: Path) -> None:
    path = tmp_path / "enrich.duckdb"
    publish(generation(0), path)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(path), "9", COHERENT], stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for g in range(1, 10):
            publish(generation(g), path)
        assert reader.stdout.readline() == "9\n"
        assert reader.wait(60) == 0


def publish_some(path: str, generations: list[int]) -> None:
    for g in generations:
        publish(generation(g), path)


def test_two_publishers_at_once_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "enrich.duckdb"
    context = multiprocessing.get_context("spawn")
    publishers = [context.Process(target=publish_some, args=(str(path), [g] * 4)) for g in (1, 2)]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join(120)
    assert [publisher.exitcode for publisher in publishers] == [0, 0]
    rows, low, high, first, last, n = query(path, COHERENT).iloc[0]
    assert rows == low == high == int(first) == int(last)
    assert rows in (1, 2)
    assert n == 300
    assert [name for name in os.listdir(tmp_path) if "publishing" in name or name.endswith(".wal")] == []


DIES_BEFORE_SWAP = """
import os, sys
import pandas as pd
from enrich_assets.store.published import file as published
published._swap_in = lambda building, target: os._exit(9)
checks = pd.DataFrame({"asset": ["a"], "check_name": ["x"], "passed": [True]})
published.publish({"checks": checks}, sys.argv[1])
"""


def test_a_publisher_that_dies_before_the_swap_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "enrich.duckdb"
    publish(generation(1), path)
    assert subprocess.run([sys.executable, "-c", DIES_BEFORE_SWAP, str(path)], check=False).returncode == 9
    assert len(list(tmp_path.glob(".enrich.duckdb.publishing-*"))) == 1
    assert query(path, COHERENT).rows[0] == 1
    publish(generation(2), path)  # neither the dead publisher's lock nor its file is in the way
    assert query(path, COHERENT).rows[0] == 2
    assert list(tmp_path.glob(".enrich.duckdb.*")) == []


# --- compatibility ------------------------------------------------------------------------------------------


def test_the_file_is_written_for_duckdb_1(tmp_path: Path) -> None:
    publish(generation(1), tmp_path / "enrich.duckdb")
    header = (tmp_path / "enrich.duckdb").read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") == 64  # the storage of DuckDB 0.10 to 1.1, read by all later ones
    stored = query(tmp_path / "enrich.duckdb", "SELECT tags FROM duckdb_databases() WHERE NOT internal").tags[0]
    assert dict(stored)["storage_version"].startswith(published.STORAGE_VERSION)


def test_the_command_line_shell_of_duckdb_1_reads_tables_views_and_comments(tmp_path: Path) -> None:
    """The shell is `duckdb-cli` from PyPI, of which there is only a 1.x; it installs beside the 2.x library."""
    shell = shutil.which("duckdb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if shell is None:
        pytest.skip("no duckdb-cli")
    path = tmp_path / "enrich.duckdb"
    publish(generation(1), path)

    def ask(sql: str) -> list[dict[str, object]]:
        command = [shell, "-readonly", "-json", "-init", os.devnull, str(path), sql]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(told) if told.strip() else []

    assert str(ask("SELECT version() AS version")[0]["version"]).startswith("v1.")
    for view in VIEWS:
        assert len(ask(f"SELECT count(*) AS n FROM (FROM {view.name})")) == 1
    assert ask("SELECT count(*) AS n FROM recomputed")[0]["n"] == 51
    commented = sum(len(table.columns) for table in TABLES) + sum(len(view.columns) for view in VIEWS)
    count = "SELECT count(*) AS n FROM duckdb_columns() WHERE NOT internal AND comment IS NOT NULL"
    assert ask(count)[0]["n"] == commented


# --- reading and printing -----------------------------------------------------------------------------------


def test_a_query_before_anything_is_published_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="enrich run"):
        query(tmp_path / "enrich.duckdb", "SELECT 1")


def test_the_published_file_is_read_only_to_queries(tmp_path: Path) -> None:
    publish(generation(1), tmp_path / "enrich.duckdb")
    with pytest.raises(duckdb.Error, match="read-only"):
        query(tmp_path / "enrich.duckdb", "DELETE FROM frames")


def test_rows_are_printed_in_full_and_null_is_empty(tmp_path: Path) -> None:
    publish({}, tmp_path / "enrich.duckdb")
    sql = """
        SELECT * FROM (VALUES ('a,"b"', 1, 0.1::DOUBLE + 0.2, TIMESTAMP '2026-01-02 03:04:05', true),
                              (NULL, NULL, NULL, NULL, NULL)) AS t(text, n, x, time, yes)
    """
    rows = query(tmp_path / "enrich.duckdb", sql)
    assert json.loads(format_rows(rows, "json")) == [
        {"text": 'a,"b"', "n": 1, "x": 0.30000000000000004, "time": "2026-01-02T03:04:05", "yes": True},
        {"text": None, "n": None, "x": None, "time": None, "yes": None},
    ]
    assert format_rows(rows, "csv") == (
        'text,n,x,time,yes\n"a,""b""",1,0.30000000000000004,2026-01-02T03:04:05,True\n,,,,'
    )
    assert format_rows(rows[["text", "n"]]) == 'text   n\n-----  -\na,"b"  1\n\n(2 rows)'
    with pytest.raises(ValueError, match="table, csv or json"):
        format_rows(rows, "yaml")


def test_the_contract_names_are_published() -> None:
    promised = "studies clips frames labels redundancy neighbours rankings subsets subset_frames evaluations"
    assert {*promised.split(), "predictions", "comparisons"} <= set(BY_NAME)
    assert "lineage" in {view.name for view in VIEWS}
