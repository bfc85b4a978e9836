"""What follows from the evaluations: the comparison of arms, and which frames to label next."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from enrich_assets.archive.curation import Evaluations, Vectors, current_evaluations
from enrich_assets.archive.frames import Frames, Split
from enrich_assets.archive.labelling.worklist import advice, next_frames
from enrich_assets.archive.labels import Labels
from enrich_assets.archive.values import Value
from enrich_assets.core.reads import every, part
from enrich_assets.core.step import CellContext, CheckOutcome, Markdown, Picture, StepOutput, check, step
from enrich_assets.core.where import Where
from enrich_assets.defs.automation import publication, summary
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.identity import subset_id
from enrich_assets.store.receipts import MissingArtefact

Arms = Mapping[str, Value]
NAMED_FAULTS = 5  # of a check, in words


def evaluations_of_today(where: Where, evaluations: Arms, subsets: Arms) -> Evaluations:
    """Those whose subset is still the one the ranking gives."""
    return current_evaluations(evaluations, subsets)


EVALUATION_READS = {
    "subsets": every("{task}/{arm}/subset", optional=True, counts=False, each=("arm",)),
    "evaluations": part(
        every("{task}/{arm}/evaluation", optional=True, each=("arm",)), evaluations_of_today, of=("subsets",)
    ),
}


@step(
    "{task}/comparison",
    reads=EVALUATION_READS,
    settings=lambda where: {
        "alpha": where.task_settings.alpha,
        "margin": where.task_settings.equivalence_margin,
        "label_seconds": where.task_settings.label_seconds,
    },
    kinds=("scipy",),
    automation=publication(),
)
def comparison(cell: CellContext, subsets: Arms, evaluations: Evaluations) -> StepOutput:
    """Enrich against random, each against the full set: exact tests, equivalence, smallest sufficient budget. Figure 2."""
    from enrich_assets.method.statistics.comparison import compare, smallest_sufficient_budget
    from enrich_assets.report.figures import curves_png
    from enrich_assets.report.numbers import results_table

    table, settings = evaluations.table(), cell.settings
    if table.empty:
        raise MissingArtefact(f"{cell.where.task}: nothing has been evaluated yet")
    compared = compare(table, alpha=settings["alpha"], margin=settings["margin"])
    sufficient = smallest_sufficient_budget(
        table, alpha=settings["alpha"], margin=settings["margin"], seconds_per_label=settings["label_seconds"]
    )
    named = table.assign(task=cell.where.task, metric=kind_of(cell.where.task_settings.kind).metric)
    png = curves_png(named, compared.assign(task=cell.where.task))
    return StepOutput(
        tables={"comparison": compared, "sufficient": sufficient},
        notes={"curves.png": png},
        metrics={"evaluations": len(table), "n_test": int(table["n_test"].iloc[0])},
        metadata={
            "figure_2": Picture(png, "figure 2"),
            "by_budget": results_table(named).round(4),
            "sufficient": sufficient[["arm", "budget", "note"]],
        },
    )


@check(
    "{task}/comparison",
    reads={
        **EVALUATION_READS,
        "subsets": replace(EVALUATION_READS["subsets"], counts=True),
        "test_set": every("{task}/test_set"),
    },
    blocking=True,
)
def joined_to_subsets(cell: CellContext, subsets: Arms, evaluations: Evaluations, test_set: Value) -> CheckOutcome:
    """Each score belongs to a subset that exists, was made on every test frame, and no test patient was trained on.

    One check for all scores of a task: one for each costs more in Dagster's event log than the look itself.
    """
    tested = test_set.table("test_set")
    frames, patients = set(tested["frame_id"]), set(tested["patient_id"])
    faults = []
    for (arm, partition), evaluation in evaluations.receipts.items():
        chosen = test_set.store.table(subsets[arm].receipts[partition], "subset")
        scored = set(test_set.store.table(evaluation, "predictions")["frame_id"])
        both = patients & set(chosen["patient_id"])
        wrong = {
            f"{len(both)} patients on both sides": bool(both),
            "the subset is not the one that the score names": (
                subset_id(chosen["frame_id"], chosen["pixel_digest"]) != evaluation.metrics["subset_id"]
            ),
            f"{len(chosen)} frames, the score says {evaluation.metrics['n_train']}": (
                len(chosen) != evaluation.metrics["n_train"]
            ),
            f"{len(scored & frames)} of {len(frames)} test frames scored": scored != frames,
        }
        faults += [f"{evaluation.cell}: {what}" for what, is_so in wrong.items() if is_so]
    return CheckOutcome(
        not faults,
        f"{len(evaluations.receipts)} scores on {len(frames)} test frames"
        + (
            f"; {len(faults)} faults: {'; '.join(faults[:NAMED_FAULTS])}"
            if faults
            else ", each of the subset that it names"
        ),
    )


def _worklist_settings(where: Where) -> dict[str, Any]:
    task = where.task_settings
    return {
        "frames": task.worklist,
        "quota_per_patient": task.quota_per_patient,
        "quota_per_clip": task.quota_per_clip,
        "class_aware": task.class_aware,
        "test_frames": where.profile.curate_test_set,
    }


@step(
    "{task}/worklist",
    reads={
        "frames": every("frames"),
        "split": every("split"),
        "vectors": every("embeddings/{embedding}"),
        "labels": every("labels"),
        # A worklist is drawn up before anything is trained: it does not wait for a grid.
        **{name: replace(read, follows=False) for name, read in EVALUATION_READS.items()},
    },
    settings=_worklist_settings,
    version=2,
    kinds=("numba", "parquet"),
    automation=summary(),
)
def worklist(
    cell: CellContext,
    frames: Frames,
    split: Split,
    vectors: Vectors,
    labels: Labels,
    subsets: Arms,
    evaluations: Evaluations,
) -> StepOutput:
    """Which unlabelled frames to label next, given every label there is."""
    name, task, n = cell.where.task, cell.where.task_settings, cell.settings["frames"]
    table = frames.with_sides(split)
    next_train = next_frames(name, task, n, table, labels, vectors)
    n_test = cell.settings["test_frames"]
    next_test = next_frames(name, task, n_test, table, labels, vectors, side="test") if n_test else next_train.head(0)
    sentence = advice(name, task, n, table, labels, evaluations.table())
    shown = next_train.head(10).drop(columns="path").round(4)
    return StepOutput(
        tables={"worklist": next_train, "test_worklist": next_test},
        metrics={"frames": len(next_train), "advice": sentence},
        metadata={"advice": Markdown(sentence), "next": pd.DataFrame(shown)},
    )
