"""The whole chain on real clips, at a small scale: lung ultrasound, cine MRI with masks, echo views, DICOM good and bad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from enrich_assets.archive import Archive
from enrich_assets.defs.driver import Driver, Outcome
from enrich_assets.defs.instance import open_instance
from enrich_assets.settings import load_profile
from enrich_assets.store.published.file import query
from enrich_assets.store.receipts import Cell

pytestmark = pytest.mark.realdata
HERE = Path(__file__).parents[1]

Run = Callable[[str, str], tuple[Archive, Outcome]]


@pytest.fixture
def run(tmp_path: Path, realdata: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(profile, folder of the real data) -> the archive after everything, and what the run said."""

    def do(profile: str, folder: str) -> tuple[Archive, Outcome]:
        home = tmp_path / "home"
        monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
        archive = Archive(home, load_profile(profile))
        assert archive.ingest(str(realdata / folder)).is_new
        with open_instance(archive) as instance:
            return archive, Driver(archive, instance, print).run()

    return do


def test_lung_clips_go_from_files_to_auc(run: Run) -> None:
    archive, outcome = run(str(HERE / "lung.yaml"), "pocus_lung_clips")
    assert not outcome.failed
    assert not outcome.blocked
    frames = archive.frame_table()
    assert frames["clip_id"].nunique() == 83
    assert frames["patient_id"].nunique() == 32
    assert frames.groupby("patient_id")["split"].nunique().max() == 1
    scores = query(
        str(archive.published), "SELECT arm, count(*) n, min(value) low, max(value) high FROM evaluations GROUP BY arm"
    )
    assert dict(zip(scores["arm"], scores["n"], strict=True)) == {"enrich": 4, "random": 4, "all": 2}
    assert scores["low"].min() >= 0
    assert scores["high"].max() <= 1
    assert archive.store.receipts.require(Cell("vae_weights")).figures["healthy"]


def test_cine_slices_go_from_masks_to_jaccard(run: Run) -> None:
    archive, outcome = run(str(HERE / "cine.yaml"), "acdc_cine_mri")
    assert not outcome.failed
    assert not outcome.blocked
    assert len(archive.labels("masks")) == 1336
    scores = query(
        str(archive.published), "SELECT max(value) best, count(*) n FROM evaluations WHERE metric = 'jaccard'"
    )
    assert scores["n"].item() == 5
    assert scores["best"].item() > 0.2


def taken_in(archive: Archive) -> None:
    from enrich_assets.defs import arrival

    for step in arrival.steps(archive.profile):
        for batch in archive.batches:
            step.materialise(archive, batch)


def test_echo_views_and_their_masks_of_five_classes(tmp_path: Path, realdata: Path) -> None:
    archive = Archive(tmp_path, load_profile("archive"))
    archive.ingest(str(realdata / "ucsf_echo_views"))
    taken_in(archive)
    assert archive.frame_table()["patient_id"].nunique() == 58
    assert set(archive.labels("view")["label"]) == {"A4C", "NT"}
    masks = archive.labels("masks")
    assert len(masks) == 10
    assert archive.masks("masks", masks).max() == 4
    assert len(archive.classes("masks")) == 5


def test_every_good_dicom_file_is_read(tmp_path: Path, realdata: Path) -> None:
    archive = Archive(tmp_path, load_profile("archive"))
    found = archive.ingest(str(realdata / "dicom_ultrasound" / "good"))
    taken_in(archive)
    assert found.n_refused == 0
    assert archive.frames.refused(archive.batches[0]).empty
    files = archive.frames.clips(archive.batches[0])["path"].nunique()
    assert files == len(list((realdata / "dicom_ultrasound" / "good").iterdir()))


def test_every_bad_dicom_file_is_read_or_refused_by_name(tmp_path: Path, realdata: Path) -> None:
    archive = Archive(tmp_path, load_profile("archive"))
    archive.ingest(str(realdata / "dicom_ultrasound" / "bad"))
    taken_in(archive)
    batch = archive.batches[0]
    refused = [*archive.arrivals.refused(batch)["path"], *archive.frames.refused(batch)["path"]]
    clips = archive.frames.clips(batch)
    read = list(clips["path"]) if len(clips) else []
    named = {Path(path).name for path in [*refused, *read]}
    assert named == {path.name for path in (realdata / "dicom_ultrasound" / "bad").iterdir()}
