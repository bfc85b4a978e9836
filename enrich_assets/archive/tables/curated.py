"""What is alike and what was chosen: redundancy, neighbours, near-duplicates, rankings, subsets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from enrich_assets.archive.tables.source import Everything, Tables, concat
from enrich_assets.archive.values import Value
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.ranking import rule_named
from enrich_assets.settings import ALL, ArmSettings, Profile
from enrich_assets.store.artefacts import Store
from enrich_assets.store.panels import POOL, panel_redundancy
from enrich_assets.store.receipts import DamagedStore, Receipt

NEIGHBOUR_TEXT = ("frame_id", "neighbour_id", "relation")


def similarity_tables(everything: Everything) -> Tables:
    """The tables redundancy, panel_redundancy, neighbours, near_duplicates, leaks and embedding_health."""
    whole, by_batch, neighbours, near, leaks = [], [], [], [], []
    default = everything.profile.default_embedding
    if everything.archive_redundancy.is_there:
        whole.append(everything.archive_redundancy.table("redundancy").assign(embedding=default))
        by_batch += [
            panel_redundancy(everything.archive_panels.store, receipt).assign(embedding=default, batch=batch)
            for batch, receipt in everything.archive_panels.receipts.items()
        ]
    if everything.leaks.is_there:
        leaks.append(everything.leaks.table("leaks"))
    for (name, embedding), value in everything.redundancy.items():
        if not value.is_there:
            continue
        store, key = value.store, {"task": name, "embedding": embedding}
        whole.append(value.table("redundancy").assign(whole=POOL, **key))
        by_batch += [
            panel_redundancy(store, receipt).assign(**key, batch=batch)
            for batch, receipt in everything.panels[name, embedding].receipts.items()
        ]
        neighbours.append(_with_constants(store.arrow(value.receipt, "neighbours", NEIGHBOUR_TEXT), key))
        near.append(_near_duplicates(everything, name, value.table("near_duplicates")).assign(embedding=embedding))
    return {
        "redundancy": concat(whole),
        "panel_redundancy": concat(by_batch),
        "neighbours": pa.concat_tables(neighbours, promote_options="default") if neighbours else pd.DataFrame(),
        "near_duplicates": concat(near),
        "leaks": concat(leaks),
        "embedding_health": _health(everything.health),
    }


def _with_constants(table: pa.Table, constants: Mapping[str, str]) -> pa.Table:
    """With a column for each constant, a byte per row: the table has twenty rows for each frame of a pool."""
    codes = pa.array(np.zeros(len(table), np.int8))
    for name, value in constants.items():
        table = table.append_column(name, pa.DictionaryArray.from_arrays(codes, [value]))
    return table


def _health(health: Value) -> pd.DataFrame:
    """What was measured, and how long each embedding took, which is no part of the content it was measured on."""
    if not health.is_there:
        return pd.DataFrame()
    seconds = [
        {"embedding": name, "measure": "seconds for 1,000 frames", "value": value, "verdict": "for reading", "note": ""}
        for name, value in health.metrics["seconds_per_1000_frames"].items()
    ]
    return concat([health.table("health"), pd.DataFrame(seconds)])


def _near_duplicates(everything: Everything, task: str, pairs: pd.DataFrame) -> pd.DataFrame:
    pairs = pairs.assign(task=task)
    if not len(pairs) or kind_of(everything.profile.tasks[task].kind).answers != "class":
        return pairs
    label = everything.labels.of_task(task).drop_duplicates("frame_id").set_index("frame_id")["label"]
    one, other = pairs["frame_id"].map(label), pairs["other_id"].map(label)
    differ = one.astype(object) != other.astype(object)
    return pairs.assign(labels_conflict=(one.notna() & other.notna() & differ).to_numpy())


def chosen_tables(everything: Everything) -> Tables:
    """The tables arms, rankings (current ones), subsets (all there ever were) and subset_frames."""
    rankings = [
        _ranking_rows(value.store, task, arm, receipt)
        for (task, arm), value in everything.rankings.items()
        for receipt in value.receipts.values()
    ]
    rows: list[dict[str, object]] = []
    members: dict[str, pd.DataFrame] = {}
    for (task, arm), value in everything.subsets.items():
        coverage = _coverage(everything, task, arm)
        current = {receipt.name for receipt in value.receipts.values()}
        for receipt in everything.history.of(f"{task}/{arm}/subset"):
            key = str(receipt.metrics["subset_id"])
            if key not in members:
                try:
                    table = value.store.table(receipt, "subset")[["frame_id"]]
                except DamagedStore:
                    continue  # an old one that was pruned or damaged stops no publish; lineage names it
                members[key] = table.assign(subset_id=key, position=np.arange(len(table)))
            rows.append(_subset_row(task, arm, receipt, receipt.name in current, coverage))
    subsets = pd.DataFrame(rows)
    if len(subsets):  # the same subset made by two versions of a cell is one row, current if either is
        columns = ["subset_id", "task", "arm", "budget", "seed"]
        subsets = subsets.sort_values("current", kind="stable").drop_duplicates(columns, keep="last")
    arms = pd.DataFrame([_arm_row(task, arm, everything.profile) for task, arm in everything.rankings])
    return {
        "arms": arms,
        "rankings": concat(rankings),
        "subsets": subsets,
        "subset_frames": concat(list(members.values())),
    }


def _arm_row(task: str, arm: str, profile: Profile) -> dict[str, object]:
    settings = ArmSettings(rule="random") if arm == ALL else profile.tasks[task].arms[arm]
    rule = rule_named(settings.rule)
    return {
        "task": task,
        "arm": arm,
        "rule": settings.rule,
        "embedding": profile.embedding_of(settings)
        if rule.compares_frames and settings.similarity == "cosine"
        else None,
        "similarity": settings.similarity if rule.compares_frames else None,
        "quota_per_patient": settings.quota_per_patient,
        "sees_labels": rule.sees_labels,
    }


def _ranking_rows(store: Store, task: str, arm: str, receipt: Receipt) -> pd.DataFrame:
    table = store.table(receipt, "ranking")[["frame_id", "similarity_to_chosen"]]
    return table.assign(task=task, arm=arm, seed=int(receipt.partition), position=np.arange(len(table)), current=True)


def _coverage(everything: Everything, task: str, arm: str) -> dict[str, pd.DataFrame]:
    """Name of a ranking's receipt -> its coverage by budget; those that are no longer there are left out."""
    tables = {}
    for receipt in everything.history.of(f"{task}/{arm}/ranking"):
        try:
            tables[receipt.name] = everything.history.store.table(receipt, "coverage").set_index("budget")
        except DamagedStore:
            continue
    return tables


def _subset_row(
    task: str, arm: str, receipt: Receipt, current: bool, coverage: dict[str, pd.DataFrame]
) -> dict[str, object]:
    metrics, seed = receipt.metrics, int(receipt.partition.rpartition("|")[2])
    row: dict[str, object] = {
        "subset_id": metrics["subset_id"],
        "task": task,
        "arm": arm,
        "budget": metrics["budget"],
        "seed": seed,
        "n_frames": metrics["frames"],
        "n_patients": metrics["patients"],
        "n_clips": metrics["clips"],
        "current": current,
    }
    for _, name in receipt.read.values():
        left_out = coverage.get(name)
        if left_out is not None and metrics["budget"] in left_out.index:
            row |= left_out.loc[metrics["budget"]].to_dict()
    return row
