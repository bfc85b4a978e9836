"""Rules that see labels: each against its definition, labels only of chosen frames, and growth that survives interruption."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.hyperparameters import ClassifierSettings, SegmenterSettings
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.kinds.base import TaskKind
from enrich_assets.method.networks.trained import Trained
from enrich_assets.method.ranking.acquisition import LabelAwareRule, Purchases, Scores, grow, trainings
from enrich_assets.method.ranking.acquisition.badge import spread, squared_distances, squared_lengths
from enrich_assets.method.ranking.clusters import draw
from enrich_assets.method.ranking.rules import Candidates, rank_frames, rule_named, rule_names

few = settings(max_examples=15, derandomize=True, deadline=None)
AWARE = ("badge", "coreset-features", "margin")


def rule(name: str) -> LabelAwareRule:
    found = rule_named(name)
    assert isinstance(found, LabelAwareRule)
    return found


@dataclass
class Seen:
    """A view whose network says what is put into it, by position in the pool."""

    margin: np.ndarray = field(default_factory=lambda: np.zeros(0))
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    features: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    def margins(self, frames: np.ndarray) -> np.ndarray:
        return self.margin[frames]

    def scores(self, frames: np.ndarray) -> Scores:
        probabilities = self.probabilities if len(self.probabilities) else np.ones((len(self.features), 1))
        return Scores(probabilities[frames], self.features[frames])


@dataclass
class Rote:
    """A learner whose weights are the sum of the labels it was given, on which hangs whatever it says of a frame."""

    def fit(
        self, images: np.ndarray, answers: np.ndarray, n_classes: int, settings: Any, *, seed: int, **_: Any
    ) -> Trained:
        return Trained({"sum": np.array([int(answers.sum())])}, [], "cpu")

    def margins(self, weights: Any, images: np.ndarray, settings: Any, device: Any = None) -> np.ndarray:
        return ((images[:, 0, 0].astype(np.int64) * 7 + int(weights["sum"][0])) % 11).astype(float)

    def scores_and_features(self, weights: Any, images: np.ndarray, settings: Any, device: Any = None) -> Any:
        margin = self.margins(weights, images, settings) / 22
        features = images.reshape(len(images), -1).astype(np.int64) * (int(weights["sum"][0]) + 1) % 13
        return np.stack([0.5 + margin, 0.5 - margin], axis=1), features.astype(float)


def purchases(n: int, asked: list[list[int]], answers: np.ndarray) -> Purchases:
    frames = np.random.default_rng(0).integers(0, 200, (n, 2, 2)).astype(np.uint8)

    def bought(positions: np.ndarray) -> np.ndarray:
        asked.append(positions.tolist())
        return answers[positions]

    return Purchases(lambda at: frames[at], bought, n, 2, Rote(), None)


# ----------------------------------------------------------------------------------------------------------- the rules


def test_they_are_named_so_and_kept_apart() -> None:
    assert tuple(name for name in rule_names() if rule_named(name).sees_labels) == AWARE
    for name in AWARE:
        with pytest.raises(ValueError, match="sees labels"):
            rank_frames(name, "cosine", Candidates(embeddings=np.zeros((2, 2), np.int16)), [], 1)


def test_margin_takes_the_least_decided_first_and_ties_by_index() -> None:
    margin = np.array([0.9, 0.1, 0.5, 0.1, 0.0, 0.5])
    found = rule("margin").choose(Seen(margin=margin), np.array([4]), np.array([0, 1, 2, 3, 5]), 4, seed=0)
    assert found.tolist() == [1, 3, 2, 5]


@few
@given(st.integers(0, 10**6))
def test_coreset_takes_the_furthest_from_all_chosen(seed: int) -> None:
    features = np.random.default_rng(seed).integers(-4, 5, (24, 3)).astype(float)
    chosen, free, known = [3, 8], [i for i in range(24) if i not in (3, 8)], []
    for _ in range(10):
        taken = chosen + known
        far = {i: min(((features[i] - features[c]) ** 2).sum() for c in taken) for i in free if i not in known}
        known.append(min(far, key=lambda i: (-far[i], i)))
    found = rule("coreset-features").choose(Seen(features=features), np.array(chosen), np.array(free), 10, seed=0)
    assert found.tolist() == known


def test_coreset_is_that_of_scikit_activeml() -> None:
    from skactiveml.pool import CoreSet

    features, y = np.random.default_rng(3).standard_normal((60, 5)), np.full(60, np.nan)
    y[[3, 8]] = 0
    free = np.flatnonzero(np.isnan(y))
    found = rule("coreset-features").choose(Seen(features=features), np.array([3, 8]), free, 20, seed=0)
    assert found.tolist() == CoreSet(random_state=0).query(features, y, batch_size=20).tolist()


@few
@given(st.integers(0, 10**6))
def test_badge_is_k_means_plus_plus_on_the_gradients_written_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    error, features = rng.integers(-3, 4, (20, 3)).astype(float), rng.integers(-3, 4, (20, 4)).astype(float)
    gradients = (error[:, :, None] * features[:, None, :]).reshape(20, 12)
    known = [int((gradients**2).sum(axis=1).argmax())]
    while len(known) < 8:
        near = [min(((g - gradients[c]) ** 2).sum() for c in known) for g in gradients]
        if not sum(near):
            known.append(min(i for i in range(20) if i not in known))
            continue
        height = draw(1 << 53, "badge", seed, 5, len(known)) / (1 << 53) * sum(near)
        known.append(next(i for i in range(20) if sum(near[: i + 1]) > height))
    assert spread(error, features, 8, seed, 5).tolist() == known


def test_badge_measures_as_scikit_activeml_does() -> None:
    """The same first pick, and the same distances from it (of which scikit-activeml takes the lesser of that and of the
    gradient's own length, where the authors' code and ours take the distance)."""
    from skactiveml.classifier import ParzenWindowClassifier
    from skactiveml.pool import Badge

    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((40, 3)), np.full(40, np.nan)
    y[:6] = [0, 1, 2, 0, 1, 2]
    classifier = ParzenWindowClassifier(classes=[0, 1, 2], random_state=0).fit(x, y)
    picks, chances = Badge(random_state=0).query(x, y, classifier, fit_clf=False, batch_size=2, return_utilities=True)
    free = np.flatnonzero(np.isnan(y))
    error = classifier.predict_proba(x[free])
    error[np.arange(len(free)), error.argmax(axis=1)] -= 1
    [first] = spread(error, x[free], 1, 0, 0)
    assert free[first] == picks[0]
    lengths = squared_lengths(error, x[free])
    far = np.minimum(squared_distances(error, x[free], lengths, int(first)), lengths)
    seen = np.isfinite(chances[1][free])
    assert np.allclose((far / far.sum())[seen], chances[1][free][seen])


def test_badge_is_drawn_by_the_seed() -> None:
    rng = np.random.default_rng(1)
    seen = Seen(probabilities=rng.dirichlet([1, 1, 1], 50), features=rng.standard_normal((50, 4)))
    of_seeds = [rule("badge").choose(seen, np.array([0]), np.arange(1, 50), 9, seed=s).tolist() for s in (0, 0, 1)]
    assert of_seeds[0] == of_seeds[1] != of_seeds[2]
    assert len(set(of_seeds[0])) == 9


# ---------------------------------------------------------------------------------------------------------- the growth


@pytest.mark.parametrize("name", AWARE)
def test_labels_are_asked_of_frames_already_chosen_and_of_no_other(name: str) -> None:
    asked: list[list[int]] = []
    answers = np.arange(40) % 2
    order = grow(rule(name), purchases(40, asked, answers), np.array([7, 2, 30]), [10, 3, 18, 18, 25], seed=1)
    assert (
        asked
        == [order[:n].tolist() for n in (3, 10, 18)]
        == [order[:n].tolist() for n in trainings(3, [10, 3, 18, 25])]
    )
    assert order[:3].tolist() == [7, 2, 30]
    assert len(set(order.tolist())) == len(order) == 25
    poisoned = answers.copy()
    poisoned[np.setdiff1d(np.arange(40), order[:18])] = 10**6
    assert (
        grow(rule(name), purchases(40, [], poisoned), np.array([7, 2, 30]), [10, 18, 25], seed=1).tolist()
        == order.tolist()
    )
    told = answers.copy()
    told[order[3:10]] += 1
    assert (
        grow(rule(name), purchases(40, [], told), np.array([7, 2, 30]), [10, 18, 25], seed=1).tolist() != order.tolist()
    )


def test_budgets_already_bought_train_nothing() -> None:
    asked: list[list[int]] = []
    assert grow(rule("margin"), purchases(9, asked, np.zeros(9)), np.array([4, 1]), [1, 2], seed=0).tolist() == [4, 1]
    assert asked == []
    with pytest.raises(ValueError, match="no frame to train on"):
        grow(rule("margin"), purchases(9, asked, np.zeros(9)), np.empty(0, np.int64), [2], seed=0)
    with pytest.raises(ValueError, match="more than the pool's 9"):
        grow(rule("margin"), purchases(9, asked, np.zeros(9)), np.array([1]), [10], seed=0)


TINY = ClassifierSettings(widths=(4, 4), dense=6, epochs=3, min_steps=0, batch_size=4, lr_milestones=())


def of_kind(kind: TaskKind, settings: Any) -> Purchases:
    images = np.random.default_rng(2).integers(0, 256, (30, 16, 16)).astype(np.uint8)
    answers = kind.possible_answers(images, 3)
    return Purchases(lambda at: images[at], lambda at: answers[at], 30, 3, kind, settings, "cpu")


class Stopped(RuntimeError):
    pass


@pytest.mark.parametrize("name", AWARE)
def test_an_interrupted_growth_goes_on_where_it_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enrich_assets.method.networks.training.CHECKPOINT_STEPS", 1)
    pool = of_kind(kind_of("classification"), TINY)
    start = np.array([3, 9, 1, 20])
    whole = grow(rule(name), pool, start, [8, 12, 16], seed=0).tolist()
    kept: list[bytes] = []

    def stop_at(n: int, then: bytes | None) -> None:
        def save(content: bytes) -> None:
            kept.append(content)
            if len(kept) == n:
                raise Stopped

        with pytest.raises(Stopped):
            grow(rule(name), pool, start, [8, 12, 16], seed=0, resume=then, save=save)

    stop_at(2, None)  # within the first training
    stop_at(5, kept[-1])  # within the second
    trained: list[int] = []

    def watched(n: int) -> Any:
        trained.append(n)
        return nullcontext(lambda *_: None)

    assert grow(rule(name), pool, start, [8, 12, 16], seed=0, resume=kept[-1], progress=watched).tolist() == whole
    assert trained == [8, 12], "the first training was not done again"


# -------------------------------------------------------------------------------------------------- what kinds offer


def test_a_classifier_shows_what_its_last_layer_sees() -> None:
    kind = kind_of("classification")
    pool = of_kind(kind, TINY)
    everybody = np.arange(30)
    images = pool.images(everybody)
    weights = kind.fit(images, pool.labels(everybody), 3, TINY, seed=0, device="cpu").weights
    scores, features = kind.scores_and_features(weights, images, TINY, "cpu")
    assert scores.tolist() == kind.predict(weights, images, TINY, "cpu").tolist()
    logits = features @ weights["resnet.head.weight"].astype(float).T + weights["resnet.head.bias"]
    by_hand = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(by_hand, scores, atol=1e-5)
    ordered = np.sort(scores, axis=1)
    assert kind.margins(weights, images, TINY, "cpu").tolist() == (ordered[:, 2] - ordered[:, 1]).tolist()


def test_a_segmenter_is_as_decided_as_its_pixels_are_on_average() -> None:
    import torch

    from enrich_assets.method.networks.repeatable import load_arrays
    from enrich_assets.method.networks.segmentation import shape_of
    from enrich_assets.method.networks.unet import UNet

    kind, tiny = kind_of("segmentation"), SegmenterSettings(channels=(4, 8), epochs=1, batch_size=4, lr_milestones=())
    pool = of_kind(kind, tiny)
    images = pool.images(np.arange(6))
    weights = kind.fit(images, pool.labels(np.arange(6)), 3, tiny, seed=0, device="cpu").weights
    network = load_arrays(UNet(shape_of(tiny, 3)), weights).eval()
    with torch.inference_mode():
        logits = network(torch.from_numpy(images).float().unsqueeze(1) / 255).double().numpy()
    p = np.sort(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), axis=1)
    assert np.allclose(kind.margins(weights, images, tiny, "cpu"), (p[:, 2] - p[:, 1]).mean(axis=(1, 2)), atol=1e-5)
    with pytest.raises(ValueError, match="does not show the features"):
        kind.scores_and_features(weights, images, tiny, "cpu")
