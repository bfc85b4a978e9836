"""The engine on a Ray cluster: as many groups at a time as its nodes have room for, each made by an actor that stays.

Where an actor, its process or its whole node is gone, the driver ends the run in Dagster and hands the group to another actor that is
ready, under another run.
"""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from enrich_assets.archive.home import Archive
from enrich_assets.core.stages import Stage
from enrich_assets.running.engines.cluster import (
    SECONDS_BETWEEN_LOOKS,
    Cluster,
    Say,
    connect,
    disconnect,
    hand,
    nodes_of_cluster,
)
from enrich_assets.running.engines.local import InThisProcess
from enrich_assets.running.engines.node import TOKEN, Orders, code_digest
from enrich_assets.running.engines.team import Lost, NoEngine, Team
from enrich_assets.running.execution import Executed, Execution
from enrich_assets.settings import RayEngineSettings


class RayTeam:
    """The actors as a team."""

    def __init__(self, cluster: Cluster, most: int) -> None:
        self._cluster, self._most = cluster, most

    @property
    def slots(self) -> int:
        self._cluster.look(self._most)
        return min(self._most, len(self._cluster.at_work()))

    def submit(self, keys: Sequence[str], partition: str, run_id: str) -> Future[Executed]:
        return hand(self._cluster.free(self._most), "execute", tuple(keys), partition, run_id)

    def describe(self) -> str:
        """`up to 4 at a time on 2 nodes: a, b`: some may still be starting."""
        places = Counter(maker.node.name for maker in self._cluster.makers)
        n_places = min(self._most, sum(places.values()))
        return f"up to {n_places} at a time on {len(places)} node{'s' if len(places) > 1 else ''}: {', '.join(sorted(places))}"


class RayEngine:
    """A Ray cluster that is up already. Connected to when the first cell is to be made on it.

    Parameters
    ----------
    archive
        With the batches to work on.
    instance
        Dagster's.
    settings
        Where the cluster is, and what a cell needs.
    say
        Gets a line where nodes come and go.
    """

    def __init__(self, archive: Archive, instance: dg.DagsterInstance, settings: RayEngineSettings, say: Say) -> None:
        self._archive, self._instance, self._settings, self._say = archive, instance, settings, say
        self._in_this_process = InThisProcess(Execution(archive, instance))
        self._cluster: Cluster | None = None
        self.retries = settings.retries
        if not settings.gpus:  # else a panel is a cell on a node, and its GPU is quicker than many cores
            archive.spread = self.map

    @contextmanager
    def team(self, stage: Stage, expected: int) -> Iterator[Team]:
        """What is made one after the other stays here, with all cores, unless a node's GPU can be had for it."""
        if stage.at_home or not (stage.at_once or self._settings.gpus):
            yield self._in_this_process
            return
        most = min(expected if stage.at_once else 1, self._archive.profile.workers or expected)
        cluster = self._connected()
        cluster.free(most)
        yield RayTeam(cluster, most)

    def map(self, function: Callable[..., Any], shared: Any, items: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """`function(shared, *item)` for each item, on as many nodes as there are slots. Pure functions: what is lost is computed again.

        Parameters
        ----------
        function
            One that nodes can import.
        shared
            Put into Ray's object store once; arrays in it are read-only there.
        items
            Of one call each.

        Yields
        ------
        Any
            The results, in the order of the items.

        Raises
        ------
        Lost
            If one item loses whoever works at it more than `retries` times, or raises.
        """
        import ray

        cluster, tried = self._connected(), Counter[int]()
        reference = ray.put(shared)
        ahead, running, found = deque(range(len(items))), dict[Future[Any], int](), dict[int, Any]()
        for number in range(len(items)):
            while number not in found:
                while ahead and len(running) < max(1, min(len(items), len(cluster.at_work()))):
                    item = ahead.popleft()
                    running[hand(cluster.free(len(items)), "apply", function, reference, items[item])] = item
                for future in wait(running, timeout=SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)[0]:
                    item = running.pop(future)
                    try:
                        found[item] = future.result()
                    except Lost as lost:
                        tried[item] += 1
                        if tried[item] > self.retries:
                            raise
                        self._say(f"{lost}; that part is computed again")
                        ahead.appendleft(item)
                cluster.look(len(items))
            yield found.pop(number)

    def _connected(self) -> Cluster:
        if self._cluster is None:
            connect(self._settings.address)
            self._cluster = Cluster(self._orders(), self._settings, self._say)
        return self._cluster

    def _orders(self) -> Orders:
        archive, token = self._archive, uuid.uuid4().hex
        self._instance.run_storage.set_cursor_values({TOKEN: token})
        dagster_home = Path(self._instance.root_directory)
        return Orders(
            home=archive.home.resolve(),
            profile=archive.profile,
            store_url=archive.store.folder.url,
            batches=archive.pinned,
            mark=archive.mark,
            dagster_home=dagster_home,
            dagster_yaml=(dagster_home / "dagster.yaml").read_text(encoding="utf-8"),
            token=token,
            code=code_digest(),
        )

    def close(self) -> None:
        """End the actors and leave the cluster."""
        if self._cluster is not None:
            self._archive.spread = None
            self._cluster.end()
            self._cluster = None
            disconnect()


def slots_of_cluster(settings: RayEngineSettings, most: int | None) -> int:
    """How many cells the cluster makes at once, `most` where that is given.

    Raises
    ------
    NoEngine
        If the cluster does not answer, or no node has room for a cell.
    """
    connect(settings.address)
    try:
        slots = sum(node.slots for node in nodes_of_cluster(settings))
    finally:
        disconnect()
    if not slots:
        raise NoEngine(f"no node of the Ray cluster at {settings.address} has room for a cell")
    return min(slots, most or slots)
