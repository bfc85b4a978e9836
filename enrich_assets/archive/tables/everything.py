"""All published tables at once."""

from __future__ import annotations

import pandas as pd

from enrich_assets.archive.tables.curated import chosen_tables, similarity_tables
from enrich_assets.archive.tables.evaluated import evaluation_tables
from enrich_assets.archive.tables.ingested import ingested_tables, label_tables
from enrich_assets.archive.tables.sites import site_tables
from enrich_assets.archive.tables.source import Everything, Tables, concat

WORKLIST_COLUMNS = ["position", "frame_id", "path", "similarity_to_labelled", "nearest_labelled_id"]


def all_tables(everything: Everything) -> Tables:
    """Every table of the published file; those of assets not made yet are empty."""
    tables: Tables = {}
    for part in (
        ingested_tables,
        site_tables,
        label_tables,
        similarity_tables,
        chosen_tables,
        evaluation_tables,
        _concluded,
        _checks,
    ):
        tables |= part(everything)
    return tables


def _concluded(everything: Everything) -> Tables:
    comparisons = {task: value for task, value in everything.comparisons.items() if value.is_there}
    worklists = {task: value for task, value in everything.worklists.items() if value.is_there}
    return {
        "comparisons": concat([v.table("comparison").assign(task=task) for task, v in comparisons.items()]),
        "sufficient": concat([v.table("sufficient").assign(task=task) for task, v in comparisons.items()]),
        "adequacy": concat([v.table("adequacy").assign(task=task) for task, v in comparisons.items()]),
        "worklist": concat([v.table("worklist")[WORKLIST_COLUMNS].assign(task=task) for task, v in worklists.items()]),
    }


def _checks(everything: Everything) -> Tables:
    """The last outcome of each check of each cell."""
    rows = []
    for cell, receipt in everything.checks.items():
        asset, _, name = cell.asset.partition("@")
        rows.append(
            {
                "asset": f"{asset}[{cell.partition}]" if cell.partition else asset,
                "check_name": name,
                "passed": receipt.metrics["passed"],
                "severity": "ERROR" if receipt.metrics["blocking"] else "WARN",
                "description": receipt.metrics["description"],
            }
        )
    return {"checks": pd.DataFrame(rows)}
