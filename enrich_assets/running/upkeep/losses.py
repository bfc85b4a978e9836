"""What a run with nothing to do would not notice: records that are gone. Looked at in a moment; `enrich repair` looks at everything."""

from __future__ import annotations

from collections import Counter

import dagster as dg

from enrich_assets.archive.home import Archive
from enrich_assets.core.planner import Planner
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.mount import Mount
from enrich_assets.running.upkeep.databases import unknown_to_mlflow
from enrich_assets.store.receipts import Receipt, history_file

REMEDY = "`enrich repair` brings back what can be had"


def losses(archive: Archive, instance: dg.DagsterInstance, mount: Mount = Mount()) -> dict[str, str]:  # noqa: B008  (frozen)
    """Records of what is held now that are gone: what -> why, and what to do."""
    planner, lost = Planner(archive, graph_of(archive.profile)), {}
    held = [receipt for key in planner.graph.steps for receipt in planner.held(key).values()]

    def recorded_here(receipt: Receipt) -> bool:
        """Of a store with further homes: what a run of another one has made, that one's databases know."""
        return archive.owns_store or instance.has_run(receipt.run_id)

    history = set(archive.store.folder.files("history", ".json"))
    records = Counter(file.rpartition("/")[0] for file in history)

    def is_on_record(receipt: Receipt) -> bool:
        """The one record of a first receipt is its own; its name, a digest of all that it says, need not be worked out for that."""
        if receipt.revision == 1 and records[f"history/{receipt.cell.folder}"] == 1:
            return True
        return history_file(receipt.cell, receipt.name) in history

    gone = [receipt for receipt in held if not is_on_record(receipt)]
    if gone:
        lost["lineage"] = f"the history of {len(gone)} cells is gone (first: {gone[0].cell}); {REMEDY}"
    published: Receipt | None = planner.held("results").get("")
    if (
        published is not None
        and recorded_here(published)
        and instance.get_latest_materialization_event(mount.asset_key("results")) is None
    ):
        lost["Dagster's history"] = f"it knows nothing of what was made; {REMEDY}"
    evaluations = [receipt for receipt in held if receipt.asset.endswith("/evaluation") and recorded_here(receipt)]
    unrecorded = unknown_to_mlflow(archive, evaluations)
    if unrecorded:
        lost["MLflow"] = f"it does not know {len(unrecorded)} evaluations; {REMEDY}"
    return lost
