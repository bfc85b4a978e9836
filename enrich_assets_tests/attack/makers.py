"""Two makers of one cell, of each kind there is: both end well, the cell holds what it held, and nothing is made twice.

python -m enrich_assets_tests.attack.makers [--most 1000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

from enrich_assets.core.planner import Planner
from enrich_assets.defs.assets import graph_of
from enrich_assets.store.receipts import Receipt
from enrich_assets_tests.attack.homes import done, finished_home, values
from enrich_assets_tests.made_home import opened

# They hold what trainings cost in seconds, and what follows from it: made once more after those, two makers agree, and no more.
WITH_SECONDS = ("comparison", "results", "report")

_worker: dict[str, Any] = {}


def begin_worker(home: str, barrier: Any) -> None:
    """Open the home in a process of its own."""
    archive = opened(Path(home))
    _worker.update(planner=Planner(archive, graph_of(archive.profile)), barrier=barrier)


def make_one(key: str, partition: str) -> tuple[str, bool, str]:
    """Make a cell at the same moment as the other process: its digest, whether the other had made it, or what went wrong."""
    from enrich_assets.core.making import make

    planner = _worker["planner"]
    planner.archive.look_again()
    try:
        _worker["barrier"].wait(timeout=60)
    except BrokenBarrierError:
        return "", False, "the other maker did not come"
    try:
        made = make(planner, planner.graph[key], partition, only_stale=True)
    except Exception as error:  # whatever it is, it is what the attack looks for
        return "", False, repr(error)
    return made.receipt.digest, made.was_fresh, ""


def held(planner: Planner, key: str) -> dict[str, Receipt]:
    """Partition -> receipt of an asset or a check, of the cells that are made."""
    receipts = {cell.partition: planner.receipts.current(cell) for cell in planner.cells(planner.graph[key])}
    return {partition: receipt for partition, receipt in receipts.items() if receipt is not None}


def attack(most: int = 1000) -> dict[str, int]:
    """Counts: kinds of cell (assets and checks), makers, and harms."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="enrich-makers-") as folder:
        _, home = finished_home(Path(folder))
        wanted = values(home)
        archive = opened(home)
        os.environ["OMP_NUM_THREADS"] = "1"  # as the home's own processes have: the VAE's sums depend on it
        planner, spawn = Planner(archive, graph_of(archive.profile)), multiprocessing.get_context("spawn")
        # with the checks, for what reads a cell looks whether it passed them
        ordered = planner.graph.with_checks([*planner.graph.steps])
        kinds = [(declared.key, held(planner, declared.key)) for declared in ordered]
        kinds = [(key, receipts) for key, receipts in kinds if receipts]
        with ProcessPoolExecutor(
            2, mp_context=spawn, initializer=begin_worker, initargs=(str(home), spawn.Barrier(2))
        ) as workers:
            for key, receipts in kinds[:most]:
                partition, before = next(iter(receipts.items()))
                archive.store.receipts.forget(planner.graph[key].cell(partition))
                made = [workers.submit(make_one, key, partition) for _ in range(2)]
                outcomes = [future.result() for future in made]
                counts["kinds of cell"] += 1
                counts["makers"] += 2
                wanted_digest = outcomes[0][0] if key.rpartition("/")[2] in WITH_SECONDS else before.digest
                well = all(not error and digest == wanted_digest for digest, _, error in outcomes)
                if not well or sum(was_fresh for _, was_fresh, _ in outcomes) != 1:
                    counts["harms"] += 1
                    print(key, partition, before.digest, outcomes, flush=True)
        code, said = done(home, "run")
        _, found = done(home, "repair", "--dry-run")
        whole = code == 0 and values(home) == wanted and "nothing is missing or damaged" in found
        counts["harms"] += not whole
        if not whole:
            print(said[-1500:], found[-1500:], flush=True)
    return {name: counts[name] for name in ("kinds of cell", "makers", "harms")}


def main() -> int:
    """Returns the number of harms."""
    options = argparse.ArgumentParser()
    options.add_argument("--most", type=int, default=1000)
    counts = attack(options.parse_args().most)
    print(counts)
    return min(counts["harms"], 100)


if __name__ == "__main__":
    sys.exit(main())
