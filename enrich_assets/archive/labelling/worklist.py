"""Which frames to label next, and what the next labels are expected to add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Vectors
from enrich_assets.archive.sides.sites import SITE
from enrich_assets.archive.values import Value
from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.method.kinds import kind_of
from enrich_assets.settings import TaskSettings
from enrich_assets.store.receipts import DamagedStore

if TYPE_CHECKING:
    from enrich_assets.method.statistics.learning_curve import Verdict

COLUMNS = [
    "position",
    "frame_id",
    "path",
    "similarity_to_labelled",
    "nearest_labelled_id",
    "patient_id",
    "clip_id",
    "batch",
    "part",
    "row",
]


class KnownLabels(Protocol):
    """What is known of the labels of a task: those of `Labels`, or with what was imported since (`so_far`)."""

    def of_task(self, task: str) -> pd.DataFrame:
        """A row per labelled frame: `frame_id` and `label`, at least."""
        ...

    def ignored(self, task: str) -> set[str]:
        """Frames that a labeller could not tell."""
        ...


def next_frames(
    name: str,
    task: TaskSettings,
    n: int,
    frames: pd.DataFrame,
    labels: KnownLabels,
    vectors: Vectors,
    *,
    side: str = "train",
) -> pd.DataFrame:
    """The unlabelled frames of one side that the k-center-greedy rule takes next, all labels so far counting as chosen.

    Parameters
    ----------
    name, task
        The task and its settings (quotas, whether classes are balanced).
    n
        How many, at most.
    frames
        The frame table with a column `split`; where the task has a quota per site, with a column `SITE`, too.
    labels
        Current labels. A frame answered with one of the task's `ignore` values ("unsure") is not asked for again.
    vectors
        Of all these frames.
    side
        train or test.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`, the first to label first; similarities are cosines.
    """
    from enrich_assets.method.ranking.worklist import greatest_similarity, rank_with_quotas

    ignored = frames["frame_id"].isin(labels.ignored(name))
    frames = frames[(frames["split"] == side) & ~ignored].reset_index(drop=True)
    label_table = labels.of_task(name)
    labelled = frames["frame_id"].isin(set(label_table["frame_id"])).to_numpy()
    of_frames = vectors.of(frames)
    classes = None
    if task.class_aware and kind_of(task.kind).answers == "class" and labelled.any():
        named = frames[["frame_id"]].merge(label_table[["frame_id", "label"]], on="frame_id", how="left")
        classes = named["label"].to_numpy()
    chosen = rank_with_quotas(
        of_frames,
        labelled=np.flatnonzero(labelled),
        n=n,
        quotas=[
            (pd.factorize(frames[column])[0], most)
            for column, most in (
                ("patient_id", task.quota_per_patient),
                ("clip_id", task.quota_per_clip),
                (SITE, task.quota_per_site),
            )
            if most is not None
        ],
        classes=classes,
    )
    table = frames.loc[chosen].reset_index(drop=True)
    nearest, similarity = greatest_similarity(of_frames[chosen], of_frames[labelled])
    ids = frames.loc[labelled, "frame_id"].to_numpy()
    table["similarity_to_labelled"] = similarity / SCALE**2 if labelled.any() else np.nan
    table["nearest_labelled_id"] = ids[nearest] if labelled.any() else None
    table["position"] = np.arange(len(table))
    return table[COLUMNS]


def advice(
    name: str,
    task: TaskSettings,
    next_n: int,
    frames: pd.DataFrame,
    labels: KnownLabels,
    evaluations: pd.DataFrame,
    concluded: Value,
) -> str:
    """What the next labels are expected to add, by the curve so far; a sentence or two.

    Parameters
    ----------
    name, task
        The task and its settings.
    next_n
        Labels to be added to those there are; where nothing is left to label, to the greatest budget tried.
    frames
        The frame table with a column `split`.
    labels
        Current labels.
    evaluations
        As of `Evaluations.table`; those of the first arm are used.
    concluded
        The comparison of the task's arms, where there is one: no advice goes beyond what it shows.
    """
    from enrich_assets.method.statistics.learning_curve import advise

    of_arm = evaluations[evaluations["arm"] == next(iter(task.arms))]
    if of_arm.empty:
        if labels.of_task(name).empty:
            return (
                "No advice yet: no frame is labelled. Label these and import them (`enrich labels import FILE`), then `enrich run`; "
                "test frames are needed, too (`enrich worklist --test-set`)."
            )
        return "No advice yet: nothing has been evaluated (`enrich run`)."
    train = frames.loc[frames["split"] == "train", "frame_id"]
    labelled = int(train.isin(set(labels.of_task(name)["frame_id"])).sum())
    return advise(
        of_arm["budget"],
        of_arm["value"],
        next_n,
        seeds=of_arm["seed"],
        margin=task.equivalence_margin,
        labelled=labelled if labelled < len(train) else None,
        metric=kind_of(task.kind).metric_label,
        verdict=_verdict(concluded, next(iter(task.arms))),
    ).text


def _verdict(concluded: Value, arm: str) -> Verdict:
    """What the comparison says of an arm; where there is none (or an earlier version's), that nothing is known."""
    from enrich_assets.method.statistics.adequacy import reasons
    from enrich_assets.method.statistics.learning_curve import Verdict

    if not concluded.is_there:
        return Verdict("the arms were not compared with everything yet (`enrich run`)")
    try:
        why, sufficient = reasons(concluded.table("adequacy")), concluded.table("sufficient").set_index("arm")["budget"]
    except DamagedStore:
        return Verdict("the comparison of the arms has to be made again (`enrich run`)")
    budget = sufficient.get(arm)
    return Verdict(why, None if budget is None or pd.isna(budget) else int(budget))
