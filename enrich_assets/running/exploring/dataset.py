"""What a dataset browser shows of a task: frames, vectors, rank, subsets, near-duplicates, and what a model got wrong.

A folder per state: the dataset that `enrich export --format parquet` writes, and beside it `facts.parquet` (a row per frame),
`embeddings.npy`, masks that the model predicted, and `explore.json`. The browser's own process reads these, with none of our packages.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.home import Archive
from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.method.kinds import kind_of
from enrich_assets.parquet import to_parquet
from enrich_assets.running.exploring.model import Model, model_of, predicted_classes, predicted_masks
from enrich_assets.running.frames.chosen import Chosen, UnknownFrames, described
from enrich_assets.running.frames.taking_away import export
from enrich_assets.store.published import query
from enrich_assets.store.receipts import Cell
from enrich_assets.studies.frame_names import image_name

FOLDER = "explore"  # in a home
LABELS = "labels"  # the annotation source of today's labels; whatever a model answered is in another one


@dataclass(frozen=True)
class Explorable:
    """A dataset on disk, ready for a browser.

    Attributes
    ----------
    folder : Path
    task, title : str
    n_frames : int
    lines : tuple of str
        What is in it.
    """

    folder: Path
    task: str
    title: str
    n_frames: int
    lines: tuple[str, ...]


def write_explorable(archive: Archive, task: str, evaluation: str | None = None) -> Explorable:
    """Write what a browser shows of a task into `explore/` of the home; what is there already is left as it is.

    Parameters
    ----------
    archive, task
        Whose frames: those it may choose from, and those of test patients.
    evaluation
        Whose errors, by the first letters of its id; by default those of the model that learned from most labels in the first arm that
        ranks frames.

    Raises
    ------
    UnknownFrames
        If nothing was published yet, or no evaluation of the task goes by that id.
    MissingArtefact
        If the pool was not made yet.
    """
    if not archive.published.exists() and not archive.products.fetch(archive.published.name):
        raise UnknownFrames(
            f"{archive.published} is not there yet: `enrich run` (or `enrich run --no-training`) publishes it"
        )
    model = model_of(archive, task, evaluation)
    arm, seed = (model.arm, model.seed) if model is not None else _first_ranking(archive, task)
    chosen, facts = _frames(archive, task, arm, seed)
    facts = facts.merge(_near_duplicates(archive, task, facts["frame_id"]), on="frame_id", how="left")
    answers = kind_of(archive.profile.tasks[task].kind).answers
    if model is not None:
        facts = facts.merge(predicted_classes(archive, model, answers), on="frame_id", how="left")
    vectors = (Catalogue(archive).vectors().of(chosen.there) / np.float32(SCALE)).astype(np.float32)
    about = {
        "task": task,
        "home": str(
            archive.home
        ),  # the browser's database holds whole paths: a home that moved gets a folder of its own
        "answers": answers,
        "title": chosen.title,
        "classes": list(Catalogue(archive).classes(task)),
        "not_told": list(archive.profile.tasks[task].ignore),
        "embedding": archive.profile.default_embedding,
        "labels": LABELS,
        "model": model.name if model is not None else None,
        "tags": _tags(archive, task, chosen.there, facts, arm, seed),
    }
    digest = _digest(about, chosen.there, facts, vectors, _mask_digests(archive, task, answers))
    folder = archive.home / FOLDER / f"{task}-{digest[:12]}"
    if not folder.exists():
        archive.make_home()
        _write(archive, folder, chosen, facts, vectors, about, model if answers == "mask" else None)
    return Explorable(folder, task, chosen.title, len(facts), tuple(_lines(about, facts, arm, seed)))


def _first_ranking(archive: Archive, task: str) -> tuple[str | None, int]:
    found = query(
        str(archive.published),
        "SELECT arm, min(seed) AS seed FROM rankings WHERE task = ? AND current AND arm <> 'all' GROUP BY arm",
        [task],
    ).set_index("arm")["seed"]
    for arm in archive.profile.tasks[task].arms:
        if arm in found.index:
            return arm, int(found[arm])
    return None, 0


def _frames(archive: Archive, task: str, arm: str | None, seed: int) -> tuple[Chosen, pd.DataFrame]:
    """The pool in the order of the ranking (and of the worklist), then the test side; with rank, and the smallest subset that holds each."""
    catalogue, kind = Catalogue(archive), kind_of(archive.profile.tasks[task].kind)
    pool = catalogue.pool(task).frames[["frame_id"]]
    tested, to_label = _held(archive, task, "test_set"), _held(archive, task, "worklist")
    if not kind.needs_labels_to_pool:  # then frames without a label are looked at too
        sides = catalogue.frame_table()[["frame_id", "split"]]
        tested = pd.concat([tested, sides.loc[sides["split"] == "test", ["frame_id"]]], ignore_index=True)
    test = tested[["frame_id"]].drop_duplicates()
    ranking = query(
        str(archive.published),
        "SELECT frame_id, position + 1 AS rank, similarity_to_chosen FROM rankings WHERE task = ? AND arm = ? AND seed = ? AND current",
        [task, arm, seed],
    )
    subsets = query(
        str(archive.published),
        "SELECT frame_id, min(budget) AS subset FROM subset_frames JOIN subsets USING (subset_id) "
        "WHERE task = ? AND arm = ? AND seed = ? AND current GROUP BY frame_id",
        [task, arm, seed],
    )
    facts = pd.concat([pool, test], ignore_index=True).drop_duplicates("frame_id")
    facts = facts.merge(ranking, on="frame_id", how="left").merge(subsets, on="frame_id", how="left")
    facts = facts.merge(
        to_label.assign(worklist=range(1, len(to_label) + 1))[["frame_id", "worklist"]], on="frame_id", how="left"
    )
    facts = facts.sort_values(["rank", "worklist"], kind="stable", na_position="last", ignore_index=True)
    table = described(archive, task, facts[["frame_id"]].assign(position=range(len(facts)))[["position", "frame_id"]])
    by = f", ranked by {arm} (seed {seed})" if arm is not None else ""
    chosen = Chosen(
        f"{task}: {len(pool):,} frames to choose from{by}, {len(facts) - len(pool):,} of test patients", task, table
    )
    return chosen, facts[facts["frame_id"].isin(chosen.there["frame_id"])].reset_index(drop=True)


def _held(archive: Archive, task: str, name: str) -> pd.DataFrame:
    """A table of frames that the task holds now; of none where it was not made."""
    receipt = archive.store.receipts.current(Cell(f"{task}/{name}"))
    return (
        archive.store.table(receipt, name)
        if receipt is not None
        else pd.DataFrame({"frame_id": pd.Series(dtype="string")})
    )


def _near_duplicates(archive: Archive, task: str, frame_ids: pd.Series) -> pd.DataFrame:
    """frame_id, near_duplicates (number of the group, from 1), group_size: frames that hang together by pairs; only those in one."""
    pairs = query(
        str(archive.published),
        "SELECT DISTINCT frame_id, other_id FROM near_duplicates WHERE task = ? AND embedding = ?",
        [task, archive.profile.default_embedding],
    )
    index = pd.Index(frame_ids)
    one, other = index.get_indexer(pairs["frame_id"]), index.get_indexer(pairs["other_id"])
    known = (one >= 0) & (other >= 0)
    edges = coo_array((np.ones(int(known.sum()), bool), (one[known], other[known])), shape=(len(index), len(index)))
    group = connected_components(edges, directed=False)[1]
    size = np.bincount(group, minlength=1)[group]
    table = pd.DataFrame({"frame_id": frame_ids, "near_duplicates": group, "group_size": size})
    table = table[table["group_size"] > 1]
    return table.assign(
        near_duplicates=pd.factorize(table["near_duplicates"])[0] + 1
    )  # numbered in the order of the frames


def _tags(
    archive: Archive, task: str, rows: pd.DataFrame, facts: pd.DataFrame, arm: str | None, seed: int
) -> dict[str, list[str]]:
    """Tag -> frame ids. Subsets of one seed are nested: a frame of the smallest is in each."""
    tags: dict[str, pd.Series] = {f"side: {side}": group["frame_id"] for side, group in rows.groupby("split")}
    tags["without a label"] = rows.loc[rows["label"].isna(), "frame_id"]
    for budget in sorted(facts["subset"].dropna().unique()):
        tags[f"subset: {arm}, first {int(budget):,} (seed {seed})"] = facts.loc[facts["subset"] <= budget, "frame_id"]
    tags["near-duplicates"] = facts.loc[facts["near_duplicates"].notna(), "frame_id"]
    leaks = query(str(archive.published), "SELECT frame_id, other_id, across_split, labels_conflict FROM leaks")
    for name, flag in (
        ("alike on both sides of the split", "across_split"),
        ("alike, labels contradict", "labels_conflict"),
    ):
        these = leaks[leaks[flag].fillna(False).astype(bool)]
        named = set(these["frame_id"]) | set(these["other_id"])
        tags[name] = facts.loc[facts["frame_id"].isin(named), "frame_id"]
    judged = {"predicted", "jaccard"} & set(facts)
    if judged:
        tags["model: scored"] = facts.loc[facts[judged.pop()].notna(), "frame_id"]
    if "wrong" in facts:
        tags["model: wrong"] = facts.loc[facts["wrong"].fillna(False).astype(bool), "frame_id"]
    return {name: sorted(map(str, frames)) for name, frames in tags.items() if len(frames)}


def _mask_digests(archive: Archive, task: str, answers: str) -> pd.DataFrame:
    labels = Catalogue(archive).labels().of_task(task)
    return labels[["frame_id", "mask_digest"]] if answers == "mask" and len(labels) else labels.head(0)


def _digest(
    about: dict[str, Any], rows: pd.DataFrame, facts: pd.DataFrame, vectors: np.ndarray, masks: pd.DataFrame
) -> str:
    parts = [json.dumps(about, sort_keys=True), facts.to_csv(index=False), masks.to_csv(index=False)]
    parts.append(rows[["position", "frame_id", "split", "label", "pixel_digest"]].to_csv(index=False))
    whole = hashlib.sha256(vectors.tobytes())
    for part in parts:
        whole.update(part.encode())
    return whole.hexdigest()


def _write(
    archive: Archive,
    folder: Path,
    chosen: Chosen,
    facts: pd.DataFrame,
    vectors: np.ndarray,
    about: dict[str, Any],
    model: Model | None,
) -> None:
    """The folder, whole or not at all; readable by its owner alone, as the pictures are of patients."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    building = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    building.mkdir(mode=0o700)
    try:
        export(archive, chosen, "parquet", building / "dataset")
        (building / "facts.parquet").write_bytes(to_parquet(facts))
        np.save(building / "embeddings.npy", vectors)
        if model is not None:
            _write_masks(archive, building / "predicted", chosen, model)
        (building / "explore.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write_masks(archive: Archive, folder: Path, chosen: Chosen, model: Model) -> None:
    rows = chosen.there
    rows = rows[rows["frame_id"].isin(model.frame_ids)].reset_index(drop=True)
    folder.mkdir()
    masks = predicted_masks(archive, model, rows)
    for frame_id, position, mask in zip(
        rows["frame_id"], rows["position"], masks, strict=False
    ):  # none of an earlier state
        Image.fromarray(mask).save(folder / image_name(str(frame_id), int(position)))


def _lines(about: dict[str, Any], facts: pd.DataFrame, arm: str | None, seed: int) -> list[str]:
    groups = facts["near_duplicates"].dropna()
    lines = [f"{groups.nunique():,} groups of near-duplicates, {len(groups):,} frames in them"]
    if about["model"] is None:
        return [*lines, "no model was scored yet: labels are shown without predictions"]
    judged = facts["jaccard"].notna() if "jaccard" in facts else facts["predicted"].notna()
    if "wrong" in facts:
        return [
            *lines,
            f"{about['model']}: wrong on {int(facts['wrong'].fillna(False).sum()):,} of {int(judged.sum()):,} test frames",
        ]
    return [
        *lines,
        f"{about['model']}: outlines beside the labels of {int(judged.sum()):,} test frames, worst by `jaccard`",
    ]
