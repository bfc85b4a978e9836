"""A labelling round with a real Label Studio server, started here: pushed, labelled there by its API, pulled, and not pushed again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.labelling.so_far import LabelsSoFar
from enrich_assets.cli import main
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets_tests.defs.made_archive import SMALL, bring_up_to_date, make_cells, write_stills

pytestmark = pytest.mark.servers
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = os.environ.get("LABEL_STUDIO", str(Path(__file__).parents[3] / ".venv-label-studio" / "bin" / "label-studio"))
SECONDS_TO_START = 600


def enrich(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the server shows files from."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of our own; ended with all its children."""
    if not Path(PROGRAM).exists() and shutil.which(PROGRAM) is None:
        pytest.skip(f"no Label Studio at {PROGRAM} (.ci/servers installs it)")
    data = tmp_path_factory.mktemp("label_studio")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(root),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
    }
    environment.pop("PYTHONPATH", None)
    command = [PROGRAM, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    command += ["--username", "lead@example.org", "--password", "of-no-account-1", "--user-token", TOKEN]
    with (data / "log").open("w") as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not _answers(port):
            assert child.poll() is None, (data / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (data / "log").read_text()[-2000:]
            time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)


def _answers(port: int) -> bool:
    import httpx

    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve stills of six patients without labels, decoded and embedded."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("ENRICH_HOME", str(folder))
    monkeypatch.delenv("ENRICH_PROFILE", raising=False)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    (folder / "enrich.yaml").write_text(
        f"extends: {SMALL}\nembeddings: {{pca: {{dimensions: 4}}, vae: null}}\n"
        "tasks: {view: {classes: [healthy, covid], positive: covid, ignore: [unsure]}, chambers: {classes: [background, LV, LA]}}\n"
    )
    rows = [{"patient_id": f"p{n // 2}", "clip_id": f"c{n}", "split": "test" if n < 4 else "train"} for n in range(12)]
    archive = Archive.open()
    ingest(archive, str(write_stills(tmp_path / "in", rows)), "one")
    make_cells(archive, "one", *BATCH_ASSETS)
    bring_up_to_date(archive, "", "pca_weights")
    bring_up_to_date(archive, "one", "embeddings/pca")
    return folder


def client(server: str) -> Any:
    from label_studio_sdk import LabelStudio

    return LabelStudio(base_url=server, api_key=TOKEN, timeout=60)


def tasks_of(server: str, title: str) -> tuple[int, list[Any]]:
    project = next(one for one in client(server).projects.list() if one.title == title)
    return project.id, list(client(server).tasks.list(project=project.id, fields="all"))


def test_a_round_of_classes(server: str, root: Path, home: Path) -> None:
    import httpx

    pushed = enrich("worklist", "view", "--budget", "4", "--push", server, "--files-root", str(root))
    assert pushed.exit_code == 0, pushed.output
    assert "4 frames to label in project" in pushed.output
    _, tasks = tasks_of(server, "enrich view")
    assert len(tasks) == 4
    picture = httpx.get(server + tasks[0].data["image"], headers={"Authorization": f"Token {TOKEN}"}, timeout=30)
    assert picture.status_code == 200, picture.text[:300]
    assert picture.content.startswith(b"\x89PNG"), "the picture itself is shown"

    frames = [task.data["frame_id"] for task in tasks]
    for task, answer in zip(tasks[:3], ["healthy", "covid", "unsure"], strict=True):
        choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [answer]}}
        client(server).annotations.create(task.id, result=[choice])
    pulled = enrich("labels", "pull", server, "--task", "view")
    assert pulled.exit_code == 0, pulled.output
    assert "3 labels imported" in pulled.output
    known = LabelsSoFar(Catalogue(Archive.open()))
    assert dict(known.of_task("view").itertuples(index=False)) == {frames[0]: "healthy", frames[1]: "covid"}
    assert known.ignored("view") == {frames[2]}

    again = enrich("labels", "pull", server, "--task", "view")
    assert "0 labels imported, 3 as they were" in again.output
    second = enrich("worklist", "view", "--budget", "8", "--push", server, "--files-root", str(root))
    assert second.exit_code == 0, second.output
    _, tasks = tasks_of(server, "enrich view")
    assert len({task.data["frame_id"] for task in tasks}) == len(tasks) == 8, "each train frame once"


def test_classes_named_once_are_those_of_every_later_push(server: str, root: Path, home: Path) -> None:
    settings = home / "enrich.yaml"
    named = "classes: [healthy, covid], positive: covid"
    settings.write_text(settings.read_text().replace(named, "classes: null, positive: null"))
    project = client(server).projects.create(title="classes named once").id

    def push(budget: int, *options: str) -> Result:
        to = (
            "--push",
            server,
            "--project",
            str(project),
            "--files-root",
            str(root),
            "--out",
            str(root / f"{budget}.json"),
        )
        return enrich("worklist", "view", "--budget", str(budget), *to, *options)

    unnamed = push(1)
    assert unnamed.exit_code == 1
    assert "--classes" in unnamed.output
    first = push(2, "--classes", "healthy,covid")
    assert first.exit_code == 0, first.output
    second = push(3)
    assert second.exit_code == 0, second.output
    interface = client(server).projects.get(id=project).label_config
    assert all(f'value="{name}"' in interface for name in ("healthy", "covid"))
    assert len(list(client(server).tasks.list(project=project))) == 3


def test_a_round_of_masks_and_a_mask_pulled_twice_is_kept_once(server: str, root: Path, home: Path) -> None:
    import numpy as np
    from label_studio_sdk.converter.brush import mask2rle

    pushed = enrich("worklist", "chambers", "--budget", "2", "--push", server, "--files-root", str(root))
    assert pushed.exit_code == 0, pushed.output
    _, tasks = tasks_of(server, "enrich chambers")
    drawn = np.zeros((60, 60), np.uint8)
    drawn[10:30, 20:50] = 255
    value = {"format": "rle", "rle": mask2rle(drawn), "brushlabels": ["LA"]}
    brush = {"from_name": "label", "to_name": "image", "type": "brushlabels", "value": value}
    brush |= {"original_width": 60, "original_height": 60, "image_rotation": 0}
    client(server).annotations.create(tasks[0].id, result=[brush])
    pulled = enrich("labels", "pull", server, "--task", "chambers")
    assert pulled.exit_code == 0, pulled.output
    log = LabelsSoFar(Catalogue(Archive.open()))._log
    assert list(log["frame_id"]) == [tasks[0].data["frame_id"]]
    from enrich_assets.store.annotations import Annotations

    kept = Annotations(Archive.open().store.folder).mask(log["entry"].iloc[0], int(log["mask_row"].iloc[0]))
    assert np.array_equal(kept, (drawn > 0).astype(np.uint8) * 2), "LA is the second structure"
    assert "0 labels imported, 1 as they were" in enrich("labels", "pull", server, "--task", "chambers").output


def test_what_a_model_predicts_is_laid_before_the_labeller_but_never_of_test_frames(
    server: str, root: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    from enrich_assets.running.labelling.predictions import latest_model

    for side, options in (("train", []), ("test", ["--test-set"])):
        pushed = enrich(
            "worklist", "chambers", "--budget", "3", "--push", server, "--files-root", str(root / "t"), *options
        )
        assert pushed.exit_code == 0, pushed.output
        title = "enrich chambers" + (" (test set)" if side == "test" else "")
        _, tasks = tasks_of(server, title)
        proposed = [one for task in tasks for one in task.predictions or []]
        assert latest_model(Archive.open(), "chambers") is not None
        if side == "test":
            assert tasks
            assert not proposed
        else:
            versions = {one["model_version"] if isinstance(one, dict) else one.model_version for one in proposed}
            assert any("chambers/" in str(version) for version in versions), versions


def test_what_is_wrong_with_a_server_is_a_sentence(
    server: str, root: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = ("worklist", "view", "--budget", "2", "--push")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert "does not answer" in enrich(*push, nobody, "--files-root", str(root)).output
    elsewhere = enrich(*push, server, "--files-root", str(tmp_path))
    assert elsewhere.exit_code == 1
    assert "may not show the pictures" in elsewhere.output
    assert "--files-root" in elsewhere.output
    absent = enrich("labels", "pull", server, "--task", "view", "--project", "9999")
    assert absent.exit_code == 1
    assert "no such project" in absent.output
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "f" * 40)
    assert "does not accept the token" in enrich(*push, server, "--files-root", str(root)).output
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    assert "LABEL_STUDIO_API_KEY is not set" in enrich(*push, server, "--files-root", str(root)).output
