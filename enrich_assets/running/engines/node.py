"""What runs on a node of a cluster: a process that stays, opens the archive once, and executes Dagster runs as `enrich run` itself does.

Nothing of Ray here: `on_ray` makes an actor of `CellMaker`. Before it takes work it makes sure that this node sees what the driver sees: the
same code, the same store, the same Dagster. A node that saw others would compute for nobody, or other bits.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import enrich_assets
from enrich_assets import progress
from enrich_assets.archive.home import Archive
from enrich_assets.defs.instance import open_instance
from enrich_assets.defs.run_tags import HOME, NODE
from enrich_assets.running.execution import Executed, Execution
from enrich_assets.settings import Profile
from enrich_assets.store.batches import Batch
from enrich_assets.store.folder import Folder

NODE_HOME = "ENRICH_NODE_HOME"  # environment of a node that does not share the driver's home: a folder of its own
TOKEN = "enrich/driver-token"  # nosec B105: a name in the cluster, no password
HOW = "docs/CLUSTER.md says what nodes must share"


class UnfitNode(RuntimeError):
    """A node that does not see what the driver sees; says what to do."""


@dataclass(frozen=True)
class Orders:
    """What a node must know to make cells.

    Parameters
    ----------
    home, profile, store_url, batches
        Of the driver's archive.
    mark
        Of the driver's home, for the tags of runs.
    dagster_home, dagster_yaml
        The folder of the driver's instance, and its settings, for nodes with a home of their own.
    token
        What the driver wrote into its instance under `TOKEN`.
    code
        Digest of the driver's code.
    """

    home: Path
    profile: Profile
    store_url: str
    batches: tuple[Batch, ...]
    mark: str
    dagster_home: Path
    dagster_yaml: str
    token: str
    code: str


class CellMaker:
    """Makes cells on one node, one group at a time."""

    def __init__(self) -> None:
        self._execution: Execution | None = None
        self._node = ""

    def begin(self, orders: Orders, node: str) -> int:
        """Open the archive and its Dagster.

        Parameters
        ----------
        orders
            From the driver.
        node
            What this node is called.

        Returns
        -------
        int
            Id of this process.

        Raises
        ------
        UnfitNode
            If this node does not see what the driver sees.
        """
        progress.always_in_lines()
        if code_digest() != orders.code:
            raise UnfitNode(
                f"another version of enrich-assets is installed on {node}: install the driver's in {sys.prefix}"
            )
        home = _home(orders, node)
        archive = Archive(home, orders.profile, orders.store_url, orders.batches)
        there = {batch.name for batch in archive.register.all()}
        unseen = [batch.name for batch in orders.batches if batch.name not in there]
        if unseen:
            raise UnfitNode(f"{node} does not see the store {orders.store_url} (no batch {unseen[0]} there): {HOW}")
        if home != orders.home and archive.tracking_uri.startswith("sqlite"):
            raise UnfitNode(
                f"{node} has a home of its own, and MLflow lies in the driver's: name a server, `tracking.uri`; {HOW}"
            )
        instance = open_instance(archive)
        if instance.run_storage.get_cursor_values({TOKEN}).get(TOKEN) != orders.token:
            raise UnfitNode(f"{node} does not see this run's Dagster ({instance.root_directory} there): {HOW}")
        from enrich_assets.method.device import pick

        pick(orders.profile.device)  # torch takes seconds to import: now, not in the first cell
        self._execution = Execution(archive, instance, {NODE: node, HOME: orders.mark})
        self._node = node
        return os.getpid()

    def execute(self, keys: Sequence[str], partition: str, run_id: str) -> Executed:
        """As `Execution.execute`."""
        assert self._execution is not None
        made = self._execution.execute(keys, partition, run_id)
        return Executed(made.made, made.seconds, made.failed, self._node)

    def apply(self, function: Callable[..., Any], shared: Any, item: tuple[Any, ...]) -> Any:
        """`function(shared, *item)`."""
        return function(shared, *item)


def _home(orders: Orders, node: str) -> Path:
    """The driver's home where this node sees it, else its own, with the driver's `dagster.yaml` in it."""
    own = os.environ.get(NODE_HOME)
    if own is None:
        if not orders.home.is_dir():
            raise UnfitNode(
                f"{node} does not see the home {orders.home}: share that folder, or name a folder of the node's own in {NODE_HOME}; {HOW}"
            )
        os.environ["DAGSTER_HOME"] = str(orders.dagster_home)
        return orders.home
    home = Path(own).resolve()
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    Folder(str(home / "dagster")).write("dagster.yaml", orders.dagster_yaml.encode())
    os.environ["DAGSTER_HOME"] = str(home / "dagster")
    return home


@cache
def code_digest() -> str:
    """Digest of all Python files of this package, as they lie here."""
    root = Path(enrich_assets.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
