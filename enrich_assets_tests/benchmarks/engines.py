"""How Ray scales, and what a cell costs beside its own work: on this machine's processes, and on Ray.

    python -m enrich_assets_tests.benchmarks.engines

Scaling: cells that sleep for a second, handed out by the engine to 1, 2 and 4 nodes (processes of this machine) of 2 slots each;
sleeping needs no processor, so what is lost is lost by handing out. Overhead: a cell that takes milliseconds (a subset), as a Dagster
run with its receipt, in this process, in processes beside it, and on Ray, one after the other.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import Any

from enrich_assets.running.execution import Executed
from enrich_assets.settings import RayEngineSettings

SLOTS, SECONDS, CELLS_A_SLOT, CHEAP_CELLS = 2, 1.0, 15, 20
CHEAP = "view/enrich/subset", "10|0"


class Sleeper:
    """A maker whose cells sleep."""

    def begin(self, orders: Any, node: str) -> int:
        return os.getpid()

    def execute(self, keys: Sequence[str], partition: str, run_id: str) -> Executed:
        time.sleep(SECONDS)
        return Executed(1, SECONDS)


def scaling(counts: Sequence[int] = (1, 2, 4)) -> list[dict[str, float]]:
    """Wall seconds and efficiency by number of nodes."""
    from enrich_assets.running.engines.cluster import Cluster, connect, disconnect
    from enrich_assets.running.engines.on_ray import RayTeam
    from enrich_assets_tests.cluster.processes import RayCluster, until

    rows = []
    with RayCluster() as ray_cluster:
        for count in counts:
            for number in range(len(ray_cluster.trees) - 1, count):
                ray_cluster.add(f"n{number + 1}", cpus=SLOTS)
            settings = RayEngineSettings(kind="ray", address=ray_cluster.address)
            connect(ray_cluster.address)
            cluster = Cluster(None, settings, print, maker=Sleeper)  # type: ignore[arg-type]
            slots = count * SLOTS
            team = RayTeam(cluster, slots)
            until(lambda team=team, slots=slots: team.slots == slots, f"{slots} slots")
            n_cells, start = slots * CELLS_A_SLOT, time.perf_counter()
            running, handed = set(), 0
            while handed < n_cells or running:
                while handed < n_cells and len(running) < slots:
                    running.add(team.submit([], "", ""))
                    handed += 1
                running -= wait(running, return_when=FIRST_COMPLETED)[0]
            wall = time.perf_counter() - start
            rows.append(
                {
                    "nodes": count,
                    "slots": slots,
                    "cells": n_cells,
                    "seconds": wall,
                    "efficiency": CELLS_A_SLOT * SECONDS / wall,
                }
            )
            cluster.end()
            disconnect()
    return rows


def overhead() -> dict[str, float]:
    """Median seconds of a cheap cell by who makes it."""
    from dagster._core.utils import make_new_run_id

    from enrich_assets.archive.ingest import ingest
    from enrich_assets.core.stages import TRAINING, Goal, Stage
    from enrich_assets.defs.instance import open_instance
    from enrich_assets.running.driver import Driver
    from enrich_assets.running.engines import InThisProcess, LocalEngine, Team
    from enrich_assets.running.engines.on_ray import RayEngine
    from enrich_assets.running.execution import Execution
    from enrich_assets.store.receipts import Cell
    from enrich_assets.studies.phantom import write_phantom
    from enrich_assets_tests.cluster.processes import RayCluster
    from enrich_assets_tests.conftest import SMALL
    from enrich_assets_tests.made_home import opened

    stage = Stage(TRAINING, [], side_by_side=True, at_once=True)
    found = {}
    with tempfile.TemporaryDirectory() as folder, RayCluster() as ray_cluster:
        home = Path(folder)
        (home / "enrich.yaml").write_text(SMALL.read_text(encoding="utf-8"), encoding="utf-8")
        write_phantom(str(home / "phantom"), patients=8, scale=0.15)
        archive = opened(home)
        ingest(archive, str(home / "phantom"), "first")
        ray_cluster.add("n1")
        with open_instance(archive) as instance:
            Driver(archive, instance, print, Goal(task="view")).run()

            def median(team: Team) -> float:
                seconds = []
                for _ in range(CHEAP_CELLS + 2):
                    archive.store.receipts.forget(Cell(*CHEAP))
                    start = time.perf_counter()
                    executed = team.submit([CHEAP[0]], CHEAP[1], make_new_run_id()).result()
                    seconds.append(time.perf_counter() - start)
                    assert executed.made == 1, executed
                return statistics.median(seconds[2:])  # the first opens what stays open

            found["in this process"] = median(InThisProcess(Execution(archive, instance)))
            archive.profile = archive.profile.model_copy(update={"workers": 2})
            local = LocalEngine(archive, instance)
            with local.team(stage, 2) as team:
                found["in a process that stays (local engine)"] = median(team)
            local.close()
            settings = RayEngineSettings(kind="ray", address=ray_cluster.address)
            engine = RayEngine(archive, instance, settings, print)
            with engine.team(stage, 2) as team:
                found["by an actor that stays (Ray)"] = median(team)
            engine.close()
    return found


def table(rows: list[dict[str, float]], seconds: dict[str, float]) -> str:
    lines = [
        f"Cells that sleep {SECONDS:g} s, {CELLS_A_SLOT} for each slot; nodes of {SLOTS} slots are processes of this machine.",
        "",
        "| nodes | slots | cells | seconds | efficiency |",
        "|---|---|---|---|---|",
        *(f"| {r['nodes']} | {r['slots']} | {r['cells']} | {r['seconds']:.1f} | {r['efficiency']:.3f} |" for r in rows),
        "",
        f"A cell of a few milliseconds, as a Dagster run with its receipt, one after the other (median of {CHEAP_CELLS}):",
        "",
        "| made | seconds |",
        "|---|---|",
        *(f"| {name} | {value:.2f} |" for name, value in seconds.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(scaling(), overhead()))
