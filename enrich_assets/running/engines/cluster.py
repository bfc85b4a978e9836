"""A Ray cluster: which nodes are up, which processes that stay (actors) are on them, and who of these is free.

Ray restarts no actor and repeats no call (`max_restarts=0`, `max_task_retries=0`): what is handed out again, and to whom, the driver decides.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import chdir, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import enrich_assets
from enrich_assets.running.engines.node import CellMaker, Orders
from enrich_assets.running.engines.team import Lost, NoEngine
from enrich_assets.running.interrupts import ENDING
from enrich_assets.settings import RayEngineSettings
from enrich_assets.store.plain_errors import in_words

SECONDS_FOR_A_SLOT = 600.0  # to wait for, until the run ends and says so
SECONDS_BETWEEN_LOOKS = 1.0  # at the cluster's nodes
SECONDS_BETWEEN_WORDS = 30.0  # while there is nothing to do but to wait
MOST_FALSE_STARTS = 3  # of processes on a node, until it is left out
REMEDY = "Give a cell more memory (`engine.memory`), or look into that node's log"

CODE = Path(enrich_assets.__file__).parents[1]  # where the driver's code lies

Say = Callable[[str], None]


@dataclass(frozen=True)
class Node:
    """A node of the cluster that is up, and how many cells at once it has room for."""

    id: str
    name: str
    slots: int


@dataclass
class Maker:
    """An actor on a node."""

    actor: Any
    node: Node
    begun: Any  # what says that it is ready
    ready: bool = False
    work: Future[Any] | None = None
    gone: str = ""  # why it is of no use any more

    @property
    def is_free(self) -> bool:
        return self.ready and not self.gone and (self.work is None or self.work.done())


@dataclass
class Cluster:
    """The actors of one run, on the nodes that are up. Made by `RayEngine`; asked from the main thread only.

    Parameters
    ----------
    orders
        What each node must know.
    settings
        What a cell needs.
    say
        Gets a line where nodes come and go.
    maker
        What an actor is made of: has `begin` and `execute`.
    """

    orders: Orders
    settings: RayEngineSettings
    say: Say
    maker: type = CellMaker
    makers: list[Maker] = field(default_factory=list)
    unfit: dict[str, str] = field(default_factory=dict)  # id of a node -> why
    _nodes: list[Node] = field(default_factory=list)
    _false_starts: Counter[str] = field(
        default_factory=Counter
    )  # id of a node -> actors that ended before they were ready
    _looked: float = -1e9

    def look(self, most: int) -> None:
        """See which nodes are up and which actors are ready, and begin further ones where there is room, `most` in all."""
        import ray

        now = time.monotonic()
        if now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            up = nodes_of_cluster(self.settings)
            self._nodes = [node for node in up if node.id not in self.unfit]
            self._drop_lost({node.id for node in up})
            self._begin_further(most)
        for maker in self.makers:
            if not maker.ready and not maker.gone and ray.wait([maker.begun], timeout=0)[0]:
                self._greet(maker)

    def _drop_lost(self, up: set[str]) -> None:
        for maker in list(self.makers):
            if maker.node.id not in up:
                maker.gone = maker.gone or f"{maker.node.name} is gone"
                if maker.work is not None and not maker.work.done():
                    with suppress(InvalidStateError):  # Ray may have said so at this very moment
                        maker.work.set_exception(Lost(maker.gone))
            if maker.gone and (maker.work is None or maker.work.done()):
                self.makers.remove(maker)
                kill(maker.actor)

    def _begin_further(self, most: int) -> None:
        """One per node in turn, so that few cells are spread over all nodes."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        busy = Counter(maker.node.id for maker in self.makers)
        places = sorted((place, node.id, node) for node in self._nodes for place in range(busy[node.id], node.slots))
        for _, _, node in places[: max(0, most - len(self.makers))]:
            actor_class: Any = ray.remote(max_restarts=0, max_task_retries=0)(self.maker)
            actor: Any = actor_class.options(
                num_cpus=self.settings.cpus,
                num_gpus=self.settings.gpus,
                memory=int(self.settings.memory) if self.settings.memory is not None else None,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            ).remote()
            self.makers.append(Maker(actor, node, actor.begin.remote(self.orders, node.name)))

    def _greet(self, maker: Maker) -> None:
        """An actor has begun, or could not."""
        import ray

        try:
            ray.get(maker.begun)
            maker.ready = True
        except ray.exceptions.RayTaskError as error:
            maker.gone = in_words(error.cause if isinstance(error.cause, Exception) else error)
            self._leave_out(maker)
        except ray.exceptions.RayError as error:  # its process or node ended; begun again where the node is still up
            maker.gone = f"{maker.node.name} lost the process that was to make cells ({_first_line(error)})"
            self._false_starts[maker.node.id] += 1
            if self._false_starts[maker.node.id] >= MOST_FALSE_STARTS:
                self._leave_out(maker)

    def _leave_out(self, maker: Maker) -> None:
        if maker.node.id not in self.unfit:
            self.say(f"{maker.node.name} takes no part: {maker.gone}")
        self.unfit[maker.node.id] = maker.gone

    def at_work(self) -> list[Maker]:
        """Those that make cells, or could."""
        return [maker for maker in self.makers if maker.ready and not maker.gone]

    def free(self, most: int) -> Maker:
        """One that has nothing to do, waited for where there is none.

        Raises
        ------
        NoEngine
            If none comes for `SECONDS_FOR_A_SLOT`, or every node is unfit.
        """
        began = said = time.monotonic()
        while True:
            self.look(most)
            for maker in self.makers:
                if maker.is_free:
                    return maker
            now = time.monotonic()
            if self.unfit and not self.makers and not self._nodes:
                raise NoEngine(
                    f"no node of the Ray cluster can make cells: {'; '.join(sorted(set(self.unfit.values())))}"
                )
            if now - began > SECONDS_FOR_A_SLOT:
                raise NoEngine(f"{self._why_none()} for {SECONDS_FOR_A_SLOT / 60:.0f} min; what is finished is kept")
            if now - said > SECONDS_BETWEEN_WORDS:
                said = now
                self.say(f"waiting for Ray: {self._why_none()}")
            time.sleep(0.05)

    def _why_none(self) -> str:
        need = ", ".join(f"{value:g} {name}" for name, value in _needs(self.settings).items())
        if not self._nodes:
            return f"no node of the cluster at {self.settings.address} has room for a cell ({need})"
        return f"no place for a cell ({need}) has become free on {', '.join(node.name for node in self._nodes)}"

    def end(self) -> None:
        """End the actors, whatever they are at."""
        for maker in self.makers:
            kill(maker.actor)
        self.makers.clear()


def hand(maker: Maker, method: str, *arguments: Any) -> Future[Any]:
    """Let a free actor do something.

    Returns
    -------
    Future
        Raises Lost where the actor, or what it stands on, is gone.
    """
    promised: Future[Any] = Future()
    maker.work = promised
    call = getattr(maker.actor, method).remote(*arguments)
    call.future().add_done_callback(partial(_finished, maker, promised))
    return promised


def _finished(maker: Maker, promised: Future[Any], done: Future[Any]) -> None:
    """Called by a thread of Ray's: what came of a call."""
    import ray

    error = done.exception()
    with suppress(InvalidStateError):  # given up in the meantime
        if error is None:
            promised.set_result(done.result())
        elif isinstance(error, ray.exceptions.RayTaskError):  # not of a step: those are part of what was executed
            cause = error.cause if isinstance(error.cause, Exception) else error
            promised.set_exception(
                Lost(f"{maker.node.name} could not do it: {in_words(cause)}", "Look into the reason")
            )
        else:
            maker.gone = f"{maker.node.name} or its process is gone ({type(error).__name__})"
            promised.set_exception(Lost(maker.gone, REMEDY))


def connect(address: str) -> None:
    """Join the cluster as a driver. The handlers of signals stay ours.

    Raises
    ------
    NoEngine
        If Ray is not installed, or no cluster is there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise NoEngine(
            'the profile asks for `engine: ray`: pip install "enrich-assets[ray]" here and on every node'
        ) from error

    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        with chdir(
            CODE
        ):  # Ray puts the driver's folder first on the nodes' path: so it is the driver's code, where a node sees it
            ray.init(
                address=address,
                namespace="enrich",
                log_to_driver=False,
                logging_level=logging.FATAL,
                ignore_reinit_error=True,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise NoEngine(
            f"no Ray cluster answers at {address} ({_first_line(error)}): `ray start --head` begins one; docs/CLUSTER.md says how"
        ) from error
    finally:
        for number, handler in before.items():
            with suppress(ValueError):  # not the main thread
                signal.signal(number, handler)


def disconnect() -> None:
    """Leave the cluster."""
    import ray

    ray.shutdown()


def nodes_of_cluster(settings: RayEngineSettings) -> list[Node]:
    """Nodes that are up and have room for a cell, whether somebody uses it just now or not."""
    import ray

    up = [node for node in ray.nodes() if node["Alive"]]
    names = Counter(_name(node) for node in up)
    found = []
    for node in up:
        has, needs = node["Resources"], _needs(settings)
        slots = min(int(has.get(name, 0) / needed + 1e-9) for name, needed in needs.items())
        name = _name(node) if names[_name(node)] == 1 else f"{_name(node)}/{node['NodeID'][:6]}"
        if slots:
            found.append(Node(node["NodeID"], name, slots))
    return sorted(found, key=lambda node: node.name)


def kill(actor: Any) -> None:
    """End an actor and its process; of a node that is gone nothing is left to end."""
    import ray

    with suppress(Exception):
        ray.kill(actor, no_restart=True)


def _needs(settings: RayEngineSettings) -> dict[str, float]:
    needs = {"CPU": settings.cpus, "GPU": settings.gpus, "memory": float(settings.memory or 0)}
    return {name: needed for name, needed in needs.items() if needed}


def _name(node: dict[str, Any]) -> str:
    """What people call it: the name given at `ray start --node-name`, else its host."""
    return str(node["NodeName"] if node["NodeName"] != node["NodeManagerAddress"] else node["NodeManagerHostname"])


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
