"""Dagster's home: where the user says, else in ours; nothing in the environment is changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from enrich_assets.archive.ingest import ingest
from enrich_assets.defs.instance import DAGSTER_YAML, OtherStorage, dagster_home, open_instance
from enrich_assets.defs.mount import BATCH
from enrich_assets.profiles import load_profile
from enrich_assets.settings import Profile, TrackingSettings
from enrich_assets_tests.defs.made_archive import opened, write_stills


def test_a_dagster_home_of_the_user_is_honoured_and_its_settings_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(own))
    environment = dict(os.environ)
    archive = opened(tmp_path / "home")
    ingest(archive, str(write_stills(tmp_path / "drop", [{"patient_id": "a", "clip_id": "c"}])), "one")
    with open_instance(archive) as instance:
        assert Path(instance.root_directory) == own
        assert instance.get_dynamic_partitions(BATCH) == ["one"]
    assert (own / "dagster.yaml").read_text() == "telemetry:\n  enabled: false\n"
    assert not (tmp_path / "home" / "dagster").exists()
    assert dict(os.environ) == environment


def test_without_one_it_lies_in_our_home_with_settings_that_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    environment = dict(os.environ)
    archive = opened(tmp_path / "home")
    folder = dagster_home(archive.home, archive.profile)
    assert folder == tmp_path / "home" / "dagster"
    settings = folder / "dagster.yaml"
    assert settings.read_text() == DAGSTER_YAML.format(at_once=1, runs=2)
    settings.write_text("telemetry:\n  enabled: false\n")
    with open_instance(archive) as instance:
        assert Path(instance.root_directory) == folder
    assert settings.read_text() == "telemetry:\n  enabled: false\n", "yours to change"
    assert dict(os.environ) == environment


def test_a_dagster_home_of_the_user_that_is_empty_gets_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "fresh"))
    archive = opened(tmp_path / "home")
    assert dagster_home(archive.home, archive.profile) == tmp_path / "fresh"
    assert (tmp_path / "fresh" / "dagster.yaml").exists()
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "fresh")


def with_storage(storage: str) -> Profile:
    profile = load_profile("archive")
    return profile.model_copy(update={"tracking": TrackingSettings(dagster_storage=storage)})


def test_dagsters_database_stands_in_its_settings_with_the_driver_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = dagster_home(tmp_path, with_storage("postgresql://u:p@db.lan/dagster"))
    storage = yaml.safe_load((folder / "dagster.yaml").read_text())["storage"]
    assert storage == {"postgres": {"postgres_url": "postgresql+psycopg2://u:p@db.lan/dagster"}}
    dagster_home(tmp_path, with_storage("postgres://u:p@db.lan/dagster"))  # the same address
    with pytest.raises(OtherStorage, match="elsewhere than the profile says"):
        dagster_home(tmp_path, with_storage("postgresql://u:p@other.lan/dagster"))


def test_a_password_of_the_environment_is_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("RECORDS", "postgresql://u:secret@db.lan/dagster")
    with pytest.raises(OtherStorage, match=r"RECORDS must name the driver.*postgresql\+psycopg2://"):
        dagster_home(tmp_path, with_storage("env:RECORDS"))
    monkeypatch.setenv("RECORDS", "postgresql+psycopg2://u:secret@db.lan/dagster")
    text = (dagster_home(tmp_path, with_storage("env:RECORDS")) / "dagster.yaml").read_text()
    assert yaml.safe_load(text)["storage"] == {"postgres": {"postgres_url": {"env": "RECORDS"}}}
    assert "secret" not in text


@pytest.mark.parametrize("uri", ["postgresql://db.lan/mlflow", "env:RUNS"])
def test_a_database_of_mlflow_needs_a_place_for_its_files(uri: str) -> None:
    with pytest.raises(ValueError, match="say where MLflow's files go"):
        TrackingSettings(uri=uri)
    assert TrackingSettings(uri=uri, artifacts="s3://bucket/mlflow").artifacts
    assert TrackingSettings(uri="http://mlflow.lan:5000").artifacts is None
