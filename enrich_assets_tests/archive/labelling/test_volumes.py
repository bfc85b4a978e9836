"""An archive of volumes with masks: slices become frames, each with its own slice of the mask."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets_tests.made_home import decode, opened

PROFILE = """extends: archive
frames: {crop: none, slices: PLANE}
tasks:
  view: null
  masks: {size: 32, classes: [background, organ]}
"""


@pytest.mark.parametrize(("plane", "slices"), [("stored", 5), ("axial", 5), ("sagittal", 32)])
def test_slices_of_a_volume_and_its_mask_stay_together(plane, slices, tmp_path):
    volume = np.zeros((5, 32, 32), np.uint8)
    for k in range(5):
        volume[k, 4 + k : 20 + k, 8:24] = 200
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(tmp_path / "image.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray((volume > 0).astype(np.uint8)), str(tmp_path / "mask.nii.gz"))
    row = {"path": "image.nii.gz", "patient_id": "P1", "study_id": "S1", "clip_id": "C1", "mask_path": "mask.nii.gz"}
    pd.DataFrame([row]).to_csv(tmp_path / "manifest.csv", index=False)
    home = tmp_path / "home"
    home.mkdir()
    (home / "enrich.yaml").write_text(PROFILE.replace("PLANE", plane))
    ingest(opened(home), str(tmp_path / "manifest.csv"), None)
    archive = opened(home)
    decode(archive)

    catalogue = Catalogue(archive)
    table = catalogue.frame_table()
    known = catalogue.labels()
    labels = known.of(table, "masks")
    pictures = catalogue.frames().of(table, "masks").pixels()
    masks = labels.answers(archive.profile.tasks["masks"], ("background", "organ"))
    assert len(table) == len(known.of_task("masks")) == slices
    if plane != "sagittal":  # there slices are 5 by 32, drawn out to a square
        assert np.array_equal(masks, (pictures > 100).astype(np.uint8))
        assert masks.any(axis=(1, 2)).all()
