"""What follows from the evaluations: the comparison of arms, whether it could tell, and which frames to label next."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from enrich_assets.archive.curation import Evaluations, Vectors, current_evaluations
from enrich_assets.archive.frames import Frames, Split
from enrich_assets.archive.labelling.worklist import advice, next_frames
from enrich_assets.archive.labels import Labels
from enrich_assets.archive.sides.sites import with_site
from enrich_assets.archive.values import Value
from enrich_assets.core.reads import Read, every, part, same
from enrich_assets.core.step import CellContext, CheckOutcome, Markdown, Picture, StepOutput, check, step
from enrich_assets.core.where import Where
from enrich_assets.defs.automation import conclusion, summary
from enrich_assets.method.kinds import kind_of
from enrich_assets.settings import ALL
from enrich_assets.store.identity import subset_id
from enrich_assets.store.receipts import MissingArtefact

if TYPE_CHECKING:
    from enrich_assets.method.statistics.adequacy import Facts

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


def comparison_reads(where: Where) -> dict[str, Read]:
    """Whether class and site go together counts where the profile names sites."""
    sites = {"sites": same("sites", optional=True)} if where.profile.sites else {}
    return {
        **EVALUATION_READS,
        "test_set": same("{task}/test_set"),  # whose frames they are: arms are compared patient by patient
        "full_models": every(f"{{task}}/{ALL}/model", optional=True),  # whether they are converged
        **sites,
    }


@step(
    "{task}/comparison",
    reads=comparison_reads,
    settings=lambda where: {
        "alpha": where.task_settings.alpha,
        "margin": where.task_settings.equivalence_margin,
        "label_seconds": where.task_settings.label_seconds,
    },
    version=2,
    kinds=("scipy",),
    automation=conclusion(),
)
def comparison(
    cell: CellContext,
    subsets: Arms,
    evaluations: Evaluations,
    test_set: Value,
    full_models: Value,
    sites: Value | None = None,
) -> StepOutput:
    """Enrich against random, each against the full set, over patients and seeds; what suffices, if that can be told. Figure 2."""
    from enrich_assets.method.statistics.adequacy import adequacy, reasons, withhold
    from enrich_assets.method.statistics.comparison import compare
    from enrich_assets.method.statistics.sufficient import smallest_sufficient_budget
    from enrich_assets.report.figures import curves_png
    from enrich_assets.report.numbers import results_table

    table, settings = evaluations.table(), cell.settings
    if table.empty:
        raise MissingArtefact(f"{cell.where.task}: nothing has been evaluated yet")
    tested = evaluations.by_patient(test_set.table("test_set").set_index("frame_id")["patient_id"])
    limits = {"alpha": settings["alpha"], "margin": settings["margin"]}
    facts = replace(
        _facts(test_set, full_models, settings["label_seconds"]),
        site_association=_site_association(sites, cell.where.task),
    )
    answers = adequacy(table, tested, facts, **limits)
    withheld = reasons(answers)
    compared = withhold(compare(table, tested, **limits), withheld)
    sufficient = smallest_sufficient_budget(
        table, compared, tested, seconds_per_label=settings["label_seconds"], withheld=withheld
    )
    named = table.assign(task=cell.where.task, metric=kind_of(cell.where.task_settings.kind).metric)
    png = curves_png(named, compared.assign(task=cell.where.task))
    return StepOutput(
        tables={"comparison": compared, "sufficient": sufficient, "adequacy": answers},
        notes={"curves.png": png},
        metrics={"evaluations": len(table), "n_test": int(table["n_test"].iloc[0])},
        metadata={
            "can_it_tell": answers[["asks", "answer", "remedy"]],
            "figure_2": Picture(png, "figure 2"),
            "by_budget": results_table(named).round(4),
            "sufficient": sufficient[["arm", "budget", "note"]],
        },
    )


def _facts(test_set: Value, full_models: Value, seconds_per_label: float) -> "Facts":
    """What the adequacy of an experiment hangs on beside its scores."""
    from enrich_assets.method.statistics.adequacy import Facts

    frames = test_set.table("test_set")
    classes = frames["label"].dropna()
    by_class = frames.loc[classes.index].groupby("label")["patient_id"].nunique().sort_index()
    n_patients = int(frames["patient_id"].nunique())
    models = [receipt.metrics for receipt in full_models.receipts.values()]
    return Facts(
        test_patients={str(name): int(n) for name, n in by_class.items()} or {"patients": n_patients},
        n_test_patients=n_patients,
        n_test_frames=len(frames),
        loss_fall_share=[metrics.get("loss_fall_share") for metrics in models],
        seconds_per_label=seconds_per_label,
    )


def _site_association(sites: Value | None, task: str) -> float | None:
    """The greatest Cramer's V of class and site beyond chance; None where no site is named or nothing is labelled."""
    if sites is None or not sites.is_there:
        return None
    table = sites.table("site_association")
    found = table.loc[table["task"] == task]
    if found.empty:
        return None
    confounded = found[found["confounded"].astype(bool)]
    return float(confounded["cramers_v"].max()) if len(confounded) else 0.0


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
    faults, n_earlier = [], 0
    for (arm, partition), evaluation in evaluations.receipts.items():
        chosen = test_set.store.table(subsets[arm].receipts[partition], "subset")
        scored = set(test_set.store.table(evaluation, "predictions")["frame_id"])
        both = patients & set(chosen["patient_id"])
        # One made before the last studies came is of fewer test frames until it is made again.
        of_then = evaluation.origin(test_set.receipt.cell)
        of_this_test_set = of_then is not None and of_then.digest == test_set.receipt.digest
        wrong = {
            f"{len(both)} patients on both sides": bool(both),
            "the subset is not the one that the score names": (
                subset_id(chosen["frame_id"], chosen["pixel_digest"]) != evaluation.metrics["subset_id"]
            ),
            f"{len(chosen)} frames, the score says {evaluation.metrics['n_train']}": (
                len(chosen) != evaluation.metrics["n_train"]
            ),
            f"{len(scored & frames)} of {len(frames)} test frames scored": of_this_test_set and scored != frames,
        }
        n_earlier += not of_this_test_set
        faults += [f"{evaluation.cell}: {what}" for what, is_so in wrong.items() if is_so]
    return CheckOutcome(
        not faults,
        f"{len(evaluations.receipts)} scores on {len(frames)} test frames"
        + (f" ({n_earlier} on those of before)" if n_earlier else "")
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
        **({} if task.quota_per_site is None else {"per_site": [task.quota_per_site, where.profile.sites[0]]}),
    }


WORKLIST_READS = {
    "frames": every("frames"),
    "split": every("split"),
    "vectors": every("embeddings/{embedding}"),
    "labels": every("labels"),
    # A worklist is drawn up before anything is trained: it does not wait for a grid.
    **{name: replace(read, follows=False) for name, read in EVALUATION_READS.items()},
    "concluded": same("{task}/comparison", optional=True, follows=False),
}


def worklist_reads(where: Where) -> dict[str, Read]:
    """The sites of the studies count only where a quota asks for them."""
    sites = {"studies": every("studies")} if where.task_settings.quota_per_site is not None else {}
    return {**WORKLIST_READS, **sites}


@step(
    "{task}/worklist",
    reads=worklist_reads,
    settings=_worklist_settings,
    version=3,
    kinds=("numba", "parquet"),
    automation=summary(),
)
def worklist(
    cell: CellContext,
    frames: Frames,
    split: Split,
    vectors: Vectors,
    labels: Labels,
    concluded: Value,
    studies: Value | None = None,
    **evaluated: Any,
) -> StepOutput:
    """Which unlabelled frames to label next, given every label there is."""
    name, task, n = cell.where.task, cell.where.task_settings, cell.settings["frames"]
    table = frames.with_sides(split)
    if studies is not None:
        table = with_site(table, studies.table("rows"), cell.where.profile)
    next_train = next_frames(name, task, n, table, labels, vectors)
    n_test = cell.settings["test_frames"]
    next_test = next_frames(name, task, n_test, table, labels, vectors, side="test") if n_test else next_train.head(0)
    sentence = advice(name, task, n, table, labels, evaluated["evaluations"].table(), concluded)
    shown = next_train.head(10).drop(columns="path").round(4)
    return StepOutput(
        tables={"worklist": next_train, "test_worklist": next_test},
        metrics={"frames": len(next_train), "advice": sentence},
        metadata={"advice": Markdown(sentence), "next": pd.DataFrame(shown)},
    )
