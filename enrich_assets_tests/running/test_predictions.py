"""Proposals of the latest model: what it predicts, in the words of Label Studio, on the whole picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.method.kinds import kind_of
from enrich_assets.running.labelling.predictions import _on_whole_picture, latest_model, predictions_of
from enrich_assets.studies.labels.formats.label_studio import brush_to_pixels
from enrich_assets_tests.made_home import opened


def test_the_model_of_most_labels_proposes_its_own_predictions(small_home: Path) -> None:
    archive = opened(small_home)
    model = latest_model(archive, "view")
    assert model is not None
    assert model.metrics["n_train"] == archive.store.receipts.require(model.cell).metrics["n_train"]
    assert model.cell.asset == "view/all/model", "the whole pool is the greatest budget"
    frames = Catalogue(archive).frames()
    chosen = list(frames.frame_table["frame_id"][:3])
    made = predictions_of(archive, "view", chosen)
    settings = archive.profile.tasks["view"]
    rows = frames.of(pd.DataFrame({"frame_id": chosen}), "view")
    from enrich_assets.archive.values import Value

    weights = Value(archive.store, {model.partition: model}).weights("model")
    scores = kind_of("classification").predict(weights, rows.pixels(), settings.model_settings)
    for frame, of_frame in zip(chosen, np.asarray(scores), strict=True):
        (result,) = made[frame]["result"]
        assert result["value"]["choices"] == [model.metrics["classes"][int(of_frame.argmax())]]
        assert made[frame]["score"] == pytest.approx(of_frame.max())
        assert model.digest[:12] in made[frame]["model_version"]


def test_a_predicted_mask_lies_where_its_window_was_cut(small_home: Path) -> None:
    pytest.importorskip("label_studio_sdk")
    archive = opened(small_home)
    frames = Catalogue(archive).frames()
    chosen = list(frames.frame_table["frame_id"][:2])
    made = predictions_of(archive, "chambers", chosen)
    assert set(made) == set(chosen)
    clips = frames.clips.set_index("path")
    paths = frames.frame_table.set_index("frame_id")["path"]
    for frame in chosen:
        clip = clips.loc[paths[frame]]
        for result in made[frame]["result"]:
            assert (result["original_height"], result["original_width"]) == (clip.height, clip.width)
            pixels = brush_to_pixels(result["value"]["rle"], int(clip.height), int(clip.width))
            assert pixels.any()


def test_outside_the_window_nothing_is_proposed_and_inside_the_nearest_pixel() -> None:
    clip = pd.Series({"height": 9, "width": 12, "box_t": [2, 3, 6]})
    mask = np.arange(9, dtype=np.uint8).reshape(3, 3)
    whole = _on_whole_picture(mask, clip, "t")
    assert whole.shape == (9, 12)
    assert np.array_equal(whole[2:8, 3:9], np.kron(mask, np.ones((2, 2), np.uint8)))
    whole[2:8, 3:9] = 0
    assert not whole.any()
