"""The whole chain on real clips, at a small scale: lung ultrasound, cine MRI with masks, echo views, DICOM good and bad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.sources import addresses_called
from enrich_assets.profiles import load_profile
from enrich_assets.running.driver import Outcome
from enrich_assets.studies.sealed_paths import short_name
from enrich_assets_tests import made_home
from enrich_assets_tests.made_home import decode, receipt, sql

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
        assert ingest(archive, str(realdata / folder)).is_new
        return archive, made_home.run(archive)

    return do


def test_lung_clips_go_from_files_to_auc(run: Run) -> None:
    archive, outcome = run(str(HERE / "lung.yaml"), "pocus_lung_clips")
    assert not outcome.failed
    assert not outcome.blocked
    frames = Catalogue(archive).frame_table()
    assert frames["clip_id"].nunique() == 83
    assert frames["patient_id"].nunique() == 32
    assert frames.groupby("patient_id")["split"].nunique().max() == 1
    scores = sql(archive, "SELECT arm, count(*) n, min(value) low, max(value) high FROM evaluations GROUP BY arm")
    assert dict(zip(scores["arm"], scores["n"], strict=True)) == {"enrich": 4, "random": 4, "all": 2}
    assert scores["low"].min() >= 0
    assert scores["high"].max() <= 1
    assert receipt(archive, "vae_weights@health").metrics["passed"]


def test_cine_slices_go_from_masks_to_jaccard(run: Run) -> None:
    archive, outcome = run(str(HERE / "cine.yaml"), "acdc_cine_mri")
    assert not outcome.failed
    assert not outcome.blocked
    assert len(Catalogue(archive).labels().of_task("masks")) == 1336
    scores = sql(archive, "SELECT max(value) best, count(*) n FROM evaluations WHERE metric = 'jaccard'")
    assert scores["n"].item() == 5
    assert scores["best"].item() > 0.2


def test_echo_views_and_their_masks_of_five_classes(tmp_path: Path, realdata: Path) -> None:
    archive = Archive(tmp_path, load_profile("archive"))
    ingest(archive, str(realdata / "ucsf_echo_views"))
    decode(archive)
    assert Catalogue(archive).frame_table()["patient_id"].nunique() == 58
    labels = Catalogue(archive).labels()
    assert set(labels.of_task("view")["label"]) == {"A4C", "NT"}
    masks = labels.of_task("masks")
    assert len(masks) == 10
    assert labels.masks("masks", masks).max() == 4
    assert len(Catalogue(archive).classes("masks")) == 5


def test_every_good_dicom_file_is_read(tmp_path: Path, realdata: Path) -> None:
    archive = Archive(tmp_path, load_profile("archive"))
    found = ingest(archive, str(realdata / "dicom_ultrasound" / "good"))
    decode(archive)
    assert found.n_refused == 0
    frames = Catalogue(archive).frames()
    assert frames.table("refused").empty
    files = frames.clips["path"].nunique()
    assert files == len(list((realdata / "dicom_ultrasound" / "good").iterdir()))


def test_every_bad_dicom_file_is_read_or_refused_by_name(tmp_path: Path, realdata: Path) -> None:
    archive = Archive(tmp_path, load_profile("archive"))
    ingest(archive, str(realdata / "dicom_ultrasound" / "bad"))
    decode(archive)
    frames = Catalogue(archive).frames()
    refused = [*archive.register.refused(archive.pinned[0])["path"], *frames.table("refused")["path"]]
    read = list(frames.clips["path"]) if len(frames.clips) else []
    named = {Path(addresses_called(archive, short_name(path))[0]).name for path in [*refused, *read]}
    assert named == {path.name for path in (realdata / "dicom_ultrasound" / "bad").iterdir()}
