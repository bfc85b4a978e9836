"""Who worked at a cell is gone, frozen, or cut off: its run is ended, its lock freed, and what it still makes never becomes current."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.utils import make_new_run_id

from enrich_assets.archive import Archive
from enrich_assets.core import making
from enrich_assets.defs.attempts import INSTEAD_OF, RunEnded, require_alive
from enrich_assets.defs.instance import open_instance
from enrich_assets.defs.run_tags import HOME, NODE
from enrich_assets.profiles import load_profile
from enrich_assets.running.driver import Driver
from enrich_assets.running.engines import NoEngine
from enrich_assets.running.engines.node import CellMaker, Orders, UnfitNode, code_digest
from enrich_assets.running.execution import Execution, end_run, tags_of
from enrich_assets.running.forecast import make_plan
from enrich_assets.settings import RayEngineSettings
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.made_home import planner

STARTED = dg.DagsterRunStatus.STARTED
CELL = Cell("view/enrich/subset", "10|0")


@pytest.fixture
def archive(small: Path) -> Archive:
    return Archive(small, load_profile(str(small / "enrich.yaml")))


def test_a_maker_that_is_not_alive_any_more_makes_nothing_current(archive: Archive) -> None:
    wanted = archive.store.receipts.require(CELL).digest
    archive.store.receipts.forget(CELL)

    def ended() -> None:
        raise RunEnded("ended")

    now = planner(archive)
    with pytest.raises(RunEnded):
        making.make(now, now.graph[CELL.asset], CELL.partition, alive=ended)
    archive.store.receipts.refresh()
    assert archive.store.receipts.current(CELL) is None
    assert making.make(now, now.graph[CELL.asset], CELL.partition).receipt.digest == wanted


def test_a_run_that_is_ended_while_its_cell_is_made_fails_and_writes_no_receipt(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen node wakes up after the driver has ended its run, just before the receipt is written."""
    archive.store.receipts.forget(CELL)
    with open_instance(archive) as instance:
        run_id, write = make_new_run_id(), making.write_output

        def ended_before_it_is_written(*arguments: object) -> None:
            end_run(instance, run_id, "its node is gone", tags_of(archive))
            write(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(making, "write_output", ended_before_it_is_written)
        executed = Execution(archive, instance).execute([CELL.asset], CELL.partition, run_id)
        assert "was ended (failure) by somebody else" in executed.failed[str(CELL)]
        assert executed.made == 0
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE
    archive.store.receipts.refresh()
    assert archive.store.receipts.current(CELL) is None


def test_nobody_waits_for_the_events_that_a_frozen_process_holds_locked(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrich_assets.running.execution.SECONDS_TO_TELL", 0.1)
    with open_instance(archive) as instance:
        run = instance.add_run(dg.DagsterRun(job_name="frozen", run_id=make_new_run_id(), status=STARTED))
        instance.report_engine_event("begun", run)
        events = sqlite3.connect(archive.home / "dagster" / "history" / "runs" / f"{run.run_id}.db")
        with contextlib.closing(events):
            events.execute("BEGIN EXCLUSIVE")
            end_run(instance, run.run_id, "its node is frozen", tags_of(archive))
            ended = instance.get_run_by_id(run.run_id)
            assert ended is not None
            assert ended.status is dg.DagsterRunStatus.FAILURE
            lock = instance.event_log_storage._db_lock  # type: ignore[attr-defined]
            assert lock.acquire(blocking=False), (
                "whoever asks this instance for any event would wait for the locked ones"
            )
            lock.release()


def test_with_a_run_that_is_given_up_goes_what_its_maker_began_instead_of_it(archive: Archive) -> None:
    """Dagster's database was away, the maker began another run for the same cells, and then its node froze."""
    with open_instance(archive) as instance:
        execution, first = Execution(archive, instance), make_new_run_id()
        archive.store.receipts.forget(CELL)
        assert execution.execute([CELL.asset], CELL.partition, first).made == 1
        ids = [make_new_run_id() for _ in range(2)]
        instead = [
            instance.add_run(dg.DagsterRun(job_name="job", run_id=run_id, status=STARTED, tags={INSTEAD_OF: first}))
            for run_id in ids
        ]
        for run in instead:
            require_alive(instance, run.run_id)
        end_run(instance, first, "its node is gone", tags_of(archive))
        late = instance.add_run(
            dg.DagsterRun(job_name="job", run_id=make_new_run_id(), status=STARTED, tags={INSTEAD_OF: first})
        )
        for run in [*instead, late]:
            with pytest.raises(RunEnded):
                require_alive(instance, run.run_id)
        statuses = {run.run_id: run.status for run in instance.get_runs()}
        assert {statuses[run_id] for run_id in ids} == {dg.DagsterRunStatus.FAILURE}


def test_a_run_that_was_given_up_before_it_began_cannot_begin(archive: Archive) -> None:
    with open_instance(archive) as instance:
        run_id = make_new_run_id()
        end_run(instance, run_id, "its node is gone", tags_of(archive))
        end_run(instance, run_id, "twice does no harm", tags_of(archive))
        with pytest.raises(DagsterRunAlreadyExists):
            Execution(archive, instance).execute([CELL.asset], CELL.partition, run_id)


def test_a_run_that_is_done_is_not_ended_once_more(archive: Archive) -> None:
    archive.store.receipts.forget(CELL)
    with open_instance(archive) as instance:
        run_id = make_new_run_id()
        assert Execution(archive, instance).execute([CELL.asset], CELL.partition, run_id).made == 1
        end_run(instance, run_id, "its node is gone", tags_of(archive))
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert run.tags[NODE]
        assert run.tags[HOME] == archive.mark


def test_the_lock_of_a_run_that_was_ended_is_free_and_no_other(archive: Archive, small: Path) -> None:
    other = Archive(small, archive.profile)
    with archive.making(CELL, "frozen"):
        other.free(CELL, "another run")
        assert archive._lock_path(CELL).read_text() == "frozen"
        other.free(CELL, "frozen")
        with other.making(CELL, "next") as waited:
            assert not waited
            archive.free(CELL, "frozen")
            assert archive._lock_path(CELL).read_text() == "next"
    with archive.making(CELL, "after both") as waited:
        assert not waited


def test_two_homes_have_two_marks_and_each_keeps_its_own(tmp_path: Path) -> None:
    profile = load_profile("demo")
    one, other = Archive(tmp_path / "one", profile), Archive(tmp_path / "other", profile)
    assert one.mark != other.mark
    assert Archive(tmp_path / "one", profile).mark == one.mark


# ----------------------------------------------------------------------------------------------------- nodes of a cluster


def orders(archive: Archive, **others: object) -> Orders:
    given = {
        "home": archive.home,
        "profile": archive.profile,
        "store_url": archive.store.folder.url,
        "batches": archive.pinned,
        "mark": archive.mark,
        "dagster_home": archive.home / "dagster",
        "dagster_yaml": (archive.home / "dagster" / "dagster.yaml").read_text(),
        "token": "never written",
        "code": code_digest(),
    }
    return Orders(**{**given, **others})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"code": "0" * 64}, "another version of enrich-assets is installed on box"),
        ({"home": Path("/nowhere/at/all")}, "box does not see the home /nowhere/at/all: share that folder"),
        ({"store_url": "memory://elsewhere"}, "box does not see the store memory://elsewhere"),
        ({}, "box does not see this run's Dagster"),
    ],
    ids=["code", "home", "store", "dagster"],
)
def test_a_node_that_does_not_see_what_the_driver_sees_takes_no_work(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, others: dict[str, object], why: str
) -> None:
    monkeypatch.delenv("ENRICH_NODE_HOME", raising=False)
    with pytest.raises(UnfitNode, match=why):
        CellMaker().begin(orders(archive, **others), "box")


def test_without_its_cluster_a_run_says_what_to_do_and_the_plan_prices_one_cell_at_a_time(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    from enrich_assets.running.engines import cluster

    def absent(address: str) -> None:
        raise NoEngine(f"no Ray cluster answers at {address}")

    monkeypatch.setattr(cluster, "connect", absent)
    monkeypatch.setattr("enrich_assets.running.engines.on_ray.connect", absent)
    ray = RayEngineSettings(kind="ray", address="127.0.0.1:1")
    archive.profile = archive.profile.model_copy(update={"engine": ray})
    for partition in ("10|0", "10|1"):
        archive.store.receipts.forget(Cell("view/enrich/model", partition))
    plan = make_plan(archive)
    assert any("no Ray cluster answers at 127.0.0.1:1" in note for note in plan.notes)
    assert any("2 trainings, 2 scores, 1 at a time" in stage.note for stage in plan.stages)
    with open_instance(archive) as instance, pytest.raises(NoEngine, match="no Ray cluster answers"):
        Driver(archive, instance, print).run()
