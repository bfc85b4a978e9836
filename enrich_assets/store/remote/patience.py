"""Patience with a server: a request that was refused or got no answer is sent again for some minutes, any other error is raised at once.

The store's requests may all be sent twice: a file is written whole, under a name that says what it holds or that only its maker writes.
"""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

SECONDS = "ENRICH_PATIENCE"  # environment: how long a server may stay away
DEFAULT_SECONDS = 180.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0

PASSING = {
    errno.EIO,  # s3fs: an error of the server's own (5xx), and whatever it has no other word for
    errno.EBUSY,  # s3fs: slow down
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
}
# Errors of libraries that this module must not import, by the names of their classes.
NAMES = {
    "EndpointConnectionError",
    "HTTPClientError",
    "ClientConnectionError",
    "ClientPayloadError",
    "ResponseParserError",
    "IncompleteRead",
    "FSTimeoutError",
}
# Of a database: it was restarted, or its connection broke; the last is Dagster's word for it after some seconds of trying.
DATABASE_ERRORS = {"OperationalError", "InterfaceError", "DagsterPostgresException"}
Result = TypeVar("Result")


class NoAnswer(UserWarning):
    """A server does not answer; it is asked again."""


def may_pass(error: BaseException) -> bool:
    """Whether an error is of a server that may be back in a minute: refused, cut off, too slow, or an error of its own."""
    if isinstance(error, FileNotFoundError | PermissionError | FileExistsError | IsADirectoryError):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in PASSING:
        return True
    return any(kind.__name__ in NAMES | DATABASE_ERRORS for kind in type(error).__mro__)


def may_pass_behind(error: BaseException) -> bool:
    """The same of an error that a library has wrapped: what it was raised from counts, too, and the words of MLflow."""
    chain, one = [error], error
    while (below := one.__cause__ or one.__context__ or getattr(one, "orig", None)) is not None and below not in chain:
        chain.append(below)
        one = below
    return any(may_pass(one) for one in chain) or getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE"


def waits(seconds: float) -> Iterator[float]:
    """Seconds to wait before each further attempt: growing, some minutes in all."""
    wait, left = FIRST_WAIT, seconds
    while left > 0:
        yield min(wait, left)
        left -= wait
        wait = min(2 * wait, LONGEST_WAIT)


def patiently(
    request: Callable[[], Result],
    what: str,
    *,
    passes: Callable[[BaseException], bool] = may_pass,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """The answer to a request, which is sent again where the server may be back.

    Parameters
    ----------
    request
        May be sent several times.
    what
        Which server, for the user.
    passes
        Whether an error may pass by itself.
    sleep
        Waits so many seconds.

    Raises
    ------
    Exception
        What the request raised last, after `ENRICH_PATIENCE` seconds (180), or at once where it will not pass.

    Warns
    -----
    NoAnswer
        Once, when the waiting begins.
    """
    ahead = waits(float(os.environ.get(SECONDS) or DEFAULT_SECONDS))
    said = False
    while True:
        try:
            return request()
        except Exception as error:
            wait = next(ahead, None) if passes(error) else None
            if wait is None:
                raise
            if not said:
                said = True
                warnings.warn(NoAnswer(f"{what} does not answer ({type(error).__name__}); asked again"), stacklevel=2)
        sleep(wait)
