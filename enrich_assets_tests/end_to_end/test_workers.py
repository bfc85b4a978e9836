"""Training side by side: the same models as one after the other, and no process left behind."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.utils import make_new_run_id

from enrich_assets.archive import Archive
from enrich_assets.core.stages import Goal, Stage
from enrich_assets.defs.attempts import UNFINISHED
from enrich_assets.defs.instance import cells_at_once, open_instance
from enrich_assets.profiles import load_profile
from enrich_assets.running.driver import Driver
from enrich_assets.running.engines import LocalEngine, Lost, Team
from enrich_assets.running.engines.workers import REMEDY, Workers, workers
from enrich_assets.running.execution import Executed, Execution
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.made_home import file_of, held, run, sql

pytestmark = pytest.mark.long


@pytest.fixture
def archive(small: Path) -> Archive:
    profile = load_profile(str(small / "enrich.yaml"))
    return Archive(small, profile.model_copy(update={"workers": 2}))


def test_cells_trained_side_by_side_are_the_cells_trained_alone(archive: Archive) -> None:
    receipts = archive.store.receipts
    steps = [f"view/{arm}/{step}" for arm in ("enrich", "random") for step in ("model", "evaluation")]
    alone = {cell: r.digest for step in steps for cell, r in ((r.cell, r) for r in held(archive, step).values())}
    cells = [cell for cell in alone if cell.partition in ("10|0", "10|1")]
    assert len(cells) == 8
    for cell in cells:
        receipts.forget(cell)
    lines: list[str] = []
    assert not run(archive, say=lines.append).failed
    assert "2 cells to train, 2 at a time" in lines
    assert {cell: receipts.require(cell).digest for cell in alone} == alone
    recorded = sql(archive, "SELECT dagster_run_id FROM evaluations WHERE current AND budget = 10")
    with open_instance(archive) as instance:
        assert {str(instance.get_run_by_id(run).status) for run in recorded["dagster_run_id"]} == {
            "DagsterRunStatus.SUCCESS"
        }


def test_a_failure_in_one_process_is_said_and_the_rest_goes_on(archive: Archive) -> None:
    receipts = archive.store.receipts
    for partition in ("10|0", "10|1"):
        receipts.forget(Cell("view/enrich/evaluation", partition))
    damaged = file_of(archive, "view/enrich/model", "10|0", "model.safetensors")
    damaged.write_bytes(b"no weights")
    outcome = run(archive)
    assert list(outcome.failed) == ["view/enrich/evaluation[10|0]"]
    assert str(damaged) in outcome.failed["view/enrich/evaluation[10|0]"]
    assert receipts.current(Cell("view/enrich/evaluation", "10|1")) is not None


def begun(team: Workers) -> None:
    team.submit(["view/enrich/subset"], "10|0", make_new_run_id()).result()


def test_an_interrupt_ends_the_processes(archive: Archive) -> None:
    before = set(mp.active_children())

    def interrupted() -> None:
        with workers(archive, 2) as team:
            begun(team)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert set(mp.active_children()) <= before


def test_processes_stay_for_later_stages_and_an_interrupt_ends_them(archive: Archive) -> None:
    before = set(mp.active_children())
    stage = Stage("training", [], side_by_side=True)
    with open_instance(archive) as instance:
        engine = LocalEngine(archive, instance)
        for _ in range(2):
            with engine.team(stage, 2) as team:
                team.submit(["view/enrich/subset"], "10|0", make_new_run_id()).result()
            begun = set(mp.active_children()) - before
            assert len(begun) == 1, "the second stage takes the process of the first"
        with pytest.raises(KeyboardInterrupt), engine.team(stage, 2):
            raise KeyboardInterrupt
        assert set(mp.active_children()) <= before
        with engine.team(stage, 2) as team:
            team.submit(["view/enrich/subset"], "10|0", make_new_run_id()).result()
        engine.close()
    assert set(mp.active_children()) <= before


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGKILL, "was killed .SIGKILL., most likely for want of memory"),
        (signal.SIGSEGV, "crashed .SIGSEGV."),
    ],
)
def test_how_a_process_ended_is_said(archive: Archive, number: int, how: str) -> None:
    before = set(mp.active_children())
    with workers(archive, 2) as team:
        begun(team)
        (child,) = set(mp.active_children()) - before
        os.kill(child.pid or 0, signal.SIGSTOP)  # so that it cannot be done before
        future = team.submit(["view/enrich/subset"], "10|0", make_new_run_id())
        os.kill(child.pid or 0, number)
        os.kill(child.pid or 0, signal.SIGCONT)
        with pytest.raises(Lost, match=how):
            future.result()
        assert team.slots == 1, "one fewer from here on"


def test_a_killed_process_costs_its_cell_and_no_other(archive: Archive) -> None:
    before = set(mp.active_children())
    with workers(archive, 2) as team:
        begun(team)
        (child,) = set(mp.active_children()) - before
        future = team.submit(["view/enrich/subset"], "10|0", make_new_run_id())
        other = team.submit(["view/enrich/subset"], "10|1", make_new_run_id())
        os.kill(child.pid or 0, signal.SIGKILL)
        with suppress(Lost):  # it may have been done just before
            future.result()
        other.result()
        begun(team)
    assert set(mp.active_children()) <= before


class Fragile:
    """A team whose process dies as often as it is told to, then works in this process."""

    slots = 2

    def __init__(self, deaths: int, execution: Execution) -> None:
        self.deaths, self._execution = deaths, execution

    def submit(self, keys: Sequence[str], partition: str, run_id: str) -> Future[Executed]:
        future: Future[Executed] = Future()
        if partition == "10|0" and self.deaths:
            self.deaths -= 1
            future.set_exception(Lost("a training process was killed, most likely for want of memory", REMEDY))
        else:
            future.set_result(self._execution.execute(keys, partition, run_id))
        return future

    def describe(self) -> str:
        return ""


@pytest.mark.parametrize(("deaths", "failed"), [(1, []), (2, ["view/enrich/evaluation[10|0]"])])
def test_a_cell_whose_process_died_is_tried_once_more(archive: Archive, deaths: int, failed: list[str]) -> None:
    receipts = archive.store.receipts
    wanted = receipts.require(Cell("view/enrich/evaluation", "10|0")).digest
    for partition in ("10|0", "10|1"):
        receipts.forget(Cell("view/enrich/evaluation", partition))
    lines: list[str] = []
    with open_instance(archive) as instance:
        team = Fragile(deaths, Execution(archive, instance))

        class Engine:
            retries = 1

            def team(self, stage: Stage, expected: int) -> AbstractContextManager[Team]:
                return nullcontext(team)

            def close(self) -> None: ...

        outcome = Driver(archive, instance, lines.append, Goal(task="view"), Engine()).run()
        assert not instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        given_up = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        assert len(given_up) == deaths, "each under a run of its own"
    assert any("it is tried once more" in line for line in lines)
    assert list(outcome.failed) == failed
    assert all("--workers 1" in why for why in outcome.failed.values())
    assert receipts.current(Cell("view/enrich/evaluation", "10|1")) is not None
    if not failed:
        assert receipts.require(Cell("view/enrich/evaluation", "10|0")).digest == wanted


def test_as_many_as_cores_unless_the_profile_says_otherwise() -> None:
    profile = load_profile("demo").model_copy(update={"device": "cpu"})
    assert 1 <= cells_at_once(profile) <= min(8, os.cpu_count() or 1)
    assert cells_at_once(profile.model_copy(update={"workers": 3})) == 3
    assert cells_at_once(profile.model_copy(update={"device": "cuda"})) == 1
