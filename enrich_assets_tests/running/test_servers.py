"""`enrich ui`: a port that is taken is said, and nothing is started."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from enrich_assets.archive import Archive
from enrich_assets.profiles import load_profile
from enrich_assets.running.servers import answers, serve


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_port_that_is_taken_is_named_and_nothing_started(tmp_path: Path, port: int) -> None:
    said: list[str] = []
    archive = Archive(tmp_path / "home", load_profile("demo"))
    assert answers(f"http://127.0.0.1:{port}"), "an error page is an answer, too"
    assert serve(archive, 1, port, said.append) == 1
    assert f"something answers at http://127.0.0.1:{port} already" in said[0]
    assert "MLflow" in said[0]


def test_nobody_answers_where_nothing_listens() -> None:
    assert not answers("http://127.0.0.1:1")
