"""A cell is made by one maker at a time: who comes second waits, looks again, and hands out what the first has made."""

from __future__ import annotations

import multiprocessing as mp
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from enrich_assets.core import making
from enrich_assets.core.making import Made
from enrich_assets.store.artefacts import Store
from enrich_assets.store.receipts import Cell, Receipt
from enrich_assets_tests.made_home import file_of, opened, planner, verdict

MODEL, PARTITION = "view/enrich/model", "10|0"
CELL = Cell(MODEL, PARTITION)


def make_at(home: Path, barrier: Any) -> Made:
    """Make the cell in an archive of one's own, as another process has one, when all are ready."""
    now = planner(opened(home))
    barrier.wait()
    return making.make(now, now.graph[MODEL], PARTITION, only_stale=True)


_barrier: Barrier


def _begin(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _make(home: Path) -> tuple[Receipt, bool]:
    made = make_at(home, _barrier)
    return made.receipt, made.was_fresh


def whole(home: Path, receipt: Receipt) -> None:
    """Every file is what the receipt says, no draft is left, and the cell is fresh."""
    store = Store(str(home / "store"))
    assert store.damaged(receipt) == {}
    assert store.receipts.require(CELL) == receipt
    assert list(store.folder.files("drafts")) == []
    assert verdict(opened(home), MODEL, PARTITION).is_fresh


def test_of_two_processes_one_trains_and_the_other_hands_out(small: Path) -> None:
    was = opened(small).store.receipts.require(CELL)
    opened(small).store.receipts.forget(CELL)
    context = mp.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=_begin, initargs=(context.Barrier(2),)) as both:
        made = list(both.map(_make, [small, small]))
    assert sorted(was_fresh for _, was_fresh in made) == [False, True]
    first, second = (receipt for receipt, _ in made)
    assert first == second
    assert first.digest == was.digest
    whole(small, first)


def test_of_two_threads_one_trains_and_the_other_hands_out(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(small).store.receipts.forget(CELL)
    trained: list[str] = []
    run_step = making._run_step

    def counted(*given: Any) -> Made:
        trained.append(threading.current_thread().name)
        return run_step(*given)

    monkeypatch.setattr(making, "_run_step", counted)
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as both:
        made = list(both.map(lambda _: make_at(small, barrier), range(2)))
    assert len(trained) == 1
    assert sorted(one.was_fresh for one in made) == [False, True]
    assert made[0].receipt == made[1].receipt
    whole(small, made[0].receipt)


def test_who_waited_for_a_maker_that_failed_makes_the_cell(small: Path) -> None:
    """Having waited is no reason to trust: the second look asks the planner."""
    archive = opened(small)
    archive.store.receipts.forget(CELL)
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(1) as other:
        with archive.making(CELL) as waited:
            assert not waited
            second = other.submit(make_at, small, barrier)
            barrier.wait()
            with pytest.raises(TimeoutError):
                second.result(timeout=0.5)
        made = second.result(timeout=60)
    assert not made.was_fresh
    whole(small, made.receipt)


def test_cells_of_one_folder_do_not_share_a_draft(small: Path) -> None:
    """`10|0` and `10|1` lie in folders of their own; so do settings and inputs."""
    store = opened(small).store
    drafts = {
        store.draft(Cell(MODEL, partition), settings=settings, inputs=inputs).folder
        for partition in ("10|0", "10|1")
        for settings in ("s", "t")
        for inputs in ({"a": "1"}, {"a": "2"})
    }
    assert len(drafts) == 8


def test_a_fresh_cell_is_made_again_only_when_asked(small: Path) -> None:
    now = planner(opened(small))
    again = making.make(now, now.graph[MODEL], PARTITION, only_stale=True)
    assert again.was_fresh
    files = file_of(opened(small), MODEL, PARTITION, "model.safetensors")
    before = files.stat().st_mtime_ns
    made = making.make(now, now.graph[MODEL], PARTITION)
    assert not made.was_fresh
    assert made.receipt.digest == again.receipt.digest
    assert files.stat().st_mtime_ns > before
