"""How long to train: found on held-out patients of the pool, the same for every budget, before any arm is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from enrich_assets.method.hyperparameters import ClassifierSettings, SearchSettings, SegmenterSettings
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.networks.length import (
    find_length,
    first_share,
    half_as_long,
    held_out_frames,
    loss_fall_share,
)
from enrich_assets.method.networks.schedule import Schedule
from enrich_assets.method.networks.trained import Trained
from enrich_assets.method.statistics.adequacy import CONVERGED_FALL

QUICK = examples(derandomize=True, deadline=None, max_examples=150)


@dataclass
class Rehearsed:
    """A kind of task whose held-out measures are given, one after the other; it notes what it was asked to fit."""

    measures: list[dict[str, float]]
    losses: list[float] = field(default_factory=list)  # of its training, one for every five steps
    asked: dict[str, Any] = field(default_factory=dict)

    def fit(self, images: Any, answers: Any, n_classes: int, settings: Any, *, seed: int, **options: Any) -> Trained:
        self.asked = {"images": images, "settings": settings, "steps": 0}
        for step in range(1, settings.steps + 1):
            self.asked["steps"] = step
            if self.losses and step % 5 == 0:
                options["progress"](step, settings.steps, {"loss": self.losses.pop(0)})
            if step % options["watch_every"] == 0 and options["watch"](step, {}):
                break
        return Trained({}, [], "cpu")

    def predict(self, weights: Any, images: Any, settings: Any, device: Any = None) -> Any:
        self.asked["watched"] = images
        return images

    def progress_made(self, predicted: Any, truth: Any, n_classes: int) -> dict[str, float]:
        return self.measures.pop(0)


def pool(n_patients: int, frames: int = 4) -> tuple[Any, Any, Any]:
    """Images that hold the number of their patient; two classes by patient."""
    patients = np.repeat(np.arange(n_patients), frames)
    images = np.broadcast_to(patients[:, None, None], (len(patients), 2, 2)).astype(np.uint8)
    return images, patients % 2, patients


def searching(**more: Any) -> ClassifierSettings:
    search = SearchSettings(max_steps=1000, evaluate_every=10, patience=3, held_out_share=0.25)
    return ClassifierSettings(**{"search": search, "lr_milestones": ((0.5, 1e-4),), **more})


def test_the_search_ends_after_its_patience_and_the_milestones_follow_the_best_step() -> None:
    kind = Rehearsed([{"a": value} for value in (0.1, 0.5, 0.8, 0.8, 0.7, 0.8, 0.99)])
    found = find_length(kind, *pool(8), 2, searching())
    assert (found.best_step, found.stopped, kind.asked["steps"]) == (30, True, 60)
    assert found.steps == 60  # the first rate for 30 steps, which is half of a training
    assert [entry["step"] for entry in found.curve] == [10, 20, 30, 40, 50, 60]
    assert kind.asked["settings"].lr_milestones == ()


def test_any_measure_that_improves_keeps_the_search_going_but_not_by_a_hair() -> None:
    either = [{"a": 0.5, "b": b} for b in (0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4)]
    assert find_length(Rehearsed(either), *pool(8), 2, searching()).best_step == 40
    hair = [{"a": 0.5 + 0.001 * min(k, 8)} for k in range(20)]  # more than 0.002 over the best only at every third look
    assert find_length(Rehearsed(hair), *pool(8), 2, searching(min_steps=0)).best_step == 70


def test_the_search_goes_on_beyond_its_best_step_in_proportion_to_it() -> None:
    """Steps at a rest of 3 looks or more: a short rest early on, a long one later, and then a gain that came after it."""
    late = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6, 0.7]  # best at the 6th look, better again at the 10th
    ends = {}
    for beyond in (1.0, 1.5, 2.0):
        search = SearchSettings(max_steps=1000, evaluate_every=10, patience=3, beyond_best=beyond)
        kind = Rehearsed([{"a": value} for value in late + [0.7] * 40])
        found = find_length(kind, *pool(8), 2, searching(search=search))
        ends[beyond] = (found.best_step, kind.asked["steps"], found.stopped)
    assert ends == {1.0: (60, 90, True), 1.5: (60, 90, True), 2.0: (100, 200, True)}


def test_the_search_goes_on_while_the_training_loss_falls_though_four_patients_see_nothing_of_it() -> None:
    """Lung clips of 47 patients: the four held out were classified as well after 50 steps as ever; the whole pool's AUC rose until 400."""
    flat, falling = [{"a": 0.9}] * 40, [2.0**-k for k in range(80)]  # by half, every five steps
    still = find_length(Rehearsed(flat.copy(), [1.0] * 80), *pool(8), 2, searching())
    assert (still.best_step, still.stopped) == (10, True)
    kind = Rehearsed(flat.copy(), falling)
    found = find_length(kind, *pool(8), 2, searching())
    shares = {
        s: loss_fall_share([{"loss": loss} for loss in [2.0**-k for k in range(s // 5)]]) for s in range(20, 90, 10)
    }
    last = max(step for step, share in shares.items() if share > CONVERGED_FALL)
    assert 20 < found.best_step == last
    assert found.steps == 2 * last
    assert kind.asked["steps"] == last + 30


def test_the_bound_holds_in_steps_and_is_said() -> None:
    rising = Rehearsed([{"a": k / 100} for k in range(100)])
    found = find_length(rising, *pool(8), 2, searching())
    assert (found.steps, found.stopped, rising.asked["steps"]) == (1000, False, 500)


def test_a_search_that_is_cut_off_before_its_patience_is_over_takes_the_bound() -> None:
    found = find_length(
        Rehearsed([{"a": 0.5}] * 50), *pool(8), 2, searching(search=SearchSettings(max_steps=100, evaluate_every=20))
    )
    assert (found.best_step, found.steps, found.stopped) == (20, 100, False)


def test_the_least_number_of_steps_is_kept() -> None:
    flat = [{"a": 0.5}] * 9
    assert find_length(Rehearsed(flat.copy()), *pool(8), 2, searching()).steps == 20
    assert find_length(Rehearsed(flat.copy()), *pool(8), 2, searching(min_steps=300)).steps == 300


def test_held_out_patients_are_watched_and_never_trained_on() -> None:
    kind = Rehearsed([{"a": 0.5}] * 9)
    found = find_length(kind, *pool(8), 2, searching())
    watched, trained = set(kind.asked["watched"].ravel().tolist()), set(kind.asked["images"].ravel().tolist())
    assert watched | trained == set(range(8))
    assert not watched & trained
    assert found.watched_patients == len(watched) == 2
    assert {patient % 2 for patient in watched} == {0, 1}  # each class is watched


@pytest.mark.parametrize("n_patients", [1, 2])
def test_where_no_patient_can_be_spared_the_training_frames_are_watched(n_patients: int) -> None:
    kind = Rehearsed([{"a": 0.5}] * 9)
    found = find_length(kind, *pool(n_patients), 2, searching())
    assert found.watched_patients == 0
    np.testing.assert_array_equal(kind.asked["watched"], kind.asked["images"])
    assert found.watched_frames == 4 * n_patients


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
@QUICK
def test_whoever_is_held_out_no_class_loses_its_last_patient(frames: Any, share: float, seed: int) -> None:
    patients, answers = np.array([p for p, _ in frames]), np.array([c for _, c in frames])
    out = held_out_frames(patients, answers, share, seed)
    assert set(answers[~out]) == set(answers)
    assert not set(patients[out]) & set(patients[~out])  # a patient as a whole
    assert len(set(patients[out])) <= max(1, round(share * len(set(patients))))
    of_class = {code: set(patients[answers == code]) for code in set(answers)}
    if all(len(people) > 2 for people in of_class.values()):
        assert out.any()


def test_masks_say_what_a_patient_has() -> None:
    masks = np.zeros((6, 2, 2), np.uint8)
    masks[0, 0, 0] = 7  # only patient 0 has the structure
    for seed in range(10):
        assert not held_out_frames(np.arange(6), masks, 0.5, seed)[0]


def test_half_as_long_keeps_the_shares_of_the_schedule() -> None:
    by_steps = ClassifierSettings(steps=900, lr_milestones=((0.6, 1e-4),))
    assert Schedule.of(half_as_long(by_steps, 50)).steps_for(50) == 450
    paper = ClassifierSettings()
    half = Schedule.of(half_as_long(paper, 3000))
    assert half.epochs_for(3000) == 87
    assert [half.rate(epoch, 3000) for epoch in (49, 50, 74, 75)] == [5e-4, 1e-4, 1e-4, 5e-5]
    stretched = ClassifierSettings(epochs=2, min_steps=100, lr_milestones=((1, 1e-4),))  # 50 epochs of 2 steps
    assert Schedule.of(half_as_long(stretched, 64)).epochs_for(64) == 25


def test_the_share_before_the_first_milestone() -> None:
    assert first_share(ClassifierSettings()) == 100 / 175
    assert first_share(searching()) == 0.5
    assert first_share(ClassifierSettings(lr_milestones=())) == 1.0


def falling(to: float, n: int = 100, fast: float = 8.0) -> list[dict[str, float]]:
    return [{"loss": to + (1 - to) * float(np.exp(-fast * k / n))} for k in range(n)]


def test_the_fall_of_the_loss_in_the_second_half_is_a_share_of_the_whole() -> None:
    line = [{"loss": 1.0 - k / 200} for k in range(101)]  # 1.0 to 0.5
    assert loss_fall_share(line) == pytest.approx(0.255 / (0.9775 - 0.5225))
    assert np.isnan(loss_fall_share(line[:3]))  # too short to tell
    assert np.isnan(loss_fall_share([{"loss": 1.0}] * 50))  # it never learned
    assert np.isnan(loss_fall_share([{"epoch": float(k)} for k in range(9)]))  # no loss was kept
    assert loss_fall_share(falling(0.2)) < 0.1 < loss_fall_share(falling(0.2, fast=1.0))


def test_the_search_trains_real_networks_the_same_twice() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(6), 6)
    labels = patients % 2
    images = rng.integers(0, 90, (36, 16, 16), np.uint8)
    images[labels == 1, 4:12, 4:12] += 120
    masks = (images > 110).astype(np.uint8)
    search = SearchSettings(max_steps=60, evaluate_every=5, patience=3, held_out_share=0.3)
    small = ClassifierSettings(
        widths=(4, 4, 8), dense=8, batch_size=8, learning_rate=5e-3, search=search, lr_milestones=()
    )
    first = find_length(kind_of("classification"), images, labels, patients, 2, small, device="cpu")
    again = find_length(kind_of("classification"), images, labels, patients, 2, small, device="cpu")
    assert first == again
    assert first.curve[-1]["auc"] > 0.9
    unet = SegmenterSettings(
        channels=(4, 8), batch_size=4, learning_rate=1e-2, search=search, lr_milestones=(), augment=False, dice=1.0
    )
    found = find_length(kind_of("segmentation"), images, masks, patients, 2, unet, device="cpu")
    assert max(entry["jaccard"] for entry in found.curve) > 0.5


def test_fixed_settings_leave_nothing_to_search() -> None:
    with pytest.raises(ValueError, match="nothing to search"):
        find_length(Rehearsed([]), *pool(4), 2, ClassifierSettings(epochs=5))
