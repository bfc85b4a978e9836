"""Cells made on a Ray cluster: the same content as on one machine, whatever happens to nodes and driver meanwhile.

The nodes are real ones, as processes; each test kills or freezes its own. A cell is known to be under way when its run is STARTED.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from filelock import FileLock, Timeout

from enrich_assets.archive import Archive
from enrich_assets.core.stages import Goal
from enrich_assets.defs.attempts import UNFINISHED
from enrich_assets.defs.instance import open_instance
from enrich_assets.defs.mount import PARTITION
from enrich_assets.defs.run_tags import NODE
from enrich_assets.method.embedding import to_fixed_point
from enrich_assets.method.pairs.blocks import panel_in_blocks
from enrich_assets.method.pairs.similarity import all_pairs
from enrich_assets.profiles import load_profile
from enrich_assets.running.driver import Driver, Outcome
from enrich_assets.running.engines.on_ray import RayEngine
from enrich_assets.settings import RayEngineSettings
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.cluster.processes import ROOT, RayCluster, Tree, until
from enrich_assets_tests.made_home import planner, sql

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.servers
MADE_ON_NODES = ("ranking", "subset", "model", "evaluation", "training_length")
GOAL = Goal(task="view")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster() as cluster:
        yield cluster


@pytest.fixture
def nodes(cluster: RayCluster) -> Iterator[dict[str, Tree]]:
    """Two nodes of one slot each, of this test alone."""
    started = {name: cluster.add(name) for name in ("n1", "n2")}
    cluster.await_nodes(names_up, "n1", "n2")
    yield started
    for tree in started.values():
        tree.signal(signal.SIGCONT)
        tree.kill()
    until(lambda: not names_up(cluster), "Ray to see that the nodes are gone")


def engine(cluster: RayCluster) -> RayEngineSettings:
    return RayEngineSettings(kind="ray", address=cluster.address)


def names_up(cluster: RayCluster) -> list[str]:
    from enrich_assets.running.engines.cluster import connect, disconnect, nodes_of_cluster

    connect(cluster.address)
    try:
        return [node.name for node in nodes_of_cluster(engine(cluster))]
    finally:
        disconnect()


@pytest.fixture
def archive(small: Path, cluster: RayCluster) -> Archive:
    text = (small / "enrich.yaml").read_text()
    (small / "enrich.yaml").write_text(
        text.replace("workers: 1\n", f"engine: {{kind: ray, address: '{cluster.address}'}}\n")
    )
    return Archive(small, load_profile(str(small / "enrich.yaml")))


def digests(archive: Archive) -> dict[Cell, str]:
    """Of everything of the task that nodes make."""
    archive.store.receipts.refresh()
    steps = [
        step
        for key, step in planner(archive).graph.steps.items()
        if key.startswith("view/") and step.name in MADE_ON_NODES
    ]
    return {r.cell: r.digest for step in steps for r in planner(archive).held(step.key).values()}


def forget(archive: Archive) -> dict[Cell, str]:
    """Take it all out of the current state; what it was."""
    before = digests(archive)
    assert len(before) > 12
    for cell in before:
        archive.store.receipts.forget(cell)
    return before


def run(archive: Archive, lines: list[str]) -> Outcome:
    with open_instance(archive) as instance:
        return Driver(archive, instance, lines.append, GOAL).run()


def runs(archive: Archive, **filters: object) -> list[dg.DagsterRun]:
    with open_instance(archive) as instance:
        return list(instance.get_runs(dg.RunsFilter(**filters)))  # type: ignore[arg-type]


def may_write(archive: Archive) -> bool:
    """Whether the databases that all share can be written. Frozen in the middle of a write, a process locks SQLite for everybody, which is
    why a cluster has Postgres; a run's own file of events it may lock."""
    for database in ("dagster/history/runs.db", "dagster/history/runs/index.db", "mlflow.db"):
        connection = sqlite3.connect(archive.home / database, timeout=0)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
    try:
        with FileLock(f"{archive.home / 'mlflow.db'}.lock", timeout=0):
            return True
    except Timeout:
        return False


def makes_something(archive: Archive, run: dg.DagsterRun) -> bool:
    """Whether a cell of the run is still to be made: one that has made them all has only its own end to report, which is no failure."""
    cells = [Cell("/".join(key.path), run.tags.get(PARTITION, "")) for key in run.asset_selection or ()]
    return not all(archive.store.folder.exists(f"receipts/{cell.folder}.json") for cell in cells)


def strike(archive: Archive, node: str, tree: Tree, blow: Callable[[], None]) -> threading.Thread:
    """In a thread: as soon as a cell is under way on the node, freeze the node, and where the cell still is under way then, strike."""

    def watch() -> None:
        with open_instance(archive) as instance:
            started = dg.RunsFilter(tags={NODE: node}, statuses=[dg.DagsterRunStatus.STARTED])

            def is_caught() -> bool:
                if not instance.get_runs(started):
                    return False
                tree.signal(signal.SIGSTOP)
                if may_write(archive) and any(makes_something(archive, run) for run in instance.get_runs(started)):
                    return True
                tree.signal(signal.SIGCONT)
                return False

            until(is_caught, f"a cell under way on {node}")
        blow()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def assert_nothing_lost_and_nothing_twice(archive: Archive, before: dict[Cell, str]) -> None:
    assert digests(archive) == before
    assert not runs(archive, statuses=UNFINISHED)
    twice = sql(
        archive, "SELECT task, arm, budget, seed, count(*) n FROM evaluations WHERE current GROUP BY ALL HAVING n > 1"
    )
    assert twice.empty
    assert run(archive, []).runs == 0, "a second run does nothing"


def test_two_nodes_make_what_one_machine_makes(archive: Archive, nodes: dict[str, Tree]) -> None:
    before, lines = forget(archive), list[str]()
    outcome = run(archive, lines)
    assert not outcome.failed, outcome.failed
    assert not outcome.blocked, outcome.blocked
    assert_nothing_lost_and_nothing_twice(archive, before)
    assert {name for name in nodes if runs(archive, tags={NODE: name})} == set(nodes)
    assert any("on 2 nodes: n1, n2" in line for line in lines), lines
    assert any(" on n1" in line and "running" in line and "waiting" in line for line in lines), lines


def test_a_killed_node_costs_no_cell(archive: Archive, nodes: dict[str, Tree]) -> None:
    before, lines = forget(archive), list[str]()
    struck = strike(archive, "n1", nodes["n1"], nodes["n1"].kill)
    outcome = run(archive, lines)
    struck.join()
    assert not outcome.failed, outcome.failed
    assert_nothing_lost_and_nothing_twice(archive, before)
    assert any("it is tried once more" in line for line in lines), lines
    (failed,) = runs(archive, tags={NODE: "n1"}, statuses=[dg.DagsterRunStatus.FAILURE])
    assert failed.is_finished


def test_a_frozen_node_costs_no_cell_and_keeps_nothing_when_it_wakes(archive: Archive, nodes: dict[str, Tree]) -> None:
    before, lines = forget(archive), list[str]()
    struck = strike(archive, "n1", nodes["n1"], lambda: None)
    outcome = run(archive, lines)
    struck.join()
    assert not outcome.failed, outcome.failed
    history = {cell: archive.store.receipts.require(cell).revision for cell in before}
    nodes["n1"].signal(signal.SIGCONT)
    until(lambda: nodes["n1"].process.poll() is not None, "the end of a node that Ray has given up")
    assert_nothing_lost_and_nothing_twice(archive, before)
    assert {cell: archive.store.receipts.require(cell).revision for cell in before} == history
    assert runs(archive, tags={NODE: "n1"}, statuses=[dg.DagsterRunStatus.FAILURE])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_ends_amid_its_cells_is_resumed_by_the_next_run(
    archive: Archive, nodes: dict[str, Tree], tmp_path: Path, number: signal.Signals
) -> None:
    before = forget(archive)
    other = tmp_path / "enrich_assets"  # another checkout where one stands: nodes take the driver's code, not that
    other.mkdir()
    (other / "__init__.py").write_text("raise ImportError('not the code of the driver')\n")
    command = [sys.executable, "-P", "-m", "enrich_assets.cli", "run", "--task", "view"]
    here: dict[str, Any] = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    with (tmp_path / "driver.log").open("wb") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **here)
    until(lambda: runs(archive, tags={NODE: "n2"}, statuses=[dg.DagsterRunStatus.STARTED]), "a cell under way on n2")
    driver.send_signal(number)
    status = driver.wait()
    if number == signal.SIGTERM:
        assert status == 128 + number, (tmp_path / "driver.log").read_text()
        assert not runs(archive, statuses=UNFINISHED), "it ends its runs before it goes"
    done = subprocess.run(command, capture_output=True, text=True, check=False, **here)
    assert done.returncode == 0, done.stderr
    assert_nothing_lost_and_nothing_twice(archive, before)
    assert runs(archive, statuses=[dg.DagsterRunStatus.FAILURE]), "the runs that were under way are ended"


def test_a_node_that_does_not_see_home_takes_no_part_and_says_why(
    archive: Archive, cluster: RayCluster, tmp_path: Path
) -> None:
    before, lines = forget(archive), list[str]()
    fit = cluster.add("fit")
    unfit = cluster.add("unfit", ENRICH_NODE_HOME=str(tmp_path / "other"))
    try:
        cluster.await_nodes(names_up, "fit", "unfit")
        outcome = run(archive, lines)
        assert not outcome.failed, outcome.failed
        assert digests(archive) == before
        assert any(line.startswith("unfit takes no part: unfit has a home of its own, and MLflow") for line in lines), (
            lines
        )
    finally:
        for tree in (fit, unfit):
            tree.kill()
        until(lambda: not names_up(cluster), "Ray to see that the nodes are gone")


def test_a_panel_in_blocks_on_nodes_is_the_panel_of_one_pass_though_a_node_is_killed(
    archive: Archive, nodes: dict[str, Tree]
) -> None:
    rng = np.random.default_rng(0)
    vectors = to_fixed_point(rng.standard_normal((6000, 32)))
    of = {"clips": np.arange(6000) // 20, "patients": np.arange(6000) // 200}
    whole = all_pairs(vectors, **of, n_earlier=1000)
    lines, advanced = list[str](), list[int]()

    def kill_one_after_the_first_block(done: int, *_: object) -> None:
        if not advanced:
            nodes["n1"].kill()
        advanced.append(done)

    with open_instance(archive) as instance:
        ray = RayEngine(archive, instance, archive.profile.engine, lines.append)  # type: ignore[arg-type]
        try:
            assert archive.spread is not None
            panel = panel_in_blocks(
                vectors, **of, n_earlier=1000, blocks=12, spread=archive.spread, progress=kill_one_after_the_first_block
            )
        finally:
            ray.close()
    assert advanced == sorted(advanced)
    assert len(advanced) == 12
    for name, array in whole.arrays().items():
        assert np.array_equal(panel.arrays()[name], array), name
