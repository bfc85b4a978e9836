"""What subsets were worth: evaluations, their predictions, training curves and provenance, of today and of before."""

from __future__ import annotations

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import current_evaluations
from enrich_assets.archive.tables.source import Everything, Tables, concat, time
from enrich_assets.store.lineage import Lineage
from enrich_assets.store.receipts import Cell, DamagedStore, Receipt

COPIED = (
    "evaluation_id",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n_train",
    "n_test",
    "subset_id",
    "model_digest",
    "device",
)


def evaluation_tables(everything: Everything) -> Tables:
    """The tables evaluations, predictions, training_curves and provenance.

    An evaluation of before whose predictions were pruned or damaged keeps its row; it has no predictions any more.

    Raises
    ------
    DamagedStore
        If the predictions of a current evaluation are gone or changed.
    """
    lineage = Lineage(everything.history.store, everything.history.files.digest_of)
    rows: dict[str, dict[str, object]] = {}
    predictions: list[pd.DataFrame] = []
    curves: list[pd.DataFrame] = []
    links: list[dict[str, object]] = []
    for (task, arm), value in everything.evaluations.items():
        current = _current_ids(everything, task, arm)
        for receipt in reversed(everything.history.of(f"{task}/{arm}/evaluation")):
            key = str(receipt.metrics["evaluation_id"])
            if key in rows:  # made again since: that one counts
                continue
            rows[key] = _row(task, arm, receipt, key in current)
            try:
                predictions.append(value.store.table(receipt, "predictions").assign(evaluation_id=key))
            except DamagedStore:
                if key in current:
                    raise
            chain = list(lineage.chain(receipt))
            links += [_link(key, cell, origin.digest, read) for cell, origin, read in chain]
            models = [read for cell, _, read in chain if cell.asset == f"{task}/{arm}/model" and read is not None]
            curves += [curve.assign(evaluation_id=key) for model in models[:1] for curve in _curves(everything, model)]
    provenance = pd.DataFrame(links)
    if len(provenance):
        provenance["created_at"] = time(provenance["created_at"])
        provenance = provenance.drop_duplicates(["evaluation_id", "asset", "partition"])
    return {
        "evaluations": pd.DataFrame(list(rows.values())),
        "predictions": concat(predictions),
        "training_curves": concat(curves),
        "provenance": provenance,
    }


def _current_ids(everything: Everything, task: str, arm: str) -> set[str]:
    held = current_evaluations({arm: everything.evaluations[task, arm]}, {arm: everything.subsets[task, arm]})
    return {str(receipt.metrics["evaluation_id"]) for receipt in held.receipts.values()}


def _row(task: str, arm: str, receipt: Receipt, current: bool) -> dict[str, object]:
    metrics = receipt.metrics
    return {
        **{name: metrics[name] for name in COPIED},
        "task": task,
        "arm": arm,
        "budget": metrics["n_train"],
        "seed": int(receipt.partition.rpartition("|")[2]),
        "seconds": metrics["train_seconds"] + metrics["seconds"],
        "mlflow_run_id": metrics["mlflow_run_id"],
        "mlflow_model_id": metrics["mlflow_model_id"],
        "dagster_run_id": receipt.run_id,
        "evaluated_at": time(receipt.created_at),
        "current": current,
    }


def _link(key: str, cell: Cell, digest: str, read: Receipt | None) -> dict[str, object]:
    link: dict[str, object] = {"evaluation_id": key, "asset": cell.asset, "partition": cell.partition, "digest": digest}
    return link if read is None else {**link, "dagster_run_id": read.run_id, "created_at": read.created_at}


def _curves(everything: Everything, model: Receipt) -> list[pd.DataFrame]:
    try:
        history = everything.history.store.table(model, "history")
    except DamagedStore:
        return []
    history = history.assign(epoch=np.arange(len(history)))
    return [history.melt("epoch", var_name="name", value_name="value")]
