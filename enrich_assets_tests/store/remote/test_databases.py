"""Addresses of databases name the driver that is installed, and stand in the environment where they hold a password."""

from __future__ import annotations

import pytest

from enrich_assets.store.remote.databases import NoDatabase, database_url, without_password


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql+psycopg2://u:p@h:5432/d"),
        ("postgres://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:////srv/home/mlflow.db", "sqlite:////srv/home/mlflow.db"),
        ("http://mlflow.lan:5000", "http://mlflow.lan:5000"),
    ],
)
def test_postgres_is_spoken_to_by_the_driver_that_dagster_is_made_for(given: str, taken: str) -> None:
    assert database_url(given) == taken


def test_an_address_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDS", "postgresql://u:secret@h/d")
    assert database_url("env:RECORDS") == "postgresql+psycopg2://u:secret@h/d"
    monkeypatch.delenv("RECORDS")
    with pytest.raises(NoDatabase, match="takes a database from RECORDS"):
        database_url("env:RECORDS")


def test_a_password_is_not_shown() -> None:
    assert without_password("postgresql://u:secret@h/d") == "postgresql://u:***@h/d"
    assert without_password("http://mlflow.lan:5000") == "http://mlflow.lan:5000"
