"""The classifier learns what can be learned, repeats itself, and resumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from enrich_assets.method.hyperparameters import ClassifierSettings
from enrich_assets.method.networks.classification import predict_classes, train_classifier
from enrich_assets.method.statistics.metrics import auc

TINY = ClassifierSettings(
    widths=(4, 8, 8), dense=8, epochs=6, batch_size=8, learning_rate=5e-3, lr_milestones=((4, 1e-3),)
)


def bright_left_or_right(n, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    images = generator.integers(0, 60, (n, 16, 18), dtype=np.uint8)
    images[labels == 0, :, :9] += 100
    images[labels == 1, :, 9:] += 100
    return images, labels


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_it_learns_a_difference_that_is_there():
    images, labels = bright_left_or_right(60)
    trained = train_classifier(images, labels, 2, TINY, seed=0, device="cpu")
    unseen, truth = bright_left_or_right(40, seed=1)
    scores = predict_classes(trained.weights, unseen, TINY, device="cpu")
    assert scores.shape == (40, 2)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)
    assert auc(truth, scores[:, 1]) > 0.99
    assert [entry["learning_rate"] for entry in trained.history] == [5e-3] * 4 + [1e-3] * 2
    assert trained.device == "cpu"


def test_the_same_cell_twice_is_the_same_model_and_another_seed_another():
    images, labels = bright_left_or_right(21)
    one, two, other = (train_classifier(images, labels, 2, TINY, seed=s, device="cpu") for s in (3, 3, 4))
    same(one.weights, two.weights)
    assert one.history == two.history
    assert not np.array_equal(one.weights["resnet.head.weight"], other.weights["resnet.head.weight"])


def test_a_resumed_training_is_the_uninterrupted_one():
    images, labels = bright_left_or_right(20)
    checkpoints: list[bytes] = []
    whole = train_classifier(images, labels, 2, TINY, seed=1, device="cpu", save=checkpoints.append, checkpoint_steps=6)
    assert len(checkpoints) == 2  # three batches an epoch, six epochs, none at the end
    for checkpoint in checkpoints:
        resumed = train_classifier(images, labels, 2, TINY, seed=1, device="cpu", resume=checkpoint)
        same(whole.weights, resumed.weights)
        assert whole.history == resumed.history
    with pytest.raises(ValueError, match="other frames"):
        train_classifier(images[:-1], labels[:-1], 2, TINY, seed=1, device="cpu", resume=checkpoints[0])
    with pytest.raises(ValueError, match="other settings"):
        train_classifier(images, labels, 3, TINY, seed=1, device="cpu", resume=checkpoints[0])  # a class more


def test_an_interruption_after_a_checkpoint_loses_only_what_came_after():
    images, labels = bright_left_or_right(16)
    checkpoints: list[bytes] = []

    def interrupt(done, total, metrics):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifier(
            images, labels, 2, TINY, seed=1, progress=interrupt, save=checkpoints.append, checkpoint_steps=1
        )
    seen: list[int] = []
    resumed = train_classifier(
        images, labels, 2, TINY, seed=1, resume=checkpoints[-1], progress=lambda done, total, _: seen.append(done)
    )
    assert seen == [5, 6]
    same(resumed.weights, train_classifier(images, labels, 2, TINY, seed=1).weights)


def test_the_training_mean_travels_with_the_weights():
    images, labels = bright_left_or_right(9)
    trained = train_classifier(images, labels, 2, TINY, seed=0)
    expected = (images.astype(np.float64) / 255).mean(axis=0)
    np.testing.assert_allclose(trained.weights["input_mean"], expected, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 9, 17])
def test_small_and_awkward_subsets_train(n):
    """A last batch of one, fewer frames than a batch, a single frame."""
    images, labels = bright_left_or_right(n)
    trained = train_classifier(images, labels, 2, TINY, seed=0)
    assert np.isfinite(predict_classes(trained.weights, images, TINY)).all()


def test_a_class_may_be_missing_from_the_subset():
    images, _ = bright_left_or_right(10)
    trained = train_classifier(images, np.zeros(10, int), 3, replace(TINY, min_steps=60), seed=0)
    scores = predict_classes(trained.weights, images, TINY)
    assert scores.shape == (10, 3)
    assert (scores[:, 0] > scores[:, 1:].max(axis=1)).all()


def test_predictions_do_not_depend_on_labels_order_of_weights_or_read_only_arrays():
    images, labels = bright_left_or_right(10)
    images.setflags(write=False)
    trained = train_classifier(images, labels, 2, TINY, seed=0)
    backwards = dict(reversed(trained.weights.items()))
    for array in backwards.values():
        array.setflags(write=False)
    np.testing.assert_array_equal(
        predict_classes(trained.weights, images, TINY), predict_classes(backwards, images, TINY)
    )
    assert predict_classes(trained.weights, images[:0], TINY).shape == (0, 2)


def test_what_does_not_fit_is_refused_at_the_door():
    images, labels = bright_left_or_right(6)
    for wrong_images, wrong_labels, message in (
        (images.astype(float), labels, "uint8"),
        (images, labels[:-1], "6 images"),
        (images, labels + 5, "outside"),
        (images[:0], labels[:0], "no frame"),
        (images[:, :6], labels, "pixels or more"),
    ):
        with pytest.raises(ValueError, match=message):
            train_classifier(wrong_images, wrong_labels, 2, TINY, seed=0)
    weights = train_classifier(images, labels, 2, TINY, seed=0).weights
    with pytest.raises(ValueError, match="trained on 16x18"):
        predict_classes(weights, images[:, :, :16], TINY)
    with pytest.raises(ValueError, match="do not fit"):
        predict_classes(weights, images, ClassifierSettings())
