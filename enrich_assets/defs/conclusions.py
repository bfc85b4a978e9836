"""What follows from the evaluations: the comparison of arms, and which frames to label next."""

import dagster as dg
import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.defs.arrival import markdown
from enrich_assets.defs.automation import publication, summary
from enrich_assets.defs.curation import arms
from enrich_assets.defs.embedding import picture
from enrich_assets.defs.partitions import budget_and_seed, every_partition, for_lineage_only
from enrich_assets.defs.steps import Made, Step, Work, dep, digests, per_batch
from enrich_assets.defs.training import current_evaluations
from enrich_assets.settings import Profile, TaskSettings
from enrich_assets.store.receipts import MissingArtefact


def steps(profile: Profile) -> list[Step]:
    return [step for name, task in profile.tasks.items() for step in _task_steps(profile, name, task)]


def _task_steps(profile: Profile, name: str, task: TaskSettings) -> list[Step]:
    return [
        Step(
            key=f"{name}/comparison",
            partitions=None,
            inputs=lambda archive, _: _comparison_inputs(archive, name),
            make=lambda work: _comparison(work, name),
            settings=[task.alpha, task.equivalence_margin, task.label_seconds],
            group=name,
            kinds=("scipy",),
            description="Enrich against random, each against the full set: exact tests, equivalence, smallest sufficient budget. Figure 2.",
            deps=tuple(dep(f"{name}/{arm}/evaluation", every_partition) for arm in arms(task)),
            automation=publication(),
        ),
        Step(
            key=f"{name}/worklist",
            partitions=None,
            inputs=lambda archive, _: _worklist_inputs(archive, name),
            make=lambda work: _worklist(work, name),
            version=2,
            settings=[
                task.worklist,
                task.quota_per_patient,
                task.quota_per_clip,
                task.class_aware,
                profile.curate_test_set,
            ],
            group=name,
            kinds=("numba", "parquet"),
            description="Which unlabelled frames to label next, given every label there is.",
            deps=(
                dep("embeddings", every_partition),
                dep("split", every_partition),
                dep("labelled", every_partition),
                dep("labels", every_partition),
                *(dep(f"{name}/{arm}/evaluation", for_lineage_only) for arm in arms(task)),
            ),
            automation=summary(),
        ),
    ]


# -------------------------------------------------------------------------------------------------------- comparison


def evaluations(archive: Archive, name: str) -> pd.DataFrame:
    """Current evaluations of a task: arm, budget (frames), budget_key, seed, value, evaluation_id and what the receipt tells.

    Of two budget keys that come to the same number of frames (`60` and `25%`), the first holds.
    """
    rows = []
    for arm in arms(archive.profile.tasks[name]):
        for key, receipt in current_evaluations(archive, name, arm).items():
            budget_key, seed = budget_and_seed(key)
            rows.append(
                {
                    **receipt.figures,
                    "arm": arm,
                    "budget": receipt.figures["n_train"],
                    "budget_key": budget_key,
                    "seed": seed,
                }
            )
    columns = ["arm", "budget", "budget_key", "seed", "value", "evaluation_id"]
    found = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    return found.drop_duplicates(["arm", "budget", "seed"], ignore_index=True)


def _evaluation_cells(archive: Archive, name: str) -> list[tuple[str, str]]:
    held = {arm: current_evaluations(archive, name, arm) for arm in arms(archive.profile.tasks[name])}
    return [(f"{name}/{arm}/evaluation", key) for arm, found in held.items() for key in found]


def _comparison_inputs(archive: Archive, name: str) -> dict[str, str]:
    cells = _evaluation_cells(archive, name)
    if not cells:
        raise MissingArtefact(f"{name}: nothing has been evaluated yet")
    return digests(archive, *cells)


def _worklist_inputs(archive: Archive, name: str) -> dict[str, str]:
    """The labels, for the list itself; the evaluations, where there are any, for the advice beside it."""
    labels = per_batch(archive, "embeddings", "split", "labelled", "labels")
    return {**labels, **digests(archive, *_evaluation_cells(archive, name))}


def _comparison(work: Work, name: str) -> Made:
    from enrich_assets.method.statistics.comparison import compare, smallest_sufficient_budget
    from enrich_assets.report.figures import curves_png
    from enrich_assets.report.numbers import results_table

    task = work.archive.profile.tasks[name]
    found = evaluations(work.archive, name)
    compared = compare(found, alpha=task.alpha, margin=task.equivalence_margin)
    sufficient = smallest_sufficient_budget(
        found, alpha=task.alpha, margin=task.equivalence_margin, seconds_per_label=task.label_seconds
    )
    work.draft.table("comparison", compared)
    work.draft.table("sufficient", sufficient)
    png = curves_png(found.assign(task=name, metric=task.metric), compared.assign(task=name))
    work.draft.write("curves.png", png, note=True)
    means = results_table(found.assign(task=name, metric=task.metric)).round(4)
    figures = {"evaluations": len(found), "n_test": int(found["n_test"].iloc[0])}
    metadata = {
        "figure_2": picture(png, "figure 2"),
        "by_budget": markdown(means),
        "sufficient": markdown(sufficient[["arm", "budget", "note"]]),
    }
    return Made(figures, metadata)


# ---------------------------------------------------------------------------------------------------------- worklist


def _worklist(work: Work, name: str) -> Made:
    archive, task = work.archive, work.archive.profile.tasks[name]
    table = next_frames(archive, name, task.worklist)
    work.draft.table("worklist", table)
    test = archive.profile.curate_test_set
    work.draft.table("test_worklist", next_frames(archive, name, test, side="test") if test else table.head(0))
    said = advice(archive, name, task.worklist)
    figures = {"frames": len(table), "advice": said}
    return Made(
        figures, {"advice": dg.MetadataValue.md(said), "next": markdown(table.head(10).drop(columns="path").round(4))}
    )


def advice(archive: Archive, name: str, next_n: int) -> str:
    """What the next labels are expected to add, by the curve so far; in words.

    Counted from the labels there are; where nothing is left to label, from the greatest budget tried.
    """
    from enrich_assets.method.statistics.learning_curve import advise

    task = archive.profile.tasks[name]
    found = evaluations(archive, name)
    found = found[found["arm"] == next(iter(task.arms))]
    if found.empty:
        return "No advice yet: nothing has been evaluated (`enrich run`)."
    frames = archive.frame_table()
    train = frames.loc[frames["split"] == "train", "frame_id"]
    labelled = int(train.isin(set(archive.labels(name)["frame_id"])).sum())
    return advise(
        found["budget"],
        found["value"],
        next_n,
        seeds=found["seed"],
        margin=task.equivalence_margin,
        labelled=labelled if labelled < len(train) else None,
        metric="AUC" if task.metric == "auc" else "Jaccard",
    ).text


WORKLIST_COLUMNS = [
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


def next_frames(archive: Archive, name: str, n: int, *, side: str = "train") -> pd.DataFrame:
    """The unlabelled frames of one side that the max rule takes next, all labels so far counting as chosen.

    A frame that a labeller answered with one of the task's `ignore` values ("unsure") is not asked for again.
    """
    from enrich_assets.method.embeddings.fixed_point import SCALE
    from enrich_assets.method.ranking.worklist import greatest_similarity, rank_with_quotas

    task = archive.profile.tasks[name]
    frames = archive.frame_table()
    ignored = frames["frame_id"].isin(archive.ignored(name))
    frames = frames[(frames["split"] == side) & ~ignored].reset_index(drop=True)
    labels = archive.labels(name)
    labelled = frames["frame_id"].isin(set(labels["frame_id"])).to_numpy()
    vectors = archive.vectors(frames)
    weights = None
    if task.class_aware and task.kind == "classification" and labelled.any():
        weights = (
            frames[["frame_id"]].merge(labels[["frame_id", "label"]], on="frame_id", how="left")["label"].to_numpy()
        )
    chosen = rank_with_quotas(
        vectors,
        labelled=np.flatnonzero(labelled),
        n=n,
        patients=pd.factorize(frames["patient_id"])[0],
        clips=pd.factorize(frames["clip_id"])[0],
        per_patient=task.quota_per_patient,
        per_clip=task.quota_per_clip,
        classes=weights,
    )
    table = frames.loc[chosen].reset_index(drop=True)
    nearest, similarity = greatest_similarity(vectors[chosen], vectors[labelled])
    ids = frames.loc[labelled, "frame_id"].to_numpy()
    table["similarity_to_labelled"] = similarity / SCALE**2 if labelled.any() else np.nan
    table["nearest_labelled_id"] = ids[nearest] if labelled.any() else None
    table["position"] = np.arange(len(table))
    return table[WORKLIST_COLUMNS]
