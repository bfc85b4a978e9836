"""Addresses of databases: where they come from, and how they must be written for the driver that is installed."""

from __future__ import annotations

import os

FROM_ENVIRONMENT = "env:"
DRIVER = "postgresql+psycopg2://"


class NoDatabase(RuntimeError):
    """The address of a database is not there, or none."""


def database_url(address: str) -> str:
    """An address as SQLAlchemy takes it.

    Parameters
    ----------
    address
        `postgresql://user:password@host/name`, `env:NAME` for what stands in the environment, or any other URL.

    Returns
    -------
    str
        `postgresql://` and `postgres://` name psycopg2, for which Dagster is made; without a driver SQLAlchemy 2.1 takes psycopg 3.
        Everything else as it is.

    Raises
    ------
    NoDatabase
        If the environment does not hold what is named.
    """
    url = address
    if address.startswith(FROM_ENVIRONMENT):
        name = address.removeprefix(FROM_ENVIRONMENT)
        url = os.environ.get(name, "")
        if not url:
            raise NoDatabase(f"the profile takes a database from {name}, and the environment does not hold it")
    for short in ("postgresql://", "postgres://"):
        if url.startswith(short):
            return DRIVER + url.removeprefix(short)
    return url


def without_password(url: str) -> str:
    """The address as it may be shown."""
    head, at, tail = url.rpartition("@")
    scheme, colon, user = head.partition("://")
    return f"{scheme}{colon}{user.partition(':')[0]}:***@{tail}" if at and ":" in user else url


def is_file(url: str) -> bool:
    """Whether it is a file of SQLite: one machine's."""
    return url.startswith("sqlite:")


def is_server(url: str) -> bool:
    """Whether a server stands before the database: an MLflow that speaks HTTP."""
    return url.startswith(("http://", "https://", "databricks"))
