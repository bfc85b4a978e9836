"""`enrich explore` with a real LightlyStudio: started, the dataset read back from it, labels and tags given there, and imported."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.labelling.so_far import LabelsSoFar
from enrich_assets.cli import main
from enrich_assets.running.exploring import studio
from enrich_assets.store.annotations import Annotations
from enrich_assets.studies.labels import read_labels
from enrich_assets_tests.made_home import opened

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parents[3]
PYTHON = os.environ.get("ENRICH_EXPLORE_PYTHON", str(ROOT / ".venv-explore" / "bin" / "python"))
SECONDS_TO_START = 600


class Studio:
    """A client of the web API that LightlyStudio's own pages use."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        with self.raw(method, path, body, **headers) as response:
            return json.loads(response.read() or "null")

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            request.add_header(name, value)
        return urllib.request.urlopen(request, timeout=60)

    @property
    def collection(self) -> dict[str, Any]:
        (one,) = [each for each in self("GET", "/api/collections") if each["parent_collection_id"] is None]
        return one

    def path(self, what: str) -> str:
        return f"/api/collections/{self.collection['collection_id']}/{what}"

    @property
    def samples(self) -> dict[str, dict[str, Any]]:
        """By frame id."""
        shown = self("POST", self.path("images/list"), {})["data"]
        return {one["metadata_dict"]["data"]["frame_id"]: one for one in shown}

    def tag(self, name: str, frames: list[str]) -> None:
        tag = self("POST", self.path("tags"), {"name": name})
        ids = [self.samples[frame]["sample_id"] for frame in frames]
        self("POST", self.path(f"tags/{tag['tag_id']}/add/samples"), {"sample_ids": ids})

    @property
    def labels(self) -> dict[str, str]:
        """Class -> its id."""
        found = self("GET", self.path("annotation_labels"))
        return {one["annotation_label_name"]: one["annotation_label_id"] for one in found}


def sources_of(client: Studio, sample: dict[str, Any]) -> dict[str, list[str]]:
    """Annotation source -> classes, of a picture."""
    names = {child["collection_id"]: child["name"] for child in client.collection["children"]}
    found: dict[str, list[str]] = {}
    for one in sample["annotations"]:
        found.setdefault(names[one["annotation_collection_id"]], []).append(
            one["annotation_label"]["annotation_label_name"]
        )
    return found


@contextmanager
def exploring(task: str, home: Path) -> Iterator[tuple[Studio, list[str]]]:
    """`enrich explore` as a user starts it; what it printed is there once it was ended as Ctrl-C ends it."""
    if not Path(PYTHON).exists():
        pytest.skip(f"no LightlyStudio at {PYTHON} (`make explore` installs it)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "ENRICH_HOME": str(home), "ENRICH_EXPLORE_PYTHON": PYTHON, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "enrich_assets.cli", "explore", task, "--port", str(port)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    printed: list[str] = []
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not _answers(port):
            assert child.poll() is None, child.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield Studio(port), printed
        child.send_signal(signal.SIGTERM)  # SIGINT is ignored by what a shell starts in the background
        printed += child.communicate(timeout=120)[0].splitlines()
        assert child.returncode == 0, printed
    finally:
        child.kill()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/collections", timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False


def test_the_dataset_is_read_back_and_labels_and_tags_come_home(small: Path) -> None:
    archive = opened(small)
    labels = Catalogue(archive).labels().of_task("view").set_index("frame_id")["label"]
    with exploring("view", small) as (client, printed):
        (folder,) = [studio.Folder(path) for path in (small / "explore").iterdir()]
        samples = client.samples
        frames = folder.frames.set_index("frame_id")
        assert set(samples) == set(frames.index)
        for frame, sample in samples.items():
            row, known = frames.loc[frame], sample["metadata_dict"]["data"]
            assert known["patient_id"] == row["patient_id"]
            assert known.get("rank") == (None if pd.isna(row["rank"]) else row["rank"])
            assert known.get("near_duplicates") == (None if pd.isna(row["near_duplicates"]) else row["near_duplicates"])
            wanted = {"labels": [labels[frame]]} if frame in labels else {}
            if not pd.isna(row["predicted"]):
                wanted[folder.about["model"]] = [row["predicted"]]
            assert sources_of(client, sample) == wanted
            assert {tag["name"] for tag in sample["tags"]} == {
                name for name, of in folder.about["tags"].items() if frame in of
            }
        with client.raw("POST", client.path("embeddings2d/default"), {"filters": {"filter_type": "image"}}) as plot:
            import pyarrow.ipc

            assert pyarrow.ipc.open_stream(plot.read()).read_all().num_rows == len(samples)
        _only_for_this_machine(client)

        corrected, sorted_in = [frame for frame in samples if frame in labels][:2]
        answer = next(name for name in folder.about["classes"] if name != labels[corrected])
        (annotation,) = [one for one in samples[corrected]["annotations"] if one["confidence"] is None]
        change = {
            "annotation_id": annotation["sample_id"],
            "collection_id": client.collection["collection_id"],
            "label_name": answer,
        }
        client("PUT", client.path("annotations"), [change])
        other = next(name for name in folder.about["classes"] if name != labels[sorted_in])
        client.tag(other, [sorted_in])
        client.tag("look again", list(samples)[:3])
        prepared = client("POST", client.path("export/annotations/prepare"), {"export_format": "classification_csv"})
        with client.raw("GET", client.path(f"export/download/{prepared['export_key']}")) as exported:
            (small / "export.csv").write_bytes(exported.read())
    assert any("2 labels were given: `enrich labels import" in line for line in printed), printed
    assert any("look again (3)" in line for line in printed), printed

    own_export = read_labels(str(small / "export.csv"), "class", folder.about["classes"], set(samples))
    assert dict(own_export.labels[["frame_id", "label"]].itertuples(index=False)) == {
        **labels[labels.index.isin(samples)],
        corrected: answer,
    }

    file = folder.path / "given" / "labels.csv"
    imported = CliRunner().invoke(main, ["labels", "import", str(file), "--task", "view"])
    assert imported.exit_code == 0, imported.output
    so_far = Annotations(archive.store.folder).all().set_index("frame_id")["label"].to_dict()
    assert so_far == {corrected: answer, sorted_in: other}
    assert set(LabelsSoFar(Catalogue(opened(small))).classes("view")) == set(folder.about["classes"])

    with exploring("view", small) as (client, _):
        assert {
            frame for frame, one in client.samples.items() if "look again" in [tag["name"] for tag in one["tags"]]
        } == set(list(samples)[:3]), "what was given is still there the next time"


def _only_for_this_machine(client: Studio) -> None:
    """No page of another site is answered, no other name of this machine, and no other machine reaches it."""
    for header in ({"Origin": "http://example.org"}, {"Origin": "null"}, {"Host": "example.org"}):
        with pytest.raises(urllib.error.HTTPError, match=r"40[03]"):
            client("GET", "/api/collections", **header)
    assert client("GET", "/api/collections", Origin=f"http://127.0.0.1:{client.port}")
    assert "analytics" not in client("GET", "/api/features")
    listening = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    addresses = {one[1] for one in listening if one[3] == "0A" and one[1].endswith(f":{client.port:04X}")}
    assert addresses == {f"0100007F:{client.port:04X}"}


def test_an_outline_drawn_there_comes_home_as_a_mask(small: Path) -> None:
    archive = opened(small)
    with exploring("chambers", small) as (client, printed):
        (folder,) = [studio.Folder(path) for path in (small / "explore").iterdir()]
        samples = client.samples
        names = {frame: name for name, frame in folder.frames["frame_id"].items()}
        frame = next(frame for frame in samples if folder.mask(names[frame]) is not None)
        structures = folder.about["classes"][1:]
        found = sources_of(client, samples[frame])["labels"]
        assert sorted(found) == sorted(structures[code - 1] for code in np.unique(folder.mask(names[frame])) if code)
        height, width = folder.size(names[frame])
        assert (samples[frame]["height"], samples[frame]["width"]) == (height, width)
        outline = np.zeros((height, width), bool)
        outline[: 2 * folder.times, : 3 * folder.times] = True
        drawn = {
            "annotation_label_id": client.labels[structures[0]],
            "annotation_type": "segmentation_mask",
            "annotation_collection_name": "labels",
            "parent_sample_id": samples[frame]["sample_id"],
            **studio._outlined(outline),
        }
        client("POST", client.path("annotations"), drawn)
    assert any("1 labels were given" in line for line in printed), printed
    file = folder.path / "given" / "labels.csv"
    imported = CliRunner().invoke(main, ["labels", "import", str(file), "--task", "chambers"])
    assert imported.exit_code == 0, imported.output
    log = Annotations(archive.store.folder)
    entry = log.all().iloc[0]
    expected = folder.mask(names[frame]).copy()
    expected[:2, :3] = 1
    assert entry["frame_id"] == frame
    np.testing.assert_array_equal(log.mask(str(entry["entry"]), int(entry["mask_row"])), expected)


def test_a_second_browser_on_the_same_dataset_is_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICH_EXPLORE_PYTHON", PYTHON)
    with exploring("view", small) as (client, _):
        taken = CliRunner().invoke(main, ["explore", "view", "--port", str(client.port)])
        assert taken.exit_code == 1
        assert "something answers at" in taken.output
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        again = CliRunner().invoke(main, ["explore", "view", "--port", str(free)])
        assert again.exit_code == 1
        assert "is shown already" in again.output


def test_labels_given_before_a_crash_are_kept_at_the_next_start(small: Path) -> None:
    with exploring("view", small) as (client, _):
        (folder,) = [studio.Folder(path) for path in (small / "explore").iterdir()]
        frame = next(iter(client.samples))
        client.tag("odd", [frame])
    (folder.path / "given" / "tags.json").unlink()  # as if the end had not been reached
    done = subprocess.run(
        [PYTHON, studio.__file__, "collect", str(folder.path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((folder.path / "given" / "tags.json").read_text()) == {"odd": [frame]}
