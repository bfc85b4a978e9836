"""What a kind of task answers, alike for each; and that a further kind is one further file."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from enrich_assets.method import kinds
from enrich_assets.method.hyperparameters import ClassifierSettings, SegmenterSettings
from enrich_assets.method.kinds import base, kind_names, kind_of, kind_of_metric, register
from enrich_assets.method.kinds.base import TIMED_STEPS
from enrich_assets.method.kinds.classification import Classification
from enrich_assets.method.networks.trained import Trained

SMALL = {
    "classification": ClassifierSettings(widths=(4, 4, 8, 8), dense=8, batch_size=5, epochs=99, min_steps=99),
    "segmentation": SegmenterSettings(channels=(4, 8), batch_size=5, epochs=99, min_steps=99),
}


@pytest.fixture
def fresh_register(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(base, "_KINDS", dict(base._KINDS))


# ------------------------------------------------------------------------------------------------- the register


def test_two_kinds_are_built_in_with_the_papers_defaults() -> None:
    assert kind_names() == ("classification", "segmentation")
    views, structures = kind_of("classification"), kind_of("segmentation")
    assert (views.answers, views.metric, views.metric_label, views.network_label, views.model_type) == (
        "class", "auc", "AUC", "ResNet", "resnet",
    )  # fmt: skip
    assert (structures.answers, structures.metric, structures.metric_label) == ("mask", "jaccard", "Jaccard")
    assert (structures.network_label, structures.model_type) == ("U-Net", "unet")
    assert (views.margin, structures.margin) == (0.01, 0.02)
    assert (views.seconds_per_label, structures.seconds_per_label) == (1.0, 300.0)
    assert (views.hyperparameters, structures.hyperparameters) == (ClassifierSettings, SegmenterSettings)
    assert (views.needs_labels_to_pool, structures.needs_labels_to_pool) == (False, True)
    assert kind_of_metric("jaccard") is structures


def test_an_unknown_kind_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="'detection'; there are classification, segmentation"):
        kind_of("detection")
    with pytest.raises(ValueError, match="'dice'"):
        kind_of_metric("dice")


def test_the_kinds_load_neither_torch_nor_scipy() -> None:
    code = "import sys, enrich_assets.method.kinds; print([m for m in ('torch', 'scipy', 'cv2', 'dagster') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ------------------------------------------------------------------------------------------- a further kind of task


@dataclass(frozen=True)
class BrightnessSettings:
    """Of a toy: it learns one number per class."""

    epochs: int = 1
    min_steps: int = 0
    batch_size: int = 4
    learning_rate: float = 1.0
    lr_milestones: tuple[tuple[int, float], ...] = ()


class Brightness(Classification):
    """Two classes told apart by the mean brightness of a frame: all that it changes is the network."""

    name = "brightness"
    network_label = "threshold"
    model_type = "threshold"
    hyperparameters = BrightnessSettings

    def fit(self, images, answers, n_classes, settings, *, seed, **options) -> Trained:  # type: ignore[no-untyped-def]
        means = [images[answers == code].mean() for code in range(n_classes)]
        return Trained({"means": np.array(means)}, [{"epoch": 0.0, "loss": 0.0}], "cpu")

    def predict(self, weights, images, settings, device=None) -> np.ndarray:  # type: ignore[no-untyped-def]
        distance = np.abs(images.mean(axis=(1, 2))[:, None] - weights["means"][None, :])
        return -distance / distance.sum(axis=1, keepdims=True)


@pytest.mark.usefixtures("fresh_register")
def test_a_toy_kind_is_trained_and_scored_like_the_others() -> None:
    register(Brightness())
    register(Brightness())  # a module read twice
    assert kind_names() == ("brightness", "classification", "segmentation")
    kind, settings = kind_of("brightness"), BrightnessSettings()
    truth = np.arange(12) % 2
    images = (np.ones((12, 8, 8)) * (50 + 100 * truth)[:, None, None]).astype(np.uint8)
    trained = kind.fit(images, truth, 2, settings, seed=0)
    score = kind.score(
        kind.predict(trained.weights, images, settings), truth, np.arange(12) // 4, ("dark", "light"), "light"
    )
    assert score.value == 1.0
    assert kind.value_of(score.predictions) == 1.0
    assert kind.presentations(settings, 12) == 12.0
    ticks = count()
    assert kind.seconds_per_frame(settings, 8, 2, lambda: float(next(ticks))) == 1 / (TIMED_STEPS * 4)


@pytest.mark.usefixtures("fresh_register")
def test_two_kinds_of_one_name_are_refused() -> None:
    class Impostor(Brightness):
        name = "classification"

    with pytest.raises(ValueError, match="name of Classification already"):
        register(Impostor())


@pytest.mark.usefixtures("fresh_register")
def test_a_file_in_the_folder_is_all_that_a_kind_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(
        "from enrich_assets.method.kinds.base import register\n"
        "from enrich_assets_tests.method.kinds.test_kinds import Brightness\n"
        "class Toy(Brightness):\n    name = 'toy'\n"
        "register(Toy())\n"
    )
    folder = [*kinds.__path__, str(tmp_path)]
    monkeypatch.setattr(kinds, "__path__", folder)
    monkeypatch.delitem(sys.modules, "enrich_assets.method.kinds.toy", raising=False)
    try:
        kinds.load(folder)
        assert kind_of("toy").answers == "class"
    finally:
        sys.modules.pop("enrich_assets.method.kinds.toy", None)
    importlib.invalidate_caches()


# ----------------------------------------------------------------------------------------------- alike for each kind


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_second_for_three_batches_is_shared_by_their_frames(name: str) -> None:
    ticks = count()
    found = kind_of(name).seconds_per_frame(SMALL[name], 32, 3, lambda: float(next(ticks)), "cpu")
    assert found == pytest.approx(1 / (TIMED_STEPS * 5))


def test_frames_are_shown_once_an_epoch_or_for_as_many_steps_as_are_asked() -> None:
    settings = ClassifierSettings(epochs=10, min_steps=100, batch_size=32)
    assert kind_of("classification").presentations(settings, 1000) == 10_000.0
    assert kind_of("classification").presentations(settings, 100) == 3200.0


def test_a_kind_trains_and_predicts_as_its_network_does() -> None:
    from enrich_assets.method.networks.classification import predict_classes, train_classifier
    from enrich_assets.method.networks.segmentation import predict_masks, train_segmenter

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 16, 16), dtype=np.uint8)
    cases: list[tuple[str, Any, Any, Any]] = [
        ("classification", rng.integers(0, 2, 10), train_classifier, predict_classes),
        ("segmentation", images // 128, train_segmenter, predict_masks),
    ]
    for name, answers, train, predict in cases:
        settings = kind_of(name).hyperparameters(
            epochs=1, **({"widths": (4, 8)} if name == "classification" else {"channels": (4, 8)})
        )
        one = train(images, answers, 2, settings, seed=1, device="cpu")
        other = kind_of(name).fit(images, answers, 2, settings, seed=1, device="cpu")
        for weight, value in one.weights.items():
            np.testing.assert_array_equal(value, other.weights[weight])
        predicted = kind_of(name).predict(one.weights, images, settings, "cpu")
        np.testing.assert_array_equal(predicted, predict(one.weights, images, settings, "cpu"))
        assert predicted.dtype == {"classification": np.float64, "segmentation": np.uint8}[name]


# ----------------------------------------------------------------------------------------------------- classification


def scored_classes(n_classes: int, n: int = 90) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    rng = np.random.default_rng(n_classes)
    truth = np.arange(n) % n_classes
    predicted = np.eye(n_classes)[truth] + rng.normal(0, 1, (n, n_classes))
    return predicted, truth, np.arange(n) // 10, tuple(f"view{i}" for i in range(n_classes))


def test_of_two_classes_the_positive_is_published() -> None:
    predicted, truth, patients, classes = scored_classes(2)
    score = kind_of("classification").score(predicted, truth, patients, classes, "view0")
    table = score.predictions
    assert list(table.columns) == ["row", "class", "truth", "score"]
    assert [str(table[c].dtype) for c in ("row", "truth", "score")] == ["int64", "int64", "float64"]
    assert table["row"].tolist() == list(range(90))
    assert set(table["class"]) == {"view0"}
    np.testing.assert_array_equal(table["truth"], truth == 0)
    np.testing.assert_array_equal(table["score"], predicted[:, 0])
    assert score.low < score.value < score.high


@pytest.mark.parametrize("n_classes", [2, 3, 10, 17])
def test_the_auc_of_the_published_predictions_is_the_value_bit_for_bit(n_classes: int) -> None:
    predicted, truth, patients, classes = scored_classes(n_classes, 40 * n_classes)
    score = kind_of("classification").score(predicted, truth, patients, classes, classes[-1])
    shuffled = score.predictions.drop(columns="row").assign(frame_id="f")
    assert kind_of("classification").value_of(shuffled) == score.value
    assert list(dict.fromkeys(score.predictions["class"])) == list(classes[-1:] if n_classes == 2 else classes)


def test_a_test_set_that_cannot_be_scored_says_why() -> None:
    why = kind_of("classification").why_not_scorable
    both = pd.Series(["a", "b", "a"])
    assert why(both, ("a", "b")) is None
    assert "no labelled frame belongs to a test patient" in str(why(both.head(0), ("a", "b")))
    assert "only 1 class among the labels; a model needs two" in str(why(both, ("a",)))
    assert "no test frame is labelled c, d, so there is no AUC" in str(why(both, ("a", "b", "c", "d")))


def test_classes_are_the_profiles_or_those_found_in_alphabetical_order() -> None:
    kind = kind_of("classification")
    assert kind.class_names(None, ["b", "a", "b"], 0) == ("a", "b")
    assert kind.class_names(("z", "a"), ["b"], 0) == ("z", "a")
    codes = kind.class_codes(pd.Series(["a", "z", "?"]), ("z", "a"))
    assert codes.tolist() == [1, 0, -1]
    assert codes.dtype == np.int64


# ------------------------------------------------------------------------------------------------------- segmentation


def test_jaccard_by_hand_and_from_the_published_pixels() -> None:
    """Frame 0: structure a overlaps in 1 of 3 pixels, b is missed; frame 1: a is perfect, b in neither."""
    truth = np.array([[[1, 1, 0], [0, 2, 0]], [[1, 0, 0], [0, 0, 0]]], np.uint8)
    predicted = np.array([[[0, 1, 1], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]], np.uint8)
    kind = kind_of("segmentation")
    score = kind.score(predicted, truth, np.array(["p", "q"]), ("background", "a", "b"), "b")
    assert score.value == pytest.approx(((1 / 3 + 0) / 2 + 1) / 2)
    table = score.predictions
    assert list(table.columns) == ["row", "class", "intersection_pixels", "union_pixels"]
    assert table["row"].tolist() == [0, 1, 0, 1]
    assert table["class"].tolist() == ["a", "a", "b", "b"]
    assert table["intersection_pixels"].tolist() == [1, 1, 0, 0]
    assert table["union_pixels"].tolist() == [3, 1, 1, 0]
    assert {str(table[c].dtype) for c in ("row", "intersection_pixels", "union_pixels")} == {"int64"}
    published = table.assign(frame_id=table["row"].map({0: "z", 1: "a"})).drop(columns="row")
    assert kind.value_of(table) == kind.value_of(published) == score.value


def test_masks_need_a_test_frame_and_a_structure() -> None:
    why = kind_of("segmentation").why_not_scorable
    masks = pd.Series([None, None], dtype="string")
    assert why(masks, ("background", "a")) is None
    assert "no labelled frame" in str(why(masks.head(0), ("background", "a")))
    assert "only 1 class" in str(why(masks, ("background",)))


def test_classes_of_masks_are_numbered_where_the_profile_names_none() -> None:
    kind = kind_of("segmentation")
    assert kind.class_names(None, [], 2) == ("background", "class_1", "class_2")
    assert kind.class_names(("bg", "heart"), [], 2) == ("bg", "heart")
    with pytest.raises(TypeError, match="mask"):
        kind.class_codes(pd.Series(["a"]), ("a", "b"))
