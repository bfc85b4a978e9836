"""Tags of Dagster runs: what a run makes, on which node, and what else whoever makes or ends it must know.

The UI lists them under each run in alphabetical order; those that begin with `.dagster/` are kept to itself.
"""

import socket
from collections.abc import Sequence

import dagster as dg

from enrich_assets.core.graph import Graph
from enrich_assets.core.naming import title_of
from enrich_assets.core.step import Declared
from enrich_assets.defs.mount import Mount

CELLS = "enrich/cells"  # what the run makes, in words
NODE = "enrich/node"  # which machine executes it
COMMAND = "enrich/command"  # of runs that no daemon of Dagster began: `run` for those of `enrich run`
ONLY_STALE = "enrich/only_stale"  # a cell that is fresh hands out what it has
HOME = ".dagster/enrich_home"  # of whose `enrich run` it is
EARLIER_HOME = "enrich/home"  # the same, of an earlier version
PINNED = ".dagster/enrich_pinned"  # the archive at hand keeps to the batches of the run already


def this_node() -> str:
    """What this machine is called."""
    return socket.gethostname()


def cells_tag(members: Sequence[Declared], partition: str) -> dict[str, str]:
    """The tag that says what a run makes."""
    title = title_of(members, partition)
    return {CELLS: title} if title else {}


def tag_run(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, graph: Graph, mount: Mount) -> None:
    """Say of a run that Dagster itself has begun what it makes, and where; of others that is said already."""
    if NODE in context.run.tags:
        return
    keys = {mount.key(key) for key in context.op_execution_context.selected_asset_keys}
    members = [step for key, step in graph.steps.items() if key in keys]
    partition = context.partition_key if context.has_partition_key else ""
    said = {} if CELLS in context.run.tags else cells_tag(members, partition)
    context.instance.add_run_tags(context.run.run_id, {NODE: this_node(), **said})
