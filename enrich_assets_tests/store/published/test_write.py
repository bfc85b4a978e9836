"""Publishing: what is accepted, and that the file is swapped whole, whoever holds it open or dies."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from enrich_assets.store.published import PublishError, publish, query
from enrich_assets.store.published.schema import TABLES
from enrich_assets.store.published.views import VIEWS
from enrich_assets.store.published.write import STORAGE_VERSION
from enrich_assets_tests.store.published.rows import COHERENT, evaluation, generation

# --- contents -----------------------------------------------------------------------------------------------


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
    ("tables", "message"),
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
    tmp_path: Path, tables: dict[str, pd.DataFrame], message: str
) -> None:
    path = tmp_path / "enrich.duckdb"
    publish(generation(3), path)
    with pytest.raises(PublishError, match=message):
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
from enrich_assets.store.published import write
write._swap_in = lambda building, target: os._exit(9)
checks = pd.DataFrame({"asset": ["a"], "check_name": ["x"], "passed": [True]})
write.publish({"checks": checks}, sys.argv[1])
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


def test_a_full_disk_is_said_as_the_system_says_it_and_leaves_the_old_file(tmp_path: Path) -> None:
    """On a real disk that is full, which takes the right to mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6M", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        path = tmp_path / "enrich.duckdb"
        publish(generation(1), path)
        noise = pd.DataFrame(
            {"asset": [os.urandom(500).hex() for _ in range(10_000)], "check_name": "x", "passed": True}
        )
        with pytest.raises(OSError, match="No space left") as full:
            publish({"checks": noise}, path)
        assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(path))
        assert query(path, COHERENT).rows[0] == 1
        assert list(tmp_path.glob(".enrich.duckdb.publishing*")) == []
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


# --- compatibility ------------------------------------------------------------------------------------------


def test_the_file_is_written_for_duckdb_1(tmp_path: Path) -> None:
    publish(generation(1), tmp_path / "enrich.duckdb")
    header = (tmp_path / "enrich.duckdb").read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") == 64  # the storage of DuckDB 0.10 to 1.1, read by all later ones
    stored = query(tmp_path / "enrich.duckdb", "SELECT tags FROM duckdb_databases() WHERE NOT internal").tags[0]
    assert dict(stored)["storage_version"].startswith(STORAGE_VERSION)


def test_the_command_line_shell_of_duckdb_1_reads_tables_views_and_comments(tmp_path: Path) -> None:
    """The shell is `duckdb-cli` from PyPI, of which there is only a 1.x; it installs beside the 2.x library."""
    shell = shutil.which("duckdb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if shell is None:
        pytest.skip("no duckdb-cli")
    path = tmp_path / "enrich.duckdb"
    publish(generation(1), path)

    def ask(sql: str) -> list[dict[str, object]]:
        command = [shell, "-readonly", "-json", "-init", os.devnull, str(path), sql]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(output) if output.strip() else []

    assert str(ask("SELECT version() AS version")[0]["version"]).startswith("v1.")
    for view in VIEWS:
        assert len(ask(f"SELECT count(*) AS n FROM (FROM {view.name})")) == 1
    assert ask("SELECT count(*) AS n FROM recomputed")[0]["n"] == 51
    commented = sum(len(table.columns) for table in TABLES) + sum(len(view.columns) for view in VIEWS)
    count = "SELECT count(*) AS n FROM duckdb_columns() WHERE NOT internal AND comment IS NOT NULL"
    assert ask(count)[0]["n"] == commented
