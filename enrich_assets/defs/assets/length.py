"""How long the models of a task are trained: found once on the whole labelled pool, before any arm is looked at.

Only where the profile leaves it open (`training: {search: {...}}`); epochs or steps named in a profile are the length themselves.
"""

from __future__ import annotations

import pandas as pd

from enrich_assets.archive.frames import ViewOfFrames
from enrich_assets.archive.labels import LabelsOfFrames
from enrich_assets.archive.values import Plain, Value
from enrich_assets.core.reads import every, part, same
from enrich_assets.core.step import CellContext, CheckOutcome, StepOutput, check, step
from enrich_assets.core.where import Where
from enrich_assets.defs.assets.parts import class_names, frames_of_labels, labels_of_pool
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.receipts import MissingArtefact

OUTGROWN = 4  # times as many labelled frames as the length was found on


def searches_length(where: Where) -> bool:
    """Whether the profile leaves the length of the task's trainings to the data."""
    return where.task_settings.searches_length


@step(
    "{task}/training_length",
    reads={
        "pool": every("{task}/pool", counts=False),
        "labels": part(every("labels", counts=False), labels_of_pool, of=("pool",)),
        "frames": part(every("frames", counts=False), frames_of_labels, of=("labels",)),
        "classes": part(every("labels", counts=False), class_names, of_receipts=True),
    },
    settings=lambda where: {"kind": where.task_settings.kind, "training": where.task_settings.model_settings},
    only=searches_length,
    kinds=("pytorch",),
    pool="gpu",
)
def training_length(
    cell: CellContext, pool: Value, labels: LabelsOfFrames, frames: ViewOfFrames, classes: Plain
) -> StepOutput:
    """Steps of every model of the task, found on held-out train patients. Kept when studies arrive; renewed only on purpose."""
    from enrich_assets.method.networks.length import find_length

    task, names = cell.where.task_settings, tuple(classes.value)
    if labels.table.empty or len(names) < 2:
        raise MissingArtefact(
            f"{cell.cell}: {len(labels.table)} labelled frames of {len(names)} classes in the pool; a model needs two classes"
        )
    with cell.progress("finding the length of a training", "steps") as advance:
        length = find_length(
            kind_of(task.kind),
            frames.pixels(),
            labels.answers(task, names),
            frames.table["patient_id"].to_numpy(),
            len(names),
            task.model_settings,
            device=cell.device,
            progress=advance,
        )
    curve = pd.DataFrame(length.curve)
    metrics = {
        "steps": length.steps,
        "best_step": length.best_step,
        "stopped": length.stopped,
        "steps_searched": int(curve["step"].iloc[-1]) if len(curve) else 0,
        "labelled_frames": len(labels.table),
        "watched_patients": length.watched_patients,
        "watched_frames": length.watched_frames,
    }
    # The steps alone are the content: found again and the same, no model is trained again.
    return StepOutput(
        {"length": pd.DataFrame({"steps": [length.steps]})},
        note_tables={"curve": curve},
        metrics=metrics,
        metadata={"curve": curve.tail(12).round(4)},
    )


@check(
    "{task}/training_length",
    reads={"length": same("{task}/training_length")},
    only=searches_length,
)
def stopped_improving(cell: CellContext, length: Value) -> CheckOutcome:
    """The search ended because nothing improved any more and the loss had settled, not at its bound."""
    found, search = length.metrics, cell.where.task_settings.model_settings.search
    watched = f"{found['watched_patients']} held-out patients" if found["watched_patients"] else "the training frames"
    if found["stopped"]:
        return CheckOutcome(
            True,
            f"{found['steps']:,} steps: after step {found['best_step']:,} nothing improved on {watched}, and the training loss had settled",
        )
    return CheckOutcome(
        False,
        f"at its first learning rate the network was still improving on {watched}, or its training loss falling, at the bound of {search.max_steps:,} steps; whether the "
        "models are converged is judged on themselves (adequacy). If they are not, raise training.search.max_steps",
    )


@check(
    "{task}/training_length",
    reads={"length": same("{task}/training_length"), "pool": every("{task}/pool")},
    only=searches_length,
)
def fits_the_pool(cell: CellContext, length: Value, pool: Value) -> CheckOutcome:
    """The pool has not outgrown the frames that the length was found on."""
    now, then = (
        sum(receipt.metrics["labelled"] for receipt in pool.receipts.values()),
        length.metrics["labelled_frames"],
    )
    fits = now <= OUTGROWN * max(then, 1)
    return CheckOutcome(
        fits,
        f"found on {then:,} labelled frames, there are {now:,} now"
        + (
            ""
            if fits
            else "; `enrich run --renew-length` finds it again (all models of the task are then trained again)"
        ),
    )
