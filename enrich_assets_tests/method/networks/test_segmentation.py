"""The segmenter learns what can be learned, repeats itself, and resumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from enrich_assets.method.hyperparameters import SegmenterSettings
from enrich_assets.method.networks.segmentation import predict_masks, segmentation_loss, train_segmenter
from enrich_assets.method.statistics.metrics import jaccard, jaccard_counts

TINY = SegmenterSettings(channels=(4, 8), epochs=3, batch_size=4, learning_rate=1e-2, lr_milestones=())


def squares(n, seed=0, height=20, width=22):
    """Class 1 bright, class 2 middling, on black."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((n, height, width), np.uint8)
    for mask in masks:
        for k in (1, 2):
            y, x = generator.integers(0, height - 8), generator.integers(0, width - 8)
            mask[y : y + 8, x : x + 8] = k
    return np.array([0, 220, 120], np.uint8)[masks] + generator.integers(0, 20, masks.shape, dtype=np.uint8), masks


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_it_learns_structures_that_are_there():
    images, masks = squares(24)
    settings = replace(TINY, min_steps=150, dropout=0.0)
    trained = train_segmenter(images, masks, 3, settings, seed=0, device="cpu")
    unseen, truth = squares(10, seed=1)
    predicted = predict_masks(trained.weights, unseen, settings, device="cpu")
    assert predicted.shape == truth.shape
    assert predicted.dtype == np.uint8
    assert jaccard(*jaccard_counts(truth, predicted, 3)) > 0.8


def test_the_same_cell_twice_is_the_same_model():
    images, masks = squares(5)
    one, two = (train_segmenter(images, masks, 3, TINY, seed=3, device="cpu") for _ in range(2))
    same(one.weights, two.weights)
    assert one.history == two.history


def test_a_resumed_training_is_the_uninterrupted_one():
    images, masks = squares(6)
    checkpoints: list[bytes] = []
    whole = train_segmenter(images, masks, 3, TINY, seed=1, save=checkpoints.append, checkpoint_steps=1)
    assert len(checkpoints) == 2
    resumed = train_segmenter(images, masks, 3, TINY, seed=1, resume=checkpoints[0])
    same(whole.weights, resumed.weights)
    assert whole.history == resumed.history


def test_the_loss_is_the_cross_entropy_of_torch():
    torch.manual_seed(0)
    logits, truth = torch.randn(2, 4, 5, 6), torch.randint(0, 4, (2, 5, 6))
    torch.testing.assert_close(segmentation_loss(logits, truth), F.cross_entropy(logits, truth))
    weights = torch.tensor([0.1, 1.0, 2.0, 3.0])
    expected = F.cross_entropy(logits, truth, weight=weights)
    torch.testing.assert_close(segmentation_loss(logits, truth, weights), expected)


def test_the_dice_term_by_hand():
    """One structure, four pixels, p = 1/2 everywhere, truth covers two: Dice = (2*1 + 1) / (2 + 2 + 1)."""
    logits, truth = torch.zeros(1, 2, 2, 2), torch.tensor([[[0, 1], [0, 1]]])
    with_dice = segmentation_loss(logits, truth, dice=0.5) - segmentation_loss(logits, truth)
    torch.testing.assert_close(with_dice, torch.tensor(0.5 * (1 - 3 / 5)))


@pytest.mark.parametrize(
    "change", [{"augment": False}, {"dice": 1.0}, {"class_weights": (0.2, 1.0, 1.0)}, {"batch_norm": True}]
)
def test_each_setting_changes_the_training(change):
    images, masks = squares(4)
    plain = train_segmenter(images, masks, 3, replace(TINY, epochs=1), seed=0)
    changed = train_segmenter(images, masks, 3, replace(TINY, epochs=1, **change), seed=0)
    assert plain.history[0]["loss"] != changed.history[0]["loss"]


def test_batch_norm_learns_repeats_itself_and_resumes():
    images, masks = squares(24)
    settings = replace(TINY, min_steps=60, dropout=0.0, batch_norm=True)
    checkpoints: list[bytes] = []
    whole = train_segmenter(images, masks, 3, settings, seed=0, save=checkpoints.append, checkpoint_steps=30)
    same(whole.weights, train_segmenter(images, masks, 3, settings, seed=0, resume=checkpoints[0]).weights)
    unseen, truth = squares(10, seed=1)
    assert jaccard(*jaccard_counts(truth, predict_masks(whole.weights, unseen, settings), 3)) > 0.8


def test_batch_norm_can_do_with_one_frame_even_where_the_lowest_level_is_one_pixel():
    images, masks = (made[:, :8, :8] for made in squares(1))
    settings = replace(TINY, channels=(4, 4, 4, 4), batch_norm=True)
    weights = train_segmenter(images, masks, 3, settings, seed=0).weights
    assert predict_masks(weights, images, settings).shape == (1, 8, 8)


def test_one_frame_and_any_size_will_do():
    images, masks = squares(1, height=19, width=27)
    trained = train_segmenter(images, masks, 3, TINY, seed=0)
    assert predict_masks(trained.weights, images, TINY).shape == (1, 19, 27)
    assert predict_masks(trained.weights, images[:, :15, :13], TINY).shape == (1, 15, 13)
    assert predict_masks(trained.weights, images[:0], TINY).shape == (0, 19, 27)


def test_what_does_not_fit_is_refused_at_the_door():
    images, masks = squares(3)
    for wrong_images, wrong_masks, n_classes, settings, message in (
        (images, masks[:2], 3, TINY, "differ in shape"),
        (images, masks, 2, TINY, "holds class 2"),
        (images.astype(int), masks, 3, TINY, "images must be"),
        (images, masks, 3, replace(TINY, class_weights=(1.0, 1.0)), "2 class weights for 3"),
        (images[:0], masks[:0], 3, TINY, "no frame"),
    ):
        with pytest.raises(ValueError, match=message):
            train_segmenter(wrong_images, wrong_masks, n_classes, settings, seed=0)
    weights = train_segmenter(images, masks, 3, replace(TINY, epochs=1), seed=0).weights
    with pytest.raises(ValueError, match="do not fit"):
        predict_masks(weights, images, SegmenterSettings())
