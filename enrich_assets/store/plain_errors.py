"""Errors of disks and databases in plain words: what is wrong, and what to do next. Whoever reports an error asks here."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator

from enrich_assets.store.remote.patience import DATABASE_ERRORS, PASSING, may_pass

KEPT = "what is finished is kept, `enrich run` continues"
FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
MENDED_BY_HAND = FULL | DENIED  # trying again at once is in vain


def in_words(error: BaseException) -> str:
    """What went wrong, for the user: our own sentences as they are, known troubles with a remedy, others with their type."""
    known = trouble(error)
    if known is not None:
        return known
    text = " ".join(str(error.args[0] if error.args else error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def trouble(error: BaseException) -> str | None:
    """The sentence for an error that a user can mend, also where a library has wrapped it; None for any other."""
    ours = error
    while not type(ours).__module__.startswith("enrich_assets") and isinstance(ours.__cause__, Exception):
        ours = ours.__cause__
    for one in _chain(error):
        if one is ours and type(one).__module__.startswith("enrich_assets"):
            return " ".join(str(one.args[0] if one.args else one).split())
        sentence = (
            _of_database(one)
            if isinstance(one, sqlite3.Error)
            else _of_disk(one)
            if isinstance(one, OSError) and one.errno not in PASSING
            else _of_server(one)
        )
        if sentence is not None:
            return sentence
    return None


def is_of_hand(error: BaseException) -> bool:
    """Whether somebody must do something first: a full disk, a folder that may not be written."""
    return any(isinstance(one, OSError) and one.errno in MENDED_BY_HAND for one in _chain(error))


def _of_disk(error: OSError) -> str | None:
    where = str(error.filename2 or error.filename or "")
    if error.errno in FULL:
        return f"no space left on the disk{f' ({where})' if where else ''}: make room (`enrich prune` lists what could go); {KEPT}"
    if error.errno in DENIED:
        return (
            f"{where or 'a file'} may not be read or written ({(error.strerror or '').lower()}): give this user the right to, or name "
            "another ENRICH_HOME"
        )
    return None


def _of_server(error: BaseException) -> str | None:
    """Of a database or an object store on a server."""
    kind, text = type(error).__name__, " ".join(str(error).split())[:200]
    if isinstance(getattr(error, "orig", None), sqlite3.Error):
        return None  # a file of this home: named as such
    if kind in DATABASE_ERRORS and type(error).__module__.partition(".")[0] in ("sqlalchemy", "dagster_postgres"):
        return f"the database of Dagster or MLflow does not answer ({text}): look whether it runs; {KEPT}"
    if kind in ("NoCredentialsError", "PartialCredentialsError"):
        return "the store asks for credentials, and there are none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp", "s3fs") and may_pass(error):
        return f"the store does not answer ({kind}: {text}): look whether it runs, and AWS_ENDPOINT_URL; {KEPT}"
    return None


def _of_database(error: sqlite3.Error) -> str | None:
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return f"a database in home is damaged ({text}): `enrich repair` says which, puts it aside and begins another"
    if "is full" in text or "disk I/O" in text:
        return f"a database could not be written ({text}): look whether the disk is full; {KEPT}"
    if "readonly" in text or "unable to open" in text:
        return (
            f"a database in home may not be written ({text}): give this user the right to, or name another ENRICH_HOME"
        )
    if "locked" in text:
        return f"another process holds a database in home ({text}): when it is done, `enrich run` continues"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those it was raised from, outermost first."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        behind = (getattr(one, "orig", None), one.__cause__, one.__context__)
        waiting += [other for other in behind if isinstance(other, BaseException)]
