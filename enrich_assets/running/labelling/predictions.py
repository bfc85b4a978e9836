"""What the best model so far would answer, laid before labellers as a first proposal (Label Studio's predictions)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.home import Archive
from enrich_assets.archive.values import Value
from enrich_assets.method.kinds import kind_of
from enrich_assets.running.labelling.handing_out import evaluations_of
from enrich_assets.settings import TaskSettings
from enrich_assets.store.receipts import Cell, Receipt


def latest_model(archive: Archive, task: str) -> Receipt | None:
    """The current model of a task that learned from most labels, and of these the one of the first seed; None where there is none."""
    table = evaluations_of(archive, task).table()
    for row in table.sort_values(["budget", "seed"], ascending=[False, True], kind="stable").itertuples():
        receipt = archive.store.receipts.current(Cell(f"{task}/{row.arm}/model", f"{row.budget_key}|{row.seed}"))
        if receipt is not None:
            return receipt
    return None


def predictions_of(archive: Archive, task: str, frame_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Frame id -> a prediction as Label Studio takes it; {} where no model was trained yet.

    Parameters
    ----------
    archive, task
        Whose latest model.
    frame_ids
        Of frames that were decoded.
    """
    receipt = latest_model(archive, task)
    if receipt is None or not len(frame_ids):
        return {}
    settings, kind = archive.profile.tasks[task], kind_of(archive.profile.tasks[task].kind)
    frames, model = Catalogue(archive).frames(), Value(archive.store, {receipt.partition: receipt})
    shown = frames.of(pd.DataFrame({"frame_id": list(frame_ids)}), task)
    answers = kind.predict(model.weights("model"), shown.pixels(), settings.model_settings, archive.profile.device)
    classes, version = (
        tuple(receipt.metrics["classes"]),
        f"{receipt.cell.asset} {receipt.partition} {receipt.digest[:12]}",
    )
    made: dict[str, dict[str, Any]] = {}
    if kind.answers == "class":
        for frame_id, scores in zip(frame_ids, np.asarray(answers), strict=True):
            choice = {"choices": [classes[int(scores.argmax())]]}
            result = {"from_name": "label", "to_name": "image", "type": "choices", "value": choice}
            made[frame_id] = {"model_version": version, "score": float(scores.max()), "result": [result]}
        return made
    clips = frames.clips.set_index("path")
    for frame_id, path, mask in zip(frame_ids, shown.table["path"], np.asarray(answers), strict=True):
        whole = _on_whole_picture(mask, clips.loc[path], task)
        made[frame_id] = {"model_version": version, "result": _brushes(whole, classes, settings)}
    return made


def _on_whole_picture(mask: np.ndarray, clip: pd.Series, task: str) -> np.ndarray:
    """A predicted mask put back where its window was cut out of the frame: (height, width) uint8, nearest pixels."""
    top, left, side = map(int, clip[f"box_{task}"])
    at = np.minimum(np.arange(side) * mask.shape[0] // side, mask.shape[0] - 1)
    whole = np.zeros((int(clip.height), int(clip.width)), np.uint8)
    whole[top : top + side, left : left + side] = mask[np.ix_(at, at)]
    return whole


def _brushes(mask: np.ndarray, classes: tuple[str, ...], settings: TaskSettings) -> list[dict[str, Any]]:
    """A brush per structure that the mask holds."""
    from label_studio_sdk.converter.brush import mask2rle

    height, width = mask.shape
    return [
        {
            "from_name": "label",
            "to_name": "image",
            "type": "brushlabels",
            "original_height": height,
            "original_width": width,
            "image_rotation": 0,
            "value": {"format": "rle", "rle": mask2rle((mask == code).astype(np.uint8) * 255), "brushlabels": [name]},
        }
        for code, name in enumerate(classes)
        if code and (mask == code).any()
    ]
