"""A real DICOM sender (pynetdicom, over a socket of this machine) against `enrich listen`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context

from enrich_assets.running.receiving import Arrivals, Listening, listen
from enrich_assets.running.receiving.listening import NO_RESOURCES, NOT_UNDERSTOOD, SUCCESS
from enrich_assets_tests.studies.made_dicom import ULTRASOUND, dataset

PIXELS = np.arange(2 * 16 * 16, dtype=np.uint8).reshape(2, 16, 16)


class Node:
    """A listening node, in a thread of this process."""

    def __init__(self, incoming: Path, **how: object) -> None:
        self.arrivals, self.said = Arrivals(incoming, 0), []
        self.stop, self.port, up = threading.Event(), 0, threading.Event()

        def ready(port: int) -> None:
            self.port = port
            up.set()

        asked = Listening(**{"port": 0, "allowed": ("SCANNER",), **how})  # type: ignore[arg-type]
        self.thread = threading.Thread(target=listen, args=(asked, self.arrivals, self.stop, self.said.append, ready))
        self.thread.start()
        assert up.wait(30)

    def close(self) -> None:
        self.stop.set()
        self.thread.join()


@pytest.fixture
def node(tmp_path) -> Iterator[Node]:
    made = Node(tmp_path / "incoming")
    yield made
    made.close()


def send(port: int, *datasets: Dataset, called: str = "ENRICH", calling: str = "SCANNER") -> list[int] | None:
    """Statuses; None where no association came about."""
    sender = AE(ae_title=calling)
    sender.requested_contexts = [build_context(ULTRASOUND, "1.2.840.10008.1.2.1")]
    association = sender.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return None
    statuses = [association.send_c_store(one).Status for one in datasets]
    association.release()
    return statuses


def study(n: int = 2, uid: str = "1.2.3") -> list[Dataset]:
    return [dataset(PIXELS, modality="US", StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.{k}") for k in range(n)]


def test_what_was_answered_with_success_is_on_disk_as_it_was_sent(node):
    from pydicom import dcmread

    assert send(node.port, *study(3)) == [SUCCESS] * 3
    node.close()
    (drop,) = [p for p in node.arrivals.incoming.iterdir() if not p.name.startswith(".")] or [
        node.arrivals.incoming / name for name in node.arrivals.hand_over()
    ]
    read = [dcmread(file) for file in sorted(drop.glob("*.dcm"))]
    assert {str(one.SOPInstanceUID) for one in read} == {"1.2.3.0", "1.2.3.1", "1.2.3.2"}
    assert all(np.array_equal(one.pixel_array, PIXELS) for one in read)


@pytest.mark.parametrize("names", [{"called": "OTHER"}, {"calling": "STRANGER"}])
def test_who_is_not_named_is_refused(names, node):
    assert send(node.port, *study(1), **names) is None


def test_more_senders_than_allowed_are_refused_and_may_come_later(tmp_path):
    node = Node(tmp_path / "incoming", associations=1)
    try:
        first = AE(ae_title="SCANNER")
        first.requested_contexts = [build_context(ULTRASOUND)]
        held = first.associate("127.0.0.1", node.port, ae_title="ENRICH")
        assert held.is_established
        assert send(node.port, *study(1)) is None
        held.release()
        assert send(node.port, *study(1)) == [SUCCESS]
    finally:
        node.close()


def test_an_association_that_breaks_keeps_what_had_come_whole_and_the_node_goes_on(node):
    sender = AE(ae_title="SCANNER")
    sender.requested_contexts = [build_context(ULTRASOUND, "1.2.840.10008.1.2.1")]
    association = sender.associate("127.0.0.1", node.port, ae_title="ENRICH")
    one, two = study(2)
    assert association.send_c_store(one).Status == SUCCESS
    association.abort()
    assert send(node.port, two) == [SUCCESS]


def test_what_is_no_dicom_at_all_leaves_the_node_standing(node):
    with socket.create_connection(("127.0.0.1", node.port)) as wire:
        wire.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert send(node.port, *study(1)) == [SUCCESS]


def test_a_file_without_a_study_is_answered_as_not_understood(node):
    (one,) = study(1)
    del one.StudyInstanceUID
    assert send(node.port, one) == [NOT_UNDERSTOOD]


def test_a_full_disk_is_answered_as_such(node, monkeypatch):
    import errno

    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert send(node.port, *study(1)) == [NO_RESOURCES]
    monkeypatch.undo()
    assert send(node.port, *study(1)) == [SUCCESS]
