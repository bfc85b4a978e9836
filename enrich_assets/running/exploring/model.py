"""The model whose errors are shown: which one, and what it answered on each test frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.home import Archive
from enrich_assets.archive.values import Value
from enrich_assets.method.kinds import kind_of
from enrich_assets.running.frames.chosen import LEAST_LETTERS, UnknownFrames
from enrich_assets.running.labelling.handing_out import evaluations_of
from enrich_assets.store.published import query
from enrich_assets.store.receipts import Cell, Receipt


@dataclass(frozen=True)
class Model:
    """A model that was scored.

    Attributes
    ----------
    evaluation_id, task, arm : str
    budget, seed : int
    frame_ids : frozenset of str
        The test frames that it was scored on.
    """

    evaluation_id: str
    task: str
    arm: str
    budget: int
    seed: int
    frame_ids: frozenset[str]

    @property
    def name(self) -> str:
        """What its answers go under in the browser."""
        return f"model {self.arm} {self.budget} seed {self.seed}"


def model_of(archive: Archive, task: str, evaluation: str | None) -> Model | None:
    """The model of an evaluation, by the first letters of its id; without one, that of most labels in the first arm that ranks frames.

    Raises
    ------
    UnknownFrames
        If no evaluation of the task, or more than one, begins so.
    """
    table = query(str(archive.published), "FROM evaluations WHERE task = ?", [task])
    if evaluation is None:
        arms = [*(arm for arm in archive.profile.tasks[task].arms if arm != "all"), "all"]
        table = table[table["current"].astype(bool) & table["arm"].isin(arms)]
        table = table.assign(order=table["arm"].map(arms.index))
        table = table.sort_values(["order", "budget", "seed"], ascending=[True, False, True], kind="stable")
        if table.empty:
            return None
    else:
        table = table[table["evaluation_id"].str.startswith(evaluation)]
        if len(evaluation) < LEAST_LETTERS or table["evaluation_id"].nunique() != 1:
            raise UnknownFrames(
                f"{table['evaluation_id'].nunique()} evaluations of {task} begin with {evaluation!r}; name one by {LEAST_LETTERS} letters or "  # nosec B608: no query
                'more (enrich sql "SELECT task, arm, budget, seed, value, evaluation_id FROM evaluations WHERE current")'
            )
    row = table.iloc[0]
    frames = query(
        str(archive.published),
        "SELECT DISTINCT frame_id FROM predictions WHERE evaluation_id = ?",
        [row["evaluation_id"]],
    )
    return Model(
        str(row["evaluation_id"]),
        task,
        str(row["arm"]),
        int(row["budget"]),
        int(row["seed"]),
        frozenset(frames["frame_id"]),
    )


def predicted_classes(archive: Archive, model: Model, answers: str) -> pd.DataFrame:
    """What the published predictions say of each test frame.

    Returns
    -------
    pandas.DataFrame
        frame_id, and of classes: predicted, confidence, wrong; of masks: jaccard (mean over the structures in either mask).
    """
    rows = query(str(archive.published), "FROM predictions WHERE evaluation_id = ?", [model.evaluation_id])
    if answers == "mask":
        rows = rows[rows["union_pixels"] > 0]
        share = rows["intersection_pixels"].astype(float) / rows["union_pixels"].astype(float)
        return share.groupby(rows["frame_id"]).mean().rename("jaccard").reset_index()
    scores = rows.pivot(index="frame_id", columns="class", values="score").astype(float)
    truth = rows.pivot(index="frame_id", columns="class", values="truth").astype(float)
    if scores.shape[1] == 1:  # of two classes the positive one is kept
        (positive,) = scores.columns
        negative = next(name for name in Catalogue(archive).classes(model.task) if name != positive)
        scores, truth = (
            scores.assign(**{negative: 1 - scores[positive]}),
            truth.assign(**{negative: 1 - truth[positive]}),
        )
    predicted = scores.idxmax(axis=1)
    return pd.DataFrame(
        {
            "frame_id": scores.index,
            "predicted": predicted.to_numpy(),
            "confidence": scores.max(axis=1).to_numpy(),
            "wrong": (predicted != truth.idxmax(axis=1)).to_numpy(),
        }
    )


def predicted_masks(archive: Archive, model: Model, rows: pd.DataFrame) -> np.ndarray:
    """Masks that the model draws, (n, side, side) uint8; none where its weights are of an earlier state.

    Parameters
    ----------
    archive, model
    rows
        Frames, by a column `frame_id`.
    """
    receipt = _weights(archive, model)
    settings = archive.profile.tasks[model.task]
    if receipt is None or rows.empty:
        return np.empty((0, settings.size, settings.size), np.uint8)
    weights = Value(archive.store, {receipt.partition: receipt}).weights("model")
    shown = Catalogue(archive).frames().of(rows[["frame_id"]], model.task)
    drawn = kind_of(settings.kind).predict(weights, shown.pixels(), settings.model_settings, archive.profile.device)
    return np.asarray(drawn, np.uint8)


def _weights(archive: Archive, model: Model) -> Receipt | None:
    table = evaluations_of(archive, model.task).table()
    for row in table[table["evaluation_id"] == model.evaluation_id].itertuples():
        return archive.store.receipts.current(Cell(f"{model.task}/{row.arm}/model", f"{row.budget_key}|{row.seed}"))
    return None
