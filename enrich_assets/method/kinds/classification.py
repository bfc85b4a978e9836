"""View classification: a class per frame, the paper's ResNet, scored by the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from enrich_assets.method.hyperparameters import ClassifierSettings
from enrich_assets.method.kinds.base import Answers, Score, TaskKind, register
from enrich_assets.method.networks.trained import Trained, TrainingOptions

if TYPE_CHECKING:
    import torch

    from enrich_assets.method.statistics.by_patient import LeftOut


class Classification(TaskKind):
    """A class per frame."""

    name = "classification"
    answers = "class"
    metric = "auc"
    metric_label = "AUC"
    network_label = "ResNet"
    model_type = "resnet"
    margin = 0.01
    seconds_per_label = 1.0
    hyperparameters = ClassifierSettings
    needs_labels_to_pool = False
    offers = frozenset({"margins", "features"})

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
        from enrich_assets.method.networks.classification import train_classifier

        return train_classifier(images, answers, n_classes, settings, seed=seed, **options)

    def predict(
        self,
        weights: dict[str, Any],
        images: NDArray[np.uint8],
        settings: Any,
        device: str | torch.device | None = None,
    ) -> NDArray[Any]:
        from enrich_assets.method.networks.classification import predict_classes

        return predict_classes(weights, images, settings, device).astype(np.float64)

    def margins(
        self,
        weights: dict[str, Any],
        images: NDArray[np.uint8],
        settings: Any,
        device: str | torch.device | None = None,
    ) -> NDArray[np.float64]:
        two = np.sort(self.predict(weights, images, settings, device), axis=1)[:, -2:]
        return two[:, 1] - two[:, 0]

    def scores_and_features(
        self,
        weights: dict[str, Any],
        images: NDArray[np.uint8],
        settings: Any,
        device: str | torch.device | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        from enrich_assets.method.networks.classification import predict_features

        scores, features = predict_features(weights, images, settings, device)
        return scores.astype(np.float64), features.astype(np.float64)

    def possible_answers(self, images: NDArray[np.uint8], n_classes: int) -> Answers:
        return np.arange(len(images)) % n_classes

    def score(
        self, predicted: NDArray[Any], truth: Answers, patients: NDArray[Any], classes: tuple[str, ...], positive: str
    ) -> Score:
        """AUC of the positive of two classes, else the mean of the one-against-rest AUCs; see `TaskKind.score`.

        Predictions: `truth` (0/1, int64) and `score` (float64), for each class that was scored.
        """
        from enrich_assets.method.statistics.intervals import auc_interval
        from enrich_assets.method.statistics.metrics import auc, macro_auc

        scored = [classes.index(positive)] if len(classes) == 2 else list(range(len(classes)))
        is_class = np.stack([truth == code for code in scored], axis=1)
        if len(scored) == 1:
            value = auc(is_class[:, 0], predicted[:, scored[0]])
            interval = auc_interval(is_class[:, 0], predicted[:, scored[0]], patients)
        else:
            value = macro_auc(truth, predicted)
            interval = auc_interval(is_class.astype(int), predicted, patients)
        of_class = [
            pd.DataFrame(
                {
                    "row": np.arange(len(truth), dtype=np.int64),
                    "class": classes[code],
                    "truth": is_class[:, k].astype("int64"),
                    "score": predicted[:, code],
                }
            )
            for k, code in enumerate(scored)
        ]
        return Score(float(value), float(interval.low), float(interval.high), pd.concat(of_class, ignore_index=True))

    def progress_made(self, predicted: NDArray[Any], truth: Answers, n_classes: int) -> dict[str, float]:
        """Mean log-likelihood of the true class (nats), and the mean AUC of the classes that some frames are of and others not."""
        from enrich_assets.method.statistics.metrics import auc

        of_truth = np.take_along_axis(predicted, np.asarray(truth)[:, None], axis=1)[:, 0]
        found = {"log_likelihood": float(np.log(np.maximum(of_truth, 1e-6)).mean())}
        ranked = [code for code in range(n_classes) if 0 < (truth == code).sum() < len(truth)]
        if ranked:
            found["auc"] = float(np.mean([auc(truth == code, predicted[:, code]) for code in ranked]))
        return found

    def value_of(self, predictions: pd.DataFrame) -> float:
        from enrich_assets.method.statistics.metrics import auc

        # The mean by numpy, as `macro_auc` takes it: from nine classes on a plain sum may round otherwise.
        by_class = predictions.groupby("class", sort=False)
        return float(np.mean([auc(group["truth"], group["score"]) for _, group in by_class]))

    def left_out(self, predictions: pd.DataFrame, patients: NDArray[Any]) -> LeftOut:
        """Each class's rows name the same frames in the same order; see `TaskKind.left_out`."""
        from enrich_assets.method.statistics.by_patient import auc_left_out

        classes = predictions["class"].to_numpy()
        of_class = [classes == name for name in dict.fromkeys(classes)]
        truth, score = (
            np.stack([predictions[column].to_numpy()[rows] for rows in of_class], axis=1)
            for column in ("truth", "score")
        )
        return auc_left_out(truth, score, patients[of_class[0]])

    def why_not_scorable(self, labels: pd.Series, classes: tuple[str, ...]) -> str | None:
        why = super().why_not_scorable(labels, classes)
        absent = [name for name in classes if not (labels == name).any()]
        if why is None and absent:
            return (
                f"no test frame is labelled {', '.join(absent)}, so there is no {self.metric_label}; set split=test for "
                "patients that have such frames, or raise split.test_share"
            )
        return why

    def class_names(self, named: tuple[str, ...] | None, found: Iterable[str], highest: int) -> tuple[str, ...]:
        """The profile's, else those found, in alphabetical order."""
        return named if named is not None else tuple(sorted(set(found)))


register(Classification())
