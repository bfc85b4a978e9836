"""The databases of Dagster and MLflow in a home: whether they can be read, and still know what was made."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import dagster as dg

from enrich_assets.archive.home import Archive
from enrich_assets.core.planner import Planner
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.mount import Mount
from enrich_assets.running.execution import fail_dead_runs
from enrich_assets.store.receipts import Receipt

DATA_VERSION = "dagster/data_version"
BESIDE = ("", "-wal", "-shm", "-journal")


def database_files(archive: Archive) -> list[Path]:
    """Files of SQLite that this home holds."""
    dagster = Path(os.environ.get("DAGSTER_HOME") or archive.home / "dagster")
    files = sorted(dagster.rglob("*.db")) if dagster.is_dir() else []
    return [*files, *(file for file in [mlflow_file(archive)] if file is not None and file.exists())]


def mlflow_file(archive: Archive) -> Path | None:
    """MLflow's database, where that is a file of this home."""
    return None if archive.profile.tracking.uri else archive.home / "mlflow.db"


def why_damaged(file: Path) -> str | None:
    """Why a database cannot be used; None if it can."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        ) as database:
            found = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        return None if "locked" in str(error) else str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == ("ok",) else str(found[0])


def put_aside(file: Path) -> Path:
    """Rename a damaged database and what belongs to it; nothing is removed. Returns its new name."""
    free = next(i for i in range(1, 1000) if not file.with_name(f"{file.name}.damaged-{i}").exists())
    for ending in BESIDE:
        part = file.with_name(file.name + ending)
        if part.exists():
            part.rename(file.with_name(f"{file.name}.damaged-{free}{ending}"))
    return file.with_name(f"{file.name}.damaged-{free}")


def unknown_to_dagster(planner: Planner, instance: dg.DagsterInstance, mount: Mount) -> list[Receipt]:
    """Receipts of cells that the profile asks for, and that Dagster has not heard of."""
    unknown = []
    for key in planner.graph.steps:
        held = planner.held(key)
        if not held:
            continue
        asset = mount.asset_key(key)
        if "" in held:
            known = {""} if instance.get_latest_materialization_event(asset) is not None else set()
        else:
            known = set(instance.get_materialized_partitions(asset))
        unknown += [receipt for partition, receipt in held.items() if partition not in known]
    return unknown


LOST = "reported by `enrich repair`: made before Dagster's history was lost"
CUT_OFF = "reported by the next `enrich run`: the one that made it was killed before it said so"


def tell_dagster(receipts: list[Receipt], instance: dg.DagsterInstance, mount: Mount, description: str = LOST) -> None:
    """Report what cells hold as materializations outside of runs, with their data versions."""
    for receipt in receipts:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                mount.asset_key(receipt.asset),
                description=description,
                partition=receipt.partition or None,
                metadata={"receipt": receipt.name, "made_at": receipt.created_at, "run": receipt.run_id},
                tags={DATA_VERSION: receipt.digest},
            )
        )


def end_dead_runs(
    archive: Archive,
    instance: dg.DagsterInstance,
    mount: Mount = Mount(),  # noqa: B008  (frozen)
) -> list[Receipt]:
    """End the runs of an `enrich run` that was killed, and tell Dagster of the cells that it had made, but not yet reported.

    Only for who holds the home's run lock. Returns the receipts of those cells.
    """
    return tell_what_was_cut_off(archive, instance, mount) if fail_dead_runs(instance, archive.mark) else []


def tell_what_was_cut_off(
    archive: Archive,
    instance: dg.DagsterInstance,
    mount: Mount = Mount(),  # noqa: B008  (frozen)
) -> list[Receipt]:
    """Tell Dagster of cells whose maker was gone before it reported them. Returns their receipts."""
    unknown = unknown_to_dagster(Planner(archive, graph_of(archive.profile)), instance, mount)
    tell_dagster(unknown, instance, mount, CUT_OFF)
    return unknown


def unknown_to_mlflow(archive: Archive, evaluations: list[Receipt]) -> list[Receipt]:
    """Evaluations whose run is not in MLflow's database; none where that lies elsewhere, or cannot be read."""
    file = mlflow_file(archive)
    if file is None or not evaluations:
        return []
    known = set(_mlflow_runs(file)) if file.exists() else set()
    return [receipt for receipt in evaluations if receipt.metrics.get("mlflow_run_id") not in known]


def _mlflow_runs(file: Path) -> list[str]:
    uri = f"{file.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30)) as database:
            return [run for (run,) in database.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'")]
    except sqlite3.DatabaseError:  # no table yet, or damaged: then it knows none
        return []
