"""The published tables, put together from what the store holds. Their columns and meaning: `store/schema.py`."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.defs.curation import arms
from enrich_assets.defs.partitions import budget_and_seed, cell_keys
from enrich_assets.defs.training import current_evaluations
from enrich_assets.store.annotations import Annotations
from enrich_assets.store.frames import SIMILARITY, digest_column
from enrich_assets.store.lineage import Lineage
from enrich_assets.store.receipts import Cell, Receipt

Tables = dict[str, pd.DataFrame]


def all_tables(archive: Archive) -> Tables:
    """Every table of the published file; those of assets not made yet are empty."""
    tables: Tables = {}
    for part in (_arrived, _labels, _similar, _ranked, _evaluated, _concluded, _checked):
        tables |= part(archive)
    return tables


def _concat(tables: list[pd.DataFrame]) -> pd.DataFrame:
    kept = [table for table in tables if len(table)]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()


def _time(text: pd.Series | str) -> pd.Series | pd.Timestamp:
    return pd.to_datetime(text, utc=True, format="ISO8601")


# ------------------------------------------------------------------------------------------------------ what arrived


def _arrived(archive: Archive) -> Tables:
    receipts = archive.store.receipts
    batches = [batch for batch in archive.batches if receipts.current(Cell("split", batch)) is not None]
    frames = archive.frame_table(batches)
    clips, files = [], []
    for batch in batches:
        table = archive.frames.clips(batch)
        warnings = table.set_index("path")["warnings"].replace("", None)
        if len(table):
            boxes = table[f"box_{SIMILARITY}"]
            crop = [f"{top} {left} {side} {side}" for top, left, side in boxes]
            clips.append(table.assign(batch=batch, crop=crop))
        rows = archive.store.table(receipts.require(Cell("studies", batch)), "rows").drop_duplicates("path")
        refused = pd.concat([archive.arrivals.refused(batch), archive.frames.refused(batch)], ignore_index=True)
        counts = frames[frames["batch"] == batch].groupby("path").size()
        read = rows.assign(status="read", reason=None, n_frames=rows["path"].map(counts).fillna(0).astype(int))
        reasons = dict(refused[["path", "reason"]].itertuples(index=False))
        unread = read["path"].isin(reasons) & (read["n_frames"] == 0)
        read.loc[unread, "status"] = "refused"
        read["reason"] = read["path"].map(reasons)
        read["warning"] = read["path"].map(warnings.to_dict())
        never = pd.DataFrame(
            [
                {"path": p, "status": "refused", "reason": r, "n_frames": 0}
                for p, r in reasons.items()
                if p not in set(read["path"])
            ]
        )
        columns = ["path", "sha256", "batch", "status", "reason", "warning", "n_frames"]
        files.append(
            _concat(
                [read.assign(batch=batch).reindex(columns=columns), never.assign(batch=batch).reindex(columns=columns)]
            )
        )
    by_file = _concat(clips)
    shown: Tables = {"files": _concat(files)}
    if not len(frames) or not len(by_file):
        return shown
    frames = frames.assign(pixel_digest=frames[digest_column(SIMILARITY)])
    sides = frames.drop_duplicates("patient_id").set_index("patient_id")["split"]
    first = by_file.drop_duplicates("clip_id").set_index("clip_id")
    count = frames.groupby("clip_id").size()
    clip_table = first.assign(n_frames=count.reindex(first.index), split=first["patient_id"].map(sides)).reset_index()
    shown["clips"] = clip_table[
        [
            "clip_id",
            "study_id",
            "patient_id",
            "batch",
            "split",
            "path",
            "file_sha256",
            "n_frames",
            "height",
            "width",
            "crop",
        ]
    ]
    studies = frames.groupby("study_id", sort=False).agg(
        patient_id=("patient_id", "first"),
        batch=("batch", "first"),
        split=("split", "first"),
        n_clips=("clip_id", "nunique"),
        n_frames=("frame_id", "size"),
    )
    arrivals = {arrival.batch: arrival for arrival in archive.arrivals.all()}
    studies["received_at"] = _time(studies["batch"].map(lambda b: arrivals[b].received_at))
    studies["source"] = studies["batch"].map(lambda b: arrivals[b].source)
    studies["deidentification"] = by_file.groupby("study_id")["deidentification"].agg(
        lambda s: "; ".join(dict.fromkeys(x for x in s if x))
    )
    shown["studies"] = studies.reset_index()
    shown["frames"] = frames[
        ["frame_id", "clip_id", "study_id", "patient_id", "batch", "split", "frame_index", "pixel_digest", "path"]
    ]
    return shown


def _labels(archive: Archive) -> Tables:
    """Manifest labels that were replaced stay, marked not current, as do replaced imports."""
    tables = []
    later = Annotations(archive.store.folder).all()
    held = [batch for batch in archive.batches if archive.store.receipts.current(Cell("labels", batch)) is not None]
    for name in archive.profile.tasks:
        current = archive.labels(name, held).assign(task=name, current=True)
        if current.empty:
            continue
        replaced = later[(later["task"] == name)].merge(
            current[["frame_id", "source", "recorded_at"]].rename(columns={"source": "held", "recorded_at": "since"}),
            on="frame_id",
        )
        replaced = replaced[(replaced["held"] != replaced["source"]) | (replaced["since"] != replaced["recorded_at"])]
        tables += [
            current,
            replaced.assign(current=False, mask_path=None, mask_digest=None),
            _overwritten(archive, name, current),
        ]
    found, problems = _concat(tables), {"label_problems": _label_problems(archive, held)}
    if found.empty:
        return problems
    found["recorded_at"] = _time(found["recorded_at"])
    columns = ["frame_id", "task", "label", "mask_path", "mask_digest", "source", "author", "recorded_at", "current"]
    return {"labels": found[columns], **problems}


def _label_problems(archive: Archive, batches: list[str]) -> pd.DataFrame:
    return _concat(
        [
            archive.store.table(archive.store.receipts.require(Cell("labels", batch)), f"{name}_problems").assign(
                task=name, batch=batch
            )
            for name in archive.profile.tasks
            for batch in batches
        ]
    )


def _overwritten(archive: Archive, name: str, current: pd.DataFrame) -> pd.DataFrame:
    """Manifest labels of frames that an import has relabelled since."""
    from enrich_assets.defs.labelling import manifest_labels

    relabelled = set(current.loc[current["source"] != "manifest", "frame_id"])
    if not relabelled or archive.profile.tasks[name].kind != "classification":
        return pd.DataFrame()
    found = _concat([manifest_labels(archive, batch, name) for batch in archive.batches])
    found = found[found["frame_id"].isin(relabelled)] if len(found) else found
    return found.assign(task=name, current=False, mask_path=None, mask_digest=None) if len(found) else found


# ------------------------------------------------------------------------------------------------------ what is alike


def _similar(archive: Archive) -> Tables:
    from enrich_assets.store.panels import panel_redundancy

    redundancy, neighbours, near = [], [], []
    for name, task in archive.profile.tasks.items():
        receipt = archive.store.receipts.current(Cell(f"{name}/redundancy"))
        if receipt is None:
            continue
        redundancy.append(archive.store.table(receipt, "redundancy").assign(task=name, batch=""))
        redundancy += [
            panel_redundancy(archive.store, r).assign(task=name, batch=b)
            for b, r in archive.store.receipts.of(f"{name}/similarity").items()
        ]
        neighbours.append(archive.store.table(receipt, "neighbours").assign(task=name))
        pairs = archive.store.table(receipt, "near_duplicates").assign(task=name)
        if len(pairs) and task.kind == "classification":
            label = archive.labels(name).drop_duplicates("frame_id").set_index("frame_id")["label"]
            one, other = pairs["frame_id"].map(label), pairs["other_id"].map(label)
            pairs["labels_conflict"] = (
                one.notna() & other.notna() & (one.astype(object) != other.astype(object))
            ).to_numpy()
        near.append(pairs)
    return {"redundancy": _concat(redundancy), "neighbours": _concat(neighbours), "near_duplicates": _concat(near)}


# --------------------------------------------------------------------------------------------------- what was chosen


def _each_arm(
    archive: Archive, what: str, read: Callable[[str, str, Receipt, bool], pd.DataFrame | None]
) -> pd.DataFrame:
    """Every version, current or not, of an asset of every task and arm, the latest of equal content only."""
    found = []
    for name, task in archive.profile.tasks.items():
        for arm in arms(task):
            asset = f"{name}/{arm}/{what}"
            asked = set(cell_keys(task, arm) if what == "subset" else map(str, task.seed_list))
            held = archive.store.receipts.of(asset).values()
            current = {r.partition: r.digest for r in held if r.partition in asked}
            for receipt in archive.store.receipts.history(asset):
                table = read(name, arm, receipt, current.get(receipt.partition) == receipt.digest)
                if table is not None:
                    found.append(table)
    return _concat(found)


def _ranked(archive: Archive) -> Tables:
    coverage: dict[tuple[str, str, str, str], pd.DataFrame] = {}

    def ranking(name: str, arm: str, receipt: Receipt, current: bool) -> pd.DataFrame | None:
        coverage[name, arm, receipt.partition, receipt.digest] = archive.store.table(receipt, "coverage").set_index(
            "budget"
        )
        if not current:  # the subsets of earlier rankings stay listed; their tails would only weigh
            return None
        table = archive.store.table(receipt, "ranking")[["frame_id", "similarity_to_chosen"]]
        return table.assign(
            task=name, arm=arm, seed=int(receipt.partition), position=np.arange(len(table)), current=True
        )

    members: dict[str, pd.DataFrame] = {}

    def subset(name: str, arm: str, receipt: Receipt, current: bool) -> pd.DataFrame:
        figures, seed = receipt.figures, budget_and_seed(receipt.partition)[1]
        key = figures["subset_id"]
        if key not in members:
            table = archive.store.table(receipt, "subset")[["frame_id"]]
            members[key] = table.assign(subset_id=key, position=np.arange(len(table)))
        row = {
            "subset_id": key,
            "task": name,
            "arm": arm,
            "budget": figures["budget"],
            "seed": seed,
            "n_frames": figures["frames"],
        }
        row |= {"n_patients": figures["patients"], "n_clips": figures["clips"], "current": current}
        ranking_digest = receipt.inputs.get(str(Cell(f"{name}/{arm}/ranking", str(seed))), "")
        left = coverage.get((name, arm, str(seed), ranking_digest))
        if left is not None and figures["budget"] in left.index:
            row |= left.loc[figures["budget"]].to_dict()
        return pd.DataFrame([row])

    rankings = _each_arm(archive, "ranking", ranking)
    subsets = _each_arm(archive, "subset", subset)
    if len(subsets):  # the same subset made by two versions of a cell is one row, current if either is
        subsets = subsets.sort_values("current").drop_duplicates(
            ["subset_id", "task", "arm", "budget", "seed"], keep="last"
        )
    return {"rankings": rankings, "subsets": subsets, "subset_frames": _concat(list(members.values()))}


def _evaluated(archive: Archive) -> Tables:
    predictions: list[pd.DataFrame] = []
    curves: list[pd.DataFrame] = []
    links: list[dict[str, object]] = []
    lineage = Lineage(archive.store, archive.source_digest)
    rows: dict[str, dict[str, object]] = {}
    for name, task in archive.profile.tasks.items():
        for arm in arms(task):
            current = {r.figures["evaluation_id"] for r in current_evaluations(archive, name, arm).values()}
            for receipt in reversed(archive.store.receipts.history(f"{name}/{arm}/evaluation")):
                key = receipt.figures["evaluation_id"]
                if key in rows:  # made again since: that one counts
                    continue
                rows[key] = _evaluation_row(name, arm, receipt, key in current)
                predictions.append(archive.store.table(receipt, "predictions").assign(evaluation_id=key))
                for cell, digest, link in lineage.chain(receipt):
                    links.append(
                        {"evaluation_id": key, "asset": cell.asset, "partition": cell.partition, "digest": digest}
                    )
                    if link is not None:
                        links[-1] |= {"dagster_run_id": link.run_id, "created_at": link.created_at}
                    if cell.asset == f"{name}/{arm}/model" and link is not None:
                        curves.append(_curves(archive, link).assign(evaluation_id=key))
    provenance = pd.DataFrame(links)
    if len(provenance):
        provenance["created_at"] = _time(provenance["created_at"])
        provenance = provenance.drop_duplicates(["evaluation_id", "asset", "partition"])
    return {
        "evaluations": pd.DataFrame(list(rows.values())),
        "predictions": _concat(predictions),
        "training_curves": _concat(curves),
        "provenance": provenance,
    }


def _evaluation_row(name: str, arm: str, receipt: Receipt, current: bool) -> dict[str, object]:
    figures, seed = receipt.figures, budget_and_seed(receipt.partition)[1]
    copied = (
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
    return {
        **{key: figures[key] for key in copied},
        "task": name,
        "arm": arm,
        "budget": figures["n_train"],
        "seed": seed,
        "seconds": figures["train_seconds"] + figures["seconds"],
        "mlflow_run_id": figures["mlflow_run_id"],
        "mlflow_model_id": figures["mlflow_model_id"],
        "dagster_run_id": receipt.run_id,
        "evaluated_at": _time(receipt.created_at),
        "current": current,
    }


def _curves(archive: Archive, model: Receipt) -> pd.DataFrame:
    history = archive.store.table(model, "history")
    history = history.assign(epoch=np.arange(len(history)))
    return history.melt("epoch", var_name="name", value_name="value")


# -------------------------------------------------------------------------------------------------- what follows


def _concluded(archive: Archive) -> Tables:
    found: dict[str, list[pd.DataFrame]] = {"comparisons": [], "sufficient": [], "worklist": []}
    for name in archive.profile.tasks:
        comparison = archive.store.receipts.current(Cell(f"{name}/comparison"))
        if comparison is not None:
            found["comparisons"].append(archive.store.table(comparison, "comparison").assign(task=name))
            found["sufficient"].append(archive.store.table(comparison, "sufficient").assign(task=name))
        worklist = archive.store.receipts.current(Cell(f"{name}/worklist"))
        if worklist is not None:
            columns = ["position", "frame_id", "path", "similarity_to_labelled", "nearest_labelled_id"]
            found["worklist"].append(archive.store.table(worklist, "worklist")[columns].assign(task=name))
    return {name: _concat(tables) for name, tables in found.items()}


def _checked(archive: Archive) -> Tables:
    names = ["split", "vae_weights", "embeddings"]
    for name, task in archive.profile.tasks.items():
        names += [f"{name}/similarity", f"{name}/redundancy"]
        names += [f"{name}/{arm}/{asset}" for arm in arms(task) for asset in ("subset", "evaluation")]
    rows = [
        {
            "asset": str(receipt.cell),
            "check_name": check["name"],
            "passed": check["passed"],
            "severity": check["severity"],
            "description": check["description"],
        }
        for asset in names
        for receipt in archive.store.receipts.of(asset).values()
        for check in receipt.figures.get("checks", [])
    ]
    return {"checks": pd.DataFrame(rows)}
