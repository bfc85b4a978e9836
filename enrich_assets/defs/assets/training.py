"""The proof: a model for each subset, and its score on the test patients. Here labels meet the chosen frames."""

import contextlib
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.frames import Frames, Split, ViewOfFrames, digest_column
from enrich_assets.archive.labels import Labels, LabelsOfFrames, labels_digest
from enrich_assets.archive.values import Plain, Value
from enrich_assets.core.partitions import Partitions, budget_and_seed
from enrich_assets.core.reads import Read, every, part, same
from enrich_assets.core.step import CellContext, CheckOutcome, Link, Picture, StepOutput, check, plain, step
from enrich_assets.core.where import Where
from enrich_assets.defs.assets.parts import (
    class_names,
    frames_of_subset,
    frames_of_test_set,
    labels_of_subset,
    labels_of_test_set,
    no_new_class,
    subset_is_elsewhere,
    test_set_is_elsewhere,
)
from enrich_assets.defs.assets.similarity import any_label, any_label_stays
from enrich_assets.defs.automation import summary
from enrich_assets.method.images.digest import pixel_digests
from enrich_assets.method.kinds import kind_of
from enrich_assets.settings import ALL
from enrich_assets.store.cell_record import CellRecord, Recorded
from enrich_assets.store.identity import evaluation_id, subset_id
from enrich_assets.store.receipts import DamagedStore, MissingArtefact, digest_of

AT_HALF = "model_at_half"  # weights of the whole pool's model, trained half as long
PICTURED = 6  # test frames shown with truth and prediction


# ---------------------------------------------------------------------------------------------------------- test set


@step(
    "{task}/test_set",
    reads={
        "frames": every("frames"),
        "split": every("split"),
        "labels": every("labels"),
        "classes": part(every("labels"), class_names, stays=no_new_class, of_receipts=True),
    },
    kinds=("parquet",),
    automation=summary(),
)
def test_set(cell: CellContext, frames: Frames, split: Split, labels: Labels, classes: Plain) -> StepOutput:
    """Labelled frames of test patients: what every model of the task is scored on."""
    task, all_frames = cell.where.task, frames.with_sides(split)
    of_test = all_frames[all_frames["split"] == "test"].merge(labels.of_task(task).drop(columns="batch"), on="frame_id")
    pixels = digest_column(task)
    table = of_test[["frame_id", "patient_id", "clip_id", "batch", pixels, "label", "mask_digest"]].rename(
        columns={pixels: "pixel_digest"}
    )
    kind = kind_of(cell.where.task_settings.kind)
    by_class = table["label"].value_counts().rename_axis("class").reset_index(name="frames")
    return StepOutput(
        {"test_set": table.reset_index(drop=True)},
        metrics={
            "frames": len(table),
            "patients": int(table["patient_id"].nunique()),
            "why_not_scorable": kind.why_not_scorable(table["label"], classes.value) or "",
        },
        metadata={"by_class": by_class} if len(by_class) else {},
    )


@check(
    "{task}/test_set",
    reads={
        "test_set": same("{task}/test_set"),
        "classes": part(every("labels"), class_names, stays=no_new_class, of_receipts=True),
        "any_labelled": part(every("label_presence"), any_label, stays=any_label_stays, of_receipts=True),
    },
    blocking=True,
)
def scorable(cell: CellContext, test_set: Value, classes: Plain, any_labelled: Plain) -> CheckOutcome:
    """A model trained on anything could be scored: labelled test frames, of every class."""
    if not any_labelled.value:
        return CheckOutcome(True, "nothing is labelled yet, so there is nothing to score")
    kind, labels = kind_of(cell.where.task_settings.kind), test_set.table("test_set")["label"]
    why = kind.why_not_scorable(labels, tuple(classes.value))
    return CheckOutcome(why is None, why or f"{len(labels):,} labelled frames of test patients")


# ------------------------------------------------------------------------------------------------------------- model


def _reads_of_model(where: Where) -> dict[str, Read]:
    reads = {
        "subset": same("{task}/{arm}/subset"),
        "labels": part(every("labels"), labels_of_subset, of=("subset",), stays=subset_is_elsewhere),
        "frames": part(every("frames"), frames_of_subset, of=("subset",), stays=subset_is_elsewhere),
        "classes": part(every("labels"), class_names, stays=no_new_class, of_receipts=True),
    }
    if where.task_settings.searches_length:
        reads["length"] = same("{task}/training_length")
    return reads


def _settings_of_model(where: Where) -> dict[str, Any]:
    """How the length was searched for is no part of a model, only what was found; absent where nothing was said of it."""
    training = plain(where.task_settings.model_settings)
    training.pop("search", None)
    if training.get("steps") is None:
        training.pop("steps", None)
    half = {"half_as_long": True} if where.arm == ALL else {}  # those made before there was a second training lack it
    return {"kind": where.task_settings.kind, "training": training, **half}


@step(
    "{task}/{arm}/model",
    Partitions.GRID,
    reads=_reads_of_model,
    settings=_settings_of_model,
    description=lambda where: (
        f"{where.task}, arm {where.arm}: the {kind_of(where.task_settings.kind).network_label} trained on the subset, and its training curve."
    ),
    kinds=("pytorch",),
    pool="gpu",
)
def model(
    cell: CellContext,
    subset: Value,
    labels: LabelsOfFrames,
    frames: ViewOfFrames,
    classes: Plain,
    length: Value | None = None,
) -> StepOutput:
    """The network trained on the subset, and its training curve; of the whole pool another one trained half as long."""
    from enrich_assets.method.networks import length as training_length
    from enrich_assets.method.networks.schedule import Schedule

    chosen, kind = subset.table("subset"), kind_of(cell.settings["kind"])
    settings = settings_with_length(cell.where, length)
    _require_labels(cell, chosen, labels, classes)
    images = _verified_pixels(cell, chosen, frames, subset.metrics["subset_id"])
    answers, n_classes = labels.answers(cell.where.task_settings, tuple(classes.value)), len(classes.value)
    seed = budget_and_seed(cell.partition)[1]
    with cell.progress("training", "epochs" if getattr(settings, "steps", None) is None else "steps") as advance:
        trained = kind.fit(
            images,
            answers,
            n_classes,
            settings,
            seed=seed,
            device=cell.device,
            progress=advance,
            resume=cell.checkpoint(),
            save=cell.save_checkpoint,
        )
    weights, presented = {"model": trained.weights}, kind.presentations(settings, len(chosen))
    if cell.where.arm == ALL:
        shorter = training_length.half_as_long(settings, len(chosen))
        with cell.progress("training half as long") as advance:
            half = kind.fit(images, answers, n_classes, shorter, seed=seed, device=cell.device, progress=advance)
        weights[AT_HALF], presented = half.weights, presented + kind.presentations(shorter, len(chosen))
    history, schedule = pd.DataFrame(trained.history), Schedule.of(settings)
    loss_fall_share = training_length.loss_fall_share(trained.history)
    metrics = {
        "device": trained.device,
        "n_train": len(chosen),
        "parameters": int(sum(np.asarray(w).size for w in trained.weights.values())),
        "epochs": schedule.epochs_for(len(chosen)),
        "steps": schedule.steps_for(len(chosen)),
        "presented": presented,
        "classes": list(classes.value),
        "loss_fall_share": None if np.isnan(loss_fall_share) else round(loss_fall_share, 4),
    }
    return StepOutput(
        weights=weights,
        note_tables={"history": history},
        metrics=metrics,
        metadata={"training_curve": history.tail(5).round(4)},
    )


def settings_with_length(where: Where, length: Value | None) -> Any:
    """The network's settings, with the steps that were found for the task where the profile leaves them open."""
    settings = where.task_settings.model_settings
    return settings if length is None else replace(settings, steps=int(length.metrics["steps"]), search=None)


def _require_labels(cell: CellContext, chosen: pd.DataFrame, labels: LabelsOfFrames, classes: Plain) -> None:
    if len(labels.table) < len(chosen):
        missing = sorted(set(chosen["frame_id"]) - set(labels.table["frame_id"]))
        raise MissingArtefact(
            f"{cell.cell}: {len(missing)} of {len(chosen)} frames have no label (first: {missing[0]}); "
            f"import their labels: `enrich labels import FILE --task {cell.where.task}`"
        )
    if len(classes.value) < 2:
        raise MissingArtefact(f"{cell.cell}: only {len(classes.value)} class among the labels; a model needs two")


def _verified_pixels(cell: CellContext, chosen: pd.DataFrame, frames: ViewOfFrames, wanted: str) -> np.ndarray:
    """The subset's pixels, after its name was computed again from them. Raises DamagedStore if it differs."""
    images = frames.pixels()
    if subset_id(chosen["frame_id"], pixel_digests(images)) != wanted:
        raise DamagedStore(
            f"{cell.cell}: the frames in the store are not those of subset {wanted[:12]}; make `frames`, the ranking and the "
            "subset again"
        )
    return images


# -------------------------------------------------------------------------------------------------------- evaluation


@step(
    "{task}/{arm}/evaluation",
    Partitions.GRID,
    reads={
        "model": same("{task}/{arm}/model"),
        "subset": same("{task}/{arm}/subset"),
        "test_set": same("{task}/test_set"),
        "labels": part(every("labels"), labels_of_test_set, of=("test_set",), stays=test_set_is_elsewhere),
        "frames": part(every("frames"), frames_of_test_set, of=("test_set",), stays=test_set_is_elsewhere),
    },
    settings=lambda where: {
        "metric": kind_of(where.task_settings.kind).metric,
        "positive": where.task_settings.positive,
    },
    description=lambda where: (
        f"{where.task}, arm {where.arm}: predictions on the test patients, and {kind_of(where.task_settings.kind).metric_label}."
    ),
    kinds=("pytorch", "mlflow"),
    pool="gpu",
)
def evaluation(
    cell: CellContext, model: Value, subset: Value, test_set: Value, labels: LabelsOfFrames, frames: ViewOfFrames
) -> StepOutput:
    """Predictions on the test patients, and the score."""
    task = cell.where.task_settings
    kind, table = kind_of(task.kind), test_set.table("test_set")
    classes = tuple(model.metrics["classes"])
    images, truth = frames.pixels(), labels.answers(task, classes)
    predicted = kind.predict(model.weights("model"), images, task.model_settings, cell.device)
    score = kind.score(predicted, truth, table["patient_id"].to_numpy(), classes, task.positive or classes[-1])
    at_half = None
    if cell.where.arm == ALL:
        shorter = kind.predict(model.weights(AT_HALF), images, task.model_settings, cell.device)
        at_half = kind.score(shorter, truth, table["patient_id"].to_numpy(), classes, task.positive or classes[-1])
    predictions = score.predictions
    predictions.insert(0, "frame_id", table["frame_id"].to_numpy()[predictions.pop("row").to_numpy()])
    budget, seed = budget_and_seed(cell.partition)
    test_digest = digest_of([list(table["pixel_digest"]), labels_digest(table)])
    name = evaluation_id(
        cell.where.task, cell.where.arm, budget, seed, model.receipt.digest, test_digest, cell.draft.settings
    )
    metrics: dict[str, Any] = {
        "evaluation_id": name,
        "kind": task.kind,
        "metric": kind.metric,
        "value": float(score.value),
        "ci_low": float(score.low),
        "ci_high": float(score.high),
        "n_train": model.metrics["n_train"],
        "n_test": len(table),
        "subset_id": subset.metrics["subset_id"],
        "model_digest": model.receipt.digest,
        "device": model.metrics["device"],
        "train_seconds": model.metrics["seconds"],
        "steps": model.metrics.get("steps"),  # absent of a model made before it was counted
    }
    if at_half is not None:
        metrics["value_at_half"] = float(at_half.value)
    pictures = _pictures(kind.answers, images, truth, predicted, classes)
    recorded = _record(cell, model, subset, metrics, pictures, test_digest)
    metrics |= {"mlflow_run_id": recorded.run_id, "mlflow_model_id": recorded.model_id}
    metadata: dict[str, Any] = {
        kind.metric: metrics["value"],
        "interval": f"{score.low:.3f} to {score.high:.3f} (95 %, over patients)",
        **{title: Picture(png, title) for title, png in pictures.items()},
    }
    if page := cell.tracking(cell.where.task).run_url(recorded.run_id):
        metadata["mlflow_run_id"] = Link(page)
    return StepOutput(
        {"predictions": predictions},
        notes={f"{title}.png": png for title, png in pictures.items()},
        metrics=metrics,
        metadata=metadata,
    )


def _pictures(
    answers: str, images: np.ndarray, truth: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]
) -> dict[str, bytes]:
    """Masks can be looked at: image, truth and prediction of a few frames."""
    if answers != "mask":
        return {}
    from enrich_assets.report.figures.overlays import masks_png

    at = np.linspace(0, len(images) - 1, min(PICTURED, len(images))).astype(int)
    return {"predictions": masks_png(images[at], truth[at], predicted[at], list(classes))}


def _record(
    cell: CellContext,
    model: Value,
    subset: Value,
    metrics: dict[str, Any],
    pictures: dict[str, bytes],
    test_set_digest: str,
) -> Recorded:
    """Write the cell into MLflow: curves, weights, subset, score and pictures, tied together."""
    task = cell.where.task_settings
    budget, seed = budget_and_seed(cell.partition)
    history = model.table("history")
    curves = {column: history[column].tolist() for column in history.columns if column != "epoch"}
    trained_at = datetime.fromisoformat(model.receipt.created_at)
    folder, store = model.store.folder, model.store
    for title, png in pictures.items():
        cell.draft.write(f"{title}.png", png, note=True)
    with contextlib.ExitStack() as files:
        local = {t: files.enter_context(folder.local_copy(f"{cell.draft.folder}/{t}.png")) for t in pictures}
        weights = files.enter_context(folder.local_copy(store.path(model.receipt, "model.safetensors")))
        return cell.tracking(cell.where.task).record_cell(
            CellRecord(
                evaluation_id=metrics["evaluation_id"],
                task=cell.where.task,
                arm=cell.where.arm,
                budget=metrics["n_train"],
                seed=seed,
                subset_id=metrics["subset_id"],
                n_train=metrics["n_train"],
                metrics={metrics["metric"]: metrics["value"]}
                | {name: metrics[name] for name in ("ci_low", "ci_high", "train_seconds")},
                params={
                    **asdict(task.model_settings),
                    "budget_key": budget,
                    "kind": task.kind,
                    "size": task.size,
                    "device": metrics["device"],
                    "steps": metrics["steps"],
                },
                curves=curves,
                weights=weights,
                model_digest=metrics["model_digest"],
                model_type=kind_of(task.kind).model_type,
                asset_key=cell.cell.asset,
                partition=cell.partition,
                dagster_run_id=cell.run_id,
                test_set_digest=test_set_digest,
                n_test=metrics["n_test"],
                subset_source=folder.path(store.path(subset.receipt, "subset.parquet")),
                started_at=trained_at - timedelta(seconds=model.metrics["seconds"]),
                ended_at=trained_at,
                pictures={title: Path(path) for title, path in local.items()},
            )
        )
