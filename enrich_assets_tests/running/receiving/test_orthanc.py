"""A real PACS, Orthanc (Debian: orthanc, orthanc-dicomweb), as sender and as DICOMweb server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from enrich_assets.archive.home import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.profiles import load_profile
from enrich_assets.running.receiving import Arrivals, Listening, fetch_studies, listen
from enrich_assets_tests.studies.made_dicom import as_bytes, dataset, sector

pytestmark = pytest.mark.servers

PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Orthanc:
    """The server, and where it sends to."""

    folder: Path
    port: int = field(default_factory=free_port)
    dicom_port: int = field(default_factory=free_port)
    enrich_port: int = field(default_factory=free_port)

    def start(self) -> subprocess.Popen[bytes]:
        self.folder.mkdir()
        settings = {
            "Name": "test",
            "StorageDirectory": str(self.folder / "store"),
            "IndexDirectory": str(self.folder / "index"),
            "HttpPort": self.port,
            "DicomPort": self.dicom_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomModalities": {"enrich": ["ENRICH", "127.0.0.1", self.enrich_port]},
            "Plugins": [PLUGIN],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (self.folder / "orthanc.json").write_text(json.dumps(settings))
        log = (self.folder / "log").open("wb")
        return subprocess.Popen(
            [shutil.which("Orthanc") or "/usr/sbin/Orthanc", str(self.folder / "orthanc.json")], stdout=log, stderr=log
        )

    def ask(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def is_up(self) -> bool:
        try:
            return bool(self.ask("/system"))
        except OSError:
            return False

    def hold(self, *datasets: Any) -> list[str]:
        """Upload; their ids."""
        return [self.ask("/instances", as_bytes(one))["ID"] for one in datasets]

    def send(self, *ids: str) -> None:
        self.ask("/modalities/enrich/store", json.dumps({"Resources": list(ids), "Synchronous": True}).encode())


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory) -> Iterator[Orthanc]:
    if not os.path.exists(PLUGIN):
        pytest.fail("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb")
    server = Orthanc(tmp_path_factory.mktemp("orthanc") / "o")
    process = server.start()
    try:
        waiting = threading.Event()
        for _ in range(600):
            if server.is_up():
                break
            assert process.poll() is None, (server.folder / "log").read_text()
            waiting.wait(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def node(orthanc, tmp_path) -> Iterator[Arrivals]:
    """`enrich listen` where Orthanc sends to; a study is handed over by the test."""
    arrivals, stop, up = Arrivals(tmp_path / "incoming", 1e9), threading.Event(), threading.Event()
    how = Listening(port=orthanc.enrich_port, allowed=("ORTHANC",))
    thread = threading.Thread(target=listen, args=(how, arrivals, stop, print, lambda port: up.set()))
    thread.start()
    assert up.wait(30)
    yield arrivals
    stop.set()
    thread.join()


def study(uid: str, n: int = 3) -> list[Any]:
    return [
        dataset(
            sector(3 + k, 150, 200),  # no two of them equal
            modality="US",
            StudyInstanceUID=uid,
            SeriesInstanceUID=f"{uid}.1",
            SOPInstanceUID=f"{uid}.1.{k}",
            PatientID=f"P{uid}",
            StudyDate="20260102",
        )
        for k in range(n)
    ]


def test_a_study_sent_by_a_pacs_is_ingested_from_its_drop(orthanc, node, tmp_path):
    ids = orthanc.hold(*study("1.2.826.1"))
    orthanc.send(*ids)
    (drop,) = node.hand_over(whole="1.2.826.1")

    home = tmp_path / "home"
    home.mkdir()
    (home / "enrich.yaml").write_text("extends: archive\n")
    found = ingest(Archive(home, load_profile(str(home / "enrich.yaml"))), str(node.incoming / drop), None)
    assert (found.n_files, found.n_refused) == (3, 0)


def test_a_study_sent_twice_is_handed_over_once(orthanc, node):
    ids = orthanc.hold(*study("1.2.826.2"))
    orthanc.send(*ids)
    orthanc.send(*ids)
    assert len(node.hand_over(whole="1.2.826.2")) == 1
    orthanc.send(*ids)
    assert node.hand_over(whole="1.2.826.2") == []


def test_a_pacs_learns_that_the_disk_was_full_and_may_send_again(orthanc, node, monkeypatch):
    import errno

    ids = orthanc.hold(*study("1.2.826.3"))

    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="HTTP Error 500"):
        orthanc.send(*ids)
    monkeypatch.undo()
    orthanc.send(*ids)
    (drop,) = node.hand_over(whole="1.2.826.3")
    assert len(list((node.incoming / drop).glob("*.dcm"))) == 3


def test_studies_are_found_and_fetched_by_dicomweb_each_once(orthanc, tmp_path):
    for uid in ("1.2.826.4", "1.2.826.5"):
        orthanc.hold(*study(uid))
    arrivals, url = (
        Arrivals(tmp_path / "incoming", 0, under_way=".fetching"),
        f"http://127.0.0.1:{orthanc.port}/dicom-web",
    )
    (drop,) = fetch_studies(url, arrivals, {"PatientID": "P1.2.826.4"}, print)
    assert len(list((arrivals.incoming / drop).glob("*.dcm"))) == 3
    assert fetch_studies(url, arrivals, {"PatientID": "P1.2.826.4"}, print) == []
    assert len(fetch_studies(url, arrivals, {"StudyDate": "20260101-20260131", "PatientID": "P1.2.826.5"}, print)) == 1
    assert fetch_studies(url, arrivals, {"StudyDate": "20270101-"}, print) == []


def test_a_server_that_is_not_there_is_an_error_that_keeps_nothing(tmp_path):
    arrivals = Arrivals(tmp_path / "incoming", 0, under_way=".fetching")
    with pytest.raises(OSError, match=r"Max retries|refused"):
        fetch_studies(f"http://127.0.0.1:{free_port()}/dicom-web", arrivals, {}, print)
    assert not [path for path in arrivals.incoming.iterdir() if not path.name.startswith(".")]
