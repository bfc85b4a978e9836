"""A server that is away for a minute costs a minute; an error that will not pass costs nothing."""

from __future__ import annotations

import errno

import pytest

from enrich_assets.store.remote.patience import NoAnswer, may_pass, patiently, waits


class EndpointConnectionError(Exception):
    """As botocore calls it: known by its name."""


class Server:
    """Refuses so many times, then answers."""

    def __init__(self, refusals: int, error: BaseException) -> None:
        self.refusals, self.error, self.asked = refusals, error, 0

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self.refusals:
            raise self.error
        return "answer"


@pytest.mark.filterwarnings("ignore::enrich_assets.store.remote.patience.NoAnswer")
def test_a_server_that_is_back_within_a_minute_is_asked_until_then() -> None:
    waited: list[float] = []
    server = Server(9, ConnectionRefusedError())
    assert patiently(server, "it", sleep=waited.append) == "answer"
    assert server.asked == 10
    assert 60 > sum(waited) > 30
    assert max(waited) <= 10


def test_the_user_is_told_once() -> None:
    with pytest.warns(NoAnswer, match="the store does not answer") as told:
        patiently(Server(3, EndpointConnectionError()), "the store", sleep=lambda _: None)
    assert len(told) == 1


@pytest.mark.filterwarnings("ignore::enrich_assets.store.remote.patience.NoAnswer")
def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICH_PATIENCE", "20")
    waited: list[float] = []
    with pytest.raises(ConnectionResetError):
        patiently(Server(1000, ConnectionResetError()), "it", sleep=waited.append)
    assert sum(waited) == pytest.approx(20)
    assert sum(waits(180)) == pytest.approx(180)


@pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError(), ValueError(), OSError(errno.ENOSPC, "full")])
def test_what_will_not_pass_is_raised_at_once(error: Exception) -> None:
    server = Server(1, error)
    with pytest.raises(type(error)):
        patiently(server, "it", sleep=lambda _: pytest.fail("waited"))
    assert server.asked == 1


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "500"), OSError(errno.EBUSY, "slow down"), TimeoutError(), BrokenPipeError()]
)
def test_what_a_server_may_get_over_is_known(error: Exception) -> None:
    assert may_pass(error)
