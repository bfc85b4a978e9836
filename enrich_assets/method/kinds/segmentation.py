"""Segmentation: a mask per frame, the paper's U-Net, scored by the mean Jaccard over the structures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from enrich_assets.method.hyperparameters import SegmenterSettings
from enrich_assets.method.kinds.base import Answers, Score, TaskKind, register
from enrich_assets.method.networks.trained import Trained, TrainingOptions

if TYPE_CHECKING:
    import torch

    from enrich_assets.method.statistics.by_patient import LeftOut


class Segmentation(TaskKind):
    """A class per pixel; class 0 is the background."""

    name = "segmentation"
    answers = "mask"
    metric = "jaccard"
    metric_label = "Jaccard"
    network_label = "U-Net"
    model_type = "unet"
    margin = 0.02
    seconds_per_label = 300.0
    hyperparameters = SegmenterSettings
    needs_labels_to_pool = True
    offers = frozenset({"margins"})

    def fit(
        self,
        images: NDArray[np.uint8],
        answers: Answers,
        n_classes: int,
        settings: Any,
        *,
        seed: int,
        **options: Unpack[TrainingOptions],
    ) -> Trained:
        from enrich_assets.method.networks.segmentation import train_segmenter

        return train_segmenter(images, answers, n_classes, settings, seed=seed, **options)

    def predict(
        self,
        weights: dict[str, Any],
        images: NDArray[np.uint8],
        settings: Any,
        device: str | torch.device | None = None,
    ) -> NDArray[Any]:
        from enrich_assets.method.networks.segmentation import predict_masks

        return predict_masks(weights, images, settings, device)

    def margins(
        self,
        weights: dict[str, Any],
        images: NDArray[np.uint8],
        settings: Any,
        device: str | torch.device | None = None,
    ) -> NDArray[np.float64]:
        from enrich_assets.method.networks.segmentation import predict_margins

        return predict_margins(weights, images, settings, device)

    def possible_answers(self, images: NDArray[np.uint8], n_classes: int) -> Answers:
        return images % n_classes

    def score(
        self, predicted: NDArray[Any], truth: Answers, patients: NDArray[Any], classes: tuple[str, ...], positive: str
    ) -> Score:
        """Jaccard over the structures of a frame, then over the frames; see `TaskKind.score`.

        Predictions: `intersection_pixels` and `union_pixels` (int64), for each structure. `positive` plays no part.
        """
        from enrich_assets.method.statistics.intervals import jaccard_interval
        from enrich_assets.method.statistics.metrics import frame_jaccard, jaccard, jaccard_counts

        intersections, unions = jaccard_counts(truth, predicted, len(classes))
        interval = jaccard_interval(frame_jaccard(intersections, unions), patients)
        of_structure = [
            pd.DataFrame(
                {
                    "row": np.arange(len(truth), dtype=np.int64),
                    "class": structure,
                    "intersection_pixels": intersections[:, k],
                    "union_pixels": unions[:, k],
                }
            )
            for k, structure in enumerate(classes[1:])
        ]
        return Score(
            float(jaccard(intersections, unions)),
            float(interval.low),
            float(interval.high),
            pd.concat(of_structure, ignore_index=True),
        )

    def progress_made(self, predicted: NDArray[Any], truth: Answers, n_classes: int) -> dict[str, float]:
        """Jaccard; 1 where neither truth nor prediction holds a structure."""
        from enrich_assets.method.statistics.metrics import jaccard, jaccard_counts

        intersections, unions = jaccard_counts(truth, predicted, n_classes)
        return {"jaccard": float(jaccard(intersections, unions)) if unions.any() else 1.0}

    def value_of(self, predictions: pd.DataFrame) -> float:
        from enrich_assets.method.statistics.metrics import jaccard

        return float(jaccard(*_counts(predictions)))

    def left_out(self, predictions: pd.DataFrame, patients: NDArray[Any]) -> LeftOut:
        """Of the mean over frames; see `TaskKind.left_out`."""
        from enrich_assets.method.statistics.by_patient import mean_left_out
        from enrich_assets.method.statistics.metrics import frame_jaccard

        first = ~predictions.duplicated(_frame_column(predictions)).to_numpy()
        return mean_left_out(frame_jaccard(*_counts(predictions)), patients[first])

    def class_names(self, named: tuple[str, ...] | None, found: Iterable[str], highest: int) -> tuple[str, ...]:
        """The profile's, else the background and a number for each class index among the masks."""
        return named if named is not None else ("background", *(f"class_{i}" for i in range(1, highest + 1)))


def _frame_column(predictions: pd.DataFrame) -> str:
    return "frame_id" if "frame_id" in predictions else "row"


def _counts(predictions: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels in the intersections and in the unions, (frames, structures), in the order of the rows."""
    frame = _frame_column(predictions)
    frames = list(dict.fromkeys(predictions[frame]))
    structures = list(dict.fromkeys(predictions["class"]))
    intersections, unions = (
        predictions.pivot(index=frame, columns="class", values=column).loc[frames, structures].to_numpy()
        for column in ("intersection_pixels", "union_pixels")
    )
    return intersections, unions


register(Segmentation())
