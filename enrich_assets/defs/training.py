"""The proof: a model for each subset, and its score on the test patients. Here labels meet the chosen frames."""

import contextlib
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.defs.arrival import markdown
from enrich_assets.defs.curation import arms
from enrich_assets.defs.embedding import picture
from enrich_assets.defs.partitions import budget_and_seed, cell_keys, every_partition, for_lineage_only, grid
from enrich_assets.defs.steps import Made, Step, Work, dep, digests
from enrich_assets.settings import Profile, TaskSettings
from enrich_assets.store.frames import digest_column
from enrich_assets.store.identity import evaluation_id, subset_id
from enrich_assets.store.receipts import DamagedStore, MissingArtefact, Receipt, digest_of
from enrich_assets.store.tracking import CellRecord, Recorded

CHECKPOINT = "checkpoint"
PICTURED = 6  # test frames shown with truth and prediction


def steps(profile: Profile) -> list[Step]:
    found = []
    for name, task in profile.tasks.items():
        for arm in arms(task):
            found += _arm_steps(name, task, arm)
    return found


def _arm_steps(name: str, task: TaskSettings, arm: str) -> list[Step]:
    network = "ResNet" if task.kind == "classification" else "U-Net"
    return [
        Step(
            key=f"{name}/{arm}/model",
            partitions=grid(task, arm),
            inputs=lambda archive, cell: _model_inputs(archive, name, arm, cell),
            make=lambda work: _model(work, name, arm),
            settings=[task.kind, asdict(task.model_settings)],
            group=name,
            kinds=("pytorch",),
            description=f"Arm {arm}: the {network} trained on the subset, and its training curve.",
            deps=(dep(f"{name}/{arm}/subset"), dep("labels", for_lineage_only), dep("frames", for_lineage_only)),
            pool="gpu",
        ),
        Step(
            key=f"{name}/{arm}/evaluation",
            partitions=grid(task, arm),
            inputs=lambda archive, cell: {
                **digests(archive, (f"{name}/{arm}/model", cell)),
                "test set": test_set(archive, name)[1],
            },
            make=lambda work: _evaluation(work, name, arm),
            settings=[task.metric, task.positive],
            group=name,
            kinds=("pytorch", "mlflow"),
            description=f"Arm {arm}: predictions on the test patients, and {'AUC' if task.metric == 'auc' else 'Jaccard'}.",
            deps=(dep(f"{name}/{arm}/model"), dep("labels", every_partition), dep("split", every_partition)),
            checks=(
                dg.AssetCheckSpec(
                    "joined_to_subset",
                    asset=dg.AssetKey([name, arm, "evaluation"]),
                    blocking=True,
                    description="The score belongs to a subset that exists, and no test patient is in it.",
                ),
            ),
            pool="gpu",
        ),
    ]


# ------------------------------------------------------------------------------------------------------------- model


def _subset(archive: Archive, name: str, arm: str, cell: str) -> pd.DataFrame:
    from enrich_assets.store.receipts import Cell

    receipt = archive.store.receipts.require(Cell(f"{name}/{arm}/subset", cell))
    return archive.store.table(receipt, "subset")


def _labels_of(archive: Archive, name: str, frames: pd.DataFrame) -> pd.DataFrame:
    """Labels of these frames, in their order; frames without one are left out."""
    labels = archive.labels(name)
    return frames[["frame_id"]].merge(labels, on="frame_id", how="inner")


def _labels_digest(labels: pd.DataFrame) -> str:
    return digest_of(labels[["frame_id", "label", "mask_digest"]].astype("string").fillna("").to_csv(index=False))


def _answers(archive: Archive, name: str, labels: pd.DataFrame) -> np.ndarray:
    """Class indices (n,) or masks (n, side, side)."""
    if archive.profile.tasks[name].kind == "segmentation":
        return archive.masks(name, labels)
    return pd.Categorical(labels["label"], categories=list(archive.classes(name))).codes.astype(np.int64)


def _model_inputs(archive: Archive, name: str, arm: str, cell: str) -> dict[str, str]:
    subset = _subset(archive, name, arm, cell)
    labels = _labels_of(archive, name, subset)
    return {
        **digests(archive, (f"{name}/{arm}/subset", cell)),
        "labels of the subset": _labels_digest(labels),
        "classes": digest_of(archive.classes(name)),
    }


def _verified_pixels(work: Work, name: str, subset: pd.DataFrame, wanted: str) -> np.ndarray:
    """The subset's pixels, after its name was computed again from them. Raises DamagedStore if it differs."""
    from enrich_assets.method.images.preprocessing import pixel_digests

    archive = work.archive
    table = archive.frames.table(archive.batches)
    rows = subset[["frame_id"]].merge(table, on="frame_id", how="left")
    if rows["part"].isna().any():
        gone = rows.loc[rows["part"].isna(), "frame_id"].iloc[0]
        raise DamagedStore(
            f"{work.cell}: frame {gone} of the subset is no longer in the archive; materialise the ranking again"
        )
    images = archive.frames.pixels(name, rows.astype({"part": int, "row": int}))
    if subset_id(subset["frame_id"], pixel_digests(images)) != wanted:
        raise DamagedStore(
            f"{work.cell}: the frames in the store are not those of subset {wanted[:12]}; materialise `frames`, "
            "the ranking and the subset again"
        )
    return images


def _model(work: Work, name: str, arm: str) -> Made:
    work.saw("frames", "labels")
    archive, task = work.archive, work.archive.profile.tasks[name]
    subset = _subset(archive, name, arm, work.partition)
    receipt = work.receipt(f"{name}/{arm}/subset", work.partition)
    images = _verified_pixels(work, name, subset, receipt.figures["subset_id"])
    labels = _labels_of(archive, name, subset)
    if len(labels) < len(subset):
        missing = sorted(set(subset["frame_id"]) - set(labels["frame_id"]))
        raise MissingArtefact(
            f"{work.cell}: {len(missing)} of {len(subset)} frames have no label (first: {missing[0]}); "
            f"import their labels: `enrich labels import FILE --task {name}`"
        )
    classes = archive.classes(name)
    if len(classes) < 2:
        raise MissingArtefact(f"{work.cell}: only {len(classes)} class among the labels; a model needs two")
    seed = budget_and_seed(work.partition)[1]
    with work.progress("training", "epochs") as advance:
        trained = _train(task)(
            images,
            _answers(archive, name, labels),
            len(classes),
            task.model_settings,
            seed=seed,
            device=archive.profile.device,
            progress=advance,
            resume=work.draft.scratched(CHECKPOINT),
            save=lambda content: work.draft.scratch(CHECKPOINT, content),
        )
    work.draft.scratch(CHECKPOINT, None)
    work.draft.weights("model", trained.weights)
    history = pd.DataFrame(trained.history)
    work.draft.table("history", history, note=True)
    figures = {
        "device": trained.device,
        "n_train": len(subset),
        "parameters": int(sum(np.asarray(w).size for w in trained.weights.values())),
        "epochs": len(history),
        "classes": list(classes),
    }
    return Made(figures, {"training_curve": markdown(history.tail(5).round(4))})


def _train(task: TaskSettings) -> Any:
    if task.kind == "classification":
        from enrich_assets.method.networks.classification import train_classifier

        return train_classifier
    from enrich_assets.method.networks.segmentation import train_segmenter

    return train_segmenter


# -------------------------------------------------------------------------------------------------------- evaluation


def current_evaluations(archive: Archive, name: str, arm: str) -> dict[str, Receipt]:
    """Cell of the profile's grid -> its evaluation, where the subset has not been curated anew since."""
    evaluated, subsets = (archive.store.receipts.of(f"{name}/{arm}/{what}") for what in ("evaluation", "subset"))
    return {
        key: evaluated[key]
        for key in cell_keys(archive.profile.tasks[name], arm)
        if key in evaluated
        and key in subsets
        and evaluated[key].figures["subset_id"] == subsets[key].figures["subset_id"]
    }


def test_set(archive: Archive, name: str) -> tuple[pd.DataFrame, str]:
    """Labelled frames of test patients (a row of the frame table each, with its label), and their digest."""
    state = tuple(
        receipt.digest
        for asset in ("frames", "split", "labels")
        for receipt in archive.store.receipts.of(asset).values()
    )
    known = archive.test_sets.get((name, state))
    if known is None:
        frames = archive.frame_table()
        table = frames[frames["split"] == "test"].merge(archive.labels(name).drop(columns="batch"), on="frame_id")
        digest = digest_of([list(table[digest_column(name)]), _labels_digest(table)])
        known = archive.test_sets[name, state] = (table.reset_index(drop=True), digest)
    return known


def why_not_trainable(archive: Archive, name: str) -> str | None:
    """Why no model of the task could be scored, whatever it is trained on; None if it can."""
    table, _ = test_set(archive, name)
    classes = archive.classes(name)
    try:
        _require_scorable(archive, name, table, classes)
    except MissingArtefact as missing:
        return str(missing)
    return None


def _require_scorable(archive: Archive, name: str, table: pd.DataFrame, classes: tuple[str, ...]) -> None:
    if table.empty:
        raise MissingArtefact(
            f"{name}: no labelled frame belongs to a test patient; label some, set split=test for some patients in the "
            "manifest, or raise split.test_share"
        )
    if len(classes) < 2:
        raise MissingArtefact(f"{name}: only {len(classes)} class among the labels; a model needs two")
    absent = [c for c in classes if not (table["label"] == c).any()] if table["label"].notna().any() else []
    if absent:
        raise MissingArtefact(
            f"{name}: no test frame is labelled {', '.join(absent)}, so there is no AUC; set split=test for patients that "
            "have such frames, or raise split.test_share"
        )


def _evaluation(work: Work, name: str, arm: str) -> Made:
    work.saw("frames", "labels", "split")
    archive, task = work.archive, work.archive.profile.tasks[name]
    table, test_digest = test_set(archive, name)
    _require_scorable(archive, name, table, archive.classes(name))
    budget, seed = budget_and_seed(work.partition)
    model, subset = (work.receipt(f"{name}/{arm}/{what}", work.partition) for what in ("model", "subset"))
    weights = archive.store.weights(model, "model")
    images = archive.frames.pixels(name, table)
    scored = _score_classes if task.kind == "classification" else _score_masks
    predictions, value, low, high, pictures = scored(archive, name, weights, images, table)
    name_of_evaluation = evaluation_id(name, arm, budget, seed, model.digest, test_digest, work.draft.settings)
    work.draft.table("predictions", predictions)
    history = archive.store.table(model, "history")
    train_patients = set(archive.store.table(subset, "subset")["patient_id"])
    figures: dict[str, Any] = {
        "evaluation_id": name_of_evaluation,
        "metric": task.metric,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n_train": model.figures["n_train"],
        "n_test": len(table),
        "subset_id": subset.figures["subset_id"],
        "model_digest": model.digest,
        "device": model.figures["device"],
        "train_seconds": model.figures["seconds"],
    }
    for title, png in pictures.items():
        work.draft.write(title, png, note=True)
    recorded = _record(work, name, arm, figures, history)
    figures |= {"mlflow_run_id": recorded.run_id, "mlflow_model_id": recorded.model_id}
    metadata: dict[str, Any] = {task.metric: float(value), "interval": f"{low:.3f} to {high:.3f} (95 %, over patients)"}
    if page := archive.tracking(name).run_url(recorded.run_id):
        metadata["mlflow"] = dg.MetadataValue.url(page)
    for title, png in pictures.items():
        metadata[title.partition(".")[0]] = picture(png, title)
    overlap = train_patients & set(table["patient_id"])
    check = dg.AssetCheckResult(
        check_name="joined_to_subset",
        passed=not overlap and subset.figures["frames"] == model.figures["n_train"],
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"subset {subset.digest[:12]}, {subset.figures['frames']} frames; {len(overlap)} patients on both sides",
    )
    return Made(figures, metadata, [check])


Scored = tuple[pd.DataFrame, float, float, float, dict[str, bytes]]


def _score_classes(
    archive: Archive, name: str, weights: dict[str, Any], images: np.ndarray, table: pd.DataFrame
) -> Scored:
    from enrich_assets.method.networks.classification import predict_classes
    from enrich_assets.method.statistics.intervals import auc_interval
    from enrich_assets.method.statistics.metrics import auc, macro_auc

    classes = archive.classes(name)
    scores = predict_classes(
        weights, images, archive.profile.tasks[name].model_settings, archive.profile.device
    ).astype(np.float64)
    truth = pd.Categorical(table["label"], categories=list(classes)).codes
    shown = [classes.index(archive.positive(name))] if len(classes) == 2 else list(range(len(classes)))
    is_class = np.stack([truth == i for i in shown], axis=1)
    patients = table["patient_id"].to_numpy()
    if len(shown) == 1:
        value = auc(is_class[:, 0], scores[:, shown[0]])
        interval = auc_interval(is_class[:, 0], scores[:, shown[0]], patients)
    else:
        value = macro_auc(truth, scores)
        interval = auc_interval(is_class.astype(int), scores, patients)
    predictions = pd.concat(
        [
            pd.DataFrame(
                {
                    "frame_id": table["frame_id"],
                    "class": classes[i],
                    "truth": is_class[:, k].astype("int64"),
                    "score": scores[:, i],
                }
            )
            for k, i in enumerate(shown)
        ],
        ignore_index=True,
    )
    return predictions, float(value), float(interval.low), float(interval.high), {}


def _score_masks(
    archive: Archive, name: str, weights: dict[str, Any], images: np.ndarray, table: pd.DataFrame
) -> Scored:
    from enrich_assets.method.networks.segmentation import predict_masks
    from enrich_assets.method.statistics.intervals import jaccard_interval
    from enrich_assets.method.statistics.metrics import frame_jaccard, jaccard, jaccard_counts
    from enrich_assets.report.figures.overlays import masks_png

    classes = archive.classes(name)
    truth = archive.masks(name, table)
    predicted = predict_masks(weights, images, archive.profile.tasks[name].model_settings, archive.profile.device)
    intersections, unions = jaccard_counts(truth, predicted, len(classes))
    interval = jaccard_interval(frame_jaccard(intersections, unions), table["patient_id"].to_numpy())
    predictions = pd.concat(
        [
            pd.DataFrame(
                {
                    "frame_id": table["frame_id"],
                    "class": structure,
                    "intersection_pixels": intersections[:, k],
                    "union_pixels": unions[:, k],
                }
            )
            for k, structure in enumerate(classes[1:])
        ],
        ignore_index=True,
    )
    shown = np.linspace(0, len(table) - 1, min(PICTURED, len(table))).astype(int)
    png = masks_png(images[shown], truth[shown], predicted[shown], list(classes))
    return (
        predictions,
        float(jaccard(intersections, unions)),
        float(interval.low),
        float(interval.high),
        {"predictions.png": png},
    )


def _record(work: Work, name: str, arm: str, figures: dict[str, Any], history: pd.DataFrame) -> Recorded:
    """Write the cell into MLflow: curves, weights, subset, score and pictures, tied together."""
    archive, task = work.archive, work.archive.profile.tasks[name]
    budget, seed = budget_and_seed(work.partition)
    model, subset = (work.receipt(f"{name}/{arm}/{what}", work.partition) for what in ("model", "subset"))
    curves = {column: history[column].tolist() for column in history.columns if column != "epoch"}
    trained_at = datetime.fromisoformat(model.created_at)
    with contextlib.ExitStack() as files:
        weights = files.enter_context(archive.store.folder.local_copy(archive.store.path(model, "model.safetensors")))
        pictures = {
            title.removesuffix(".png"): files.enter_context(
                archive.store.folder.local_copy(f"{work.draft.folder}/{title}")
            )
            for title in work.draft.notes
            if title.endswith(".png")
        }
        return archive.tracking(name).record_cell(
            CellRecord(
                evaluation_id=figures["evaluation_id"],
                task=name,
                arm=arm,
                budget=figures["n_train"],
                seed=seed,
                subset_id=figures["subset_id"],
                n_train=figures["n_train"],
                metrics={
                    task.metric: figures["value"],
                    **{k: figures[k] for k in ("ci_low", "ci_high", "train_seconds")},
                },
                params={
                    **asdict(task.model_settings),
                    "budget_key": budget,
                    "kind": task.kind,
                    "size": task.size,
                    "device": figures["device"],
                },
                curves=curves,
                weights=weights,
                model_digest=figures["model_digest"],
                model_type="resnet" if task.kind == "classification" else "unet",
                asset_key=work.cell.asset,
                partition=work.partition,
                dagster_run_id=work.run_id,
                subset_source=archive.store.folder.path(archive.store.path(subset, "subset.parquet")),
                started_at=trained_at - timedelta(seconds=model.figures["seconds"]),
                ended_at=trained_at,
                pictures=pictures,
            )
        )
