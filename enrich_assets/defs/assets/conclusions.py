"""What follows from the evaluations: the comparison of arms, and which frames to label next."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from enrich_assets.archive.curation import Evaluations, Vectors, current_evaluations
from enrich_assets.archive.frames import Frames, Split
from enrich_assets.archive.labelling.worklist import advice, next_frames
from enrich_assets.archive.labels import Labels
from enrich_assets.archive.sides.sites import with_site
from enrich_assets.archive.values import Value
from enrich_assets.core.reads import Read, every, part
from enrich_assets.core.step import CellContext, Markdown, Picture, StepOutput, step
from enrich_assets.core.where import Where
from enrich_assets.defs.automation import publication, summary
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.receipts import MissingArtefact

Arms = Mapping[str, Value]


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


def _worklist_settings(where: Where) -> dict[str, Any]:
    task = where.task_settings
    return {
        "frames": task.worklist,
        "quota_per_patient": task.quota_per_patient,
        "quota_per_clip": task.quota_per_clip,
        "class_aware": task.class_aware,
        "test_frames": where.profile.curate_test_set,
        **({} if task.quota_per_site is None else {"per_site": [task.quota_per_site, where.profile.sites[0]]}),
    }


WORKLIST_READS = {
    "frames": every("frames"),
    "split": every("split"),
    "vectors": every("embeddings/{embedding}"),
    "labels": every("labels"),
    # A worklist is drawn up before anything is trained: it does not wait for a grid.
    **{name: replace(read, follows=False) for name, read in EVALUATION_READS.items()},
}


def worklist_reads(where: Where) -> dict[str, Read]:
    """The sites of the studies count only where a quota asks for them."""
    sites = {"studies": every("studies")} if where.task_settings.quota_per_site is not None else {}
    return {**WORKLIST_READS, **sites}


@step(
    "{task}/worklist",
    reads=worklist_reads,
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
    studies: Value | None = None,
) -> StepOutput:
    """Which unlabelled frames to label next, given every label there is."""
    name, task, n = cell.where.task, cell.where.task_settings, cell.settings["frames"]
    table = frames.with_sides(split)
    if studies is not None:
        table = with_site(table, studies.table("rows"), cell.where.profile)
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
