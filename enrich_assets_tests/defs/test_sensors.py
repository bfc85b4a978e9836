"""Drops become batches and runs: detected without being read, ingested by a run, tried again up to a limit; first the VAE, once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from PIL import Image

from enrich_assets.archive import Archive, drops
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.drops import DropRegister, Outcome, find_drops, ingest_drops, remove_read_drops
from enrich_assets.archive.ingest import Found, ingest
from enrich_assets.archive.sources import source_files
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets.core.planner import Planner
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.attempts import MOST_ATTEMPTS
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.first_fit import first_vae_request
from enrich_assets.defs.mount import BATCH, Mount
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.sensors import unseen_requests, watch
from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.profiles import load_profile
from enrich_assets.settings import IncomingSettings
from enrich_assets.store.annotations import Annotations
from enrich_assets.store.receipts import Cell, Origin
from enrich_assets_tests.defs.made_archive import make_cells, verdict
from enrich_assets_tests.studies.made_dicom import dataset, save, sector

WHOLE = load_profile(str(Path(__file__).parents[1] / "small.yaml"))
MOUNT = Mount()


class World:
    """An archive in a folder, an ephemeral instance, the sensor's ticks, and the runs that it asks for."""

    def __init__(self, home: Path, **incoming: object) -> None:
        settings = IncomingSettings(settle_seconds=60, **incoming)  # type: ignore[arg-type]
        profile = WHOLE.model_copy(update={"incoming": settings, "tasks": {"view": WHOLE.tasks["view"]}})
        self.home, self.archive, self.graph = home, Archive(home, profile), graph_of(profile)
        self.incoming = home / "incoming"
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None
        self.skip_reason = ""

    def look(self, now: float = 0.0) -> list[dg.RunRequest]:
        """One tick: what it asks for."""
        self.archive.look_again()  # as a sensor does, which opens the archive at each tick
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = watch(self.archive, self.graph, context, now, MOUNT)
        self.cursor = result.cursor
        self.skip_reason = str(result.skip_reason.skip_message) if result.skip_reason else ""
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(BATCH, list(request.partition_keys))
        return list(result.run_requests or [])

    def ingest(self, request: dg.RunRequest) -> list[Outcome]:
        """What a run of the job `ingest_drops` does."""
        assert request.job_name == "ingest_drops"
        keys = request.run_config["ops"]["ingest"]["config"]["drops"]
        outcomes = ingest_drops(self.archive, find_drops(self.archive, keys))
        failed = any(outcome.error is not None for outcome in outcomes)
        self.ended(request, dg.DagsterRunStatus.FAILURE if failed else dg.DagsterRunStatus.SUCCESS)
        return outcomes

    def ended(self, request: dg.RunRequest, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS) -> None:
        """A run of the request, as the instance remembers it."""
        self.instance.add_run(dg.DagsterRun(job_name=str(request.job_name), tags=dict(request.tags), status=status))

    def failed(self, request: dg.RunRequest) -> None:
        self.ended(request, dg.DagsterRunStatus.FAILURE)

    def tick(self, now: float = 0.0) -> list[dg.RunRequest]:
        """A tick, the runs that ingest what it found, and the tick after: the runs that decode."""
        requests = self.look(now)
        for request in requests:
            if request.job_name == "ingest_drops":
                self.ingest(request)
        return [request for request in self.look(now) if request.job_name == "decode_batch"]

    def make(self, batch: str, *keys: str) -> None:
        make_cells(self.archive, batch, *keys)

    def revision(self, batch: str) -> int:
        return self.archive.batch(batch).revision

    def patients(self, batch: str) -> list[str]:
        return sorted(self.archive.register.rows(self.archive.batch(batch))["patient_id"])

    def drop(self, name: str, *clips: str, seed: int = 0, ready: bool = True) -> Path:
        """A folder with a manifest and a small picture per clip; the patient is the drop."""
        folder = self.incoming / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, *name.encode()])
        rows = ["path,patient_id,clip_id,label"]
        for clip in clips or ("one",):
            pixels = rng.integers(0, 255, (40, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{clip}.png")
            rows.append(f"{clip}.png,{name},{clip},{'NT' if rng.random() < 0.5 else 'A4C'}")
        (folder / "manifest.csv").write_text("\n".join(rows))
        if ready:
            (folder / "_READY").touch()
        return folder


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_complete_drop_becomes_a_batch_and_one_run(world: World) -> None:
    world.drop("monday", ready=False)
    assert world.look(0) == []
    (found,) = world.look(60)
    assert found.job_name == "ingest_drops"
    assert world.archive.batches == [], "a sensor detects, a run ingests"
    world.ingest(found)
    (request,) = world.look(60)
    assert (request.job_name, request.partition_key) == ("decode_batch", "monday")
    assert str(request.run_key).startswith("decode-monday-")
    assert world.instance.get_dynamic_partitions(BATCH) == ["monday"]
    world.make("monday")
    assert world.look(60) == []


def test_the_same_drop_again_does_nothing(world: World) -> None:
    world.drop("monday")
    world.tick()
    world.make("monday")
    assert world.tick() == []
    world.cursor = None  # somebody resets the sensor
    assert world.tick() == []
    world.drop("copy-of-monday")
    for file in (world.incoming / "monday").iterdir():
        (world.incoming / "copy-of-monday" / file.name).write_bytes(file.read_bytes())
    assert world.tick() == []
    assert world.archive.batches == ["monday"]


def test_a_run_is_asked_for_by_the_same_key_until_the_batch_is_read(world: World) -> None:
    """Were the daemon stopped between noting a drop down and launching its run, nothing would be lost, nothing run twice."""
    world.drop("monday")
    (found,) = world.look()
    assert [r.run_key for r in world.look()] == [found.run_key]
    world.ingest(found)
    (request,) = world.look()
    assert [r.run_key for r in world.look()] == [request.run_key]


def test_a_changed_drop_gives_its_batch_a_new_revision_and_a_new_run(world: World) -> None:
    world.drop("monday")
    (before,) = world.tick()
    world.make("monday")
    world.drop("monday", "one", "two", seed=1)
    (after,) = world.tick()
    assert (after.partition_key, world.revision("monday")) == ("monday", 2)
    assert after.run_key != before.run_key
    assert verdict(world.archive, "studies", "monday").why == "changed: manifest"


def test_touched_files_of_the_same_content_change_nothing(world: World) -> None:
    folder = world.drop("monday")
    world.tick()
    world.make("monday")
    for file in folder.iterdir():
        file.touch()
    assert world.tick() == []
    assert world.revision("monday") == 1


def test_a_burst_of_drops_becomes_few_batches(tmp_path: Path) -> None:
    world = World(tmp_path, drops_per_batch=3)
    for name in ("a", "b", "c", "d"):
        world.drop(name)
    requests = world.tick()
    assert [r.partition_key for r in requests] == ["a-and-2-more", "d"]
    assert world.patients("a-and-2-more") == ["a", "b", "c"]
    world.make("a-and-2-more")
    world.make("d")
    world.drop("b", "one", "two", seed=1)
    (again,) = world.tick()
    assert again.partition_key == "a-and-2-more"
    assert world.patients("a-and-2-more") == ["a", "b", "b", "c"], "the others' rows stay"


def test_a_broken_drop_is_set_aside_with_its_reason_and_the_next_goes_on(world: World) -> None:
    broken = world.drop("broken")
    (broken / "manifest.csv").write_text("file,who\none.png,x\n")
    empty = world.drop("gone")
    (empty / "one.png").unlink()
    world.drop("good")
    assert [r.partition_key for r in world.tick()] == ["good"]
    assert sorted(p.name for p in world.incoming.iterdir()) == ["good"]
    quarantine = world.home / "quarantine"
    assert sorted(p.name for p in quarantine.iterdir()) == ["broken", "gone"]
    reason = (quarantine / "broken" / "REASON.txt").read_text()
    assert "manifest.csv" in reason
    assert "has no column `path`" in reason
    assert "move the folder back" in reason
    assert (quarantine / "broken" / "one.png").exists()
    assert "no such file" in (quarantine / "gone" / "REASON.txt").read_text()


def test_a_corrected_drop_may_come_back(world: World) -> None:
    broken = world.drop("monday")
    whole = (broken / "manifest.csv").read_text()
    (broken / "manifest.csv").write_text("nonsense")
    world.tick()
    back = world.home / "quarantine" / "monday"
    (back / "REASON.txt").unlink()
    (back / "manifest.csv").write_text(whole)
    back.rename(broken)
    assert [r.partition_key for r in world.tick()] == ["monday"]


def test_a_new_drop_never_takes_the_name_of_another_batch(world: World) -> None:
    world.drop("monday")
    ingest(world.archive, str(world.drop("other")), "monday")
    requests = world.tick()
    assert {r.partition_key for r in requests} >= {"monday-2"}
    assert set(world.patients("monday")) == {"other"}


def test_a_dicom_drop_is_not_named_after_its_folder(world: World) -> None:
    name = "DOE_JANE"
    save(dataset(sector(2), modality="US", PatientID="X1"), world.incoming / name / "IM0001")
    (world.incoming / name / "_READY").touch()
    (request,) = world.tick()
    assert request.partition_key == "batch-0001"
    assert name not in str(world.cursor)
    stored = b"".join(p.read_bytes() for p in (world.home / "store").rglob("*") if p.is_file())
    assert name.encode() not in stored
    rows = world.archive.register.rows(world.archive.batch("batch-0001"))
    assert name not in rows.to_csv()
    assert [source_files(world.archive).address(p) for p in rows["path"]] == [str(world.incoming / name / "IM0001")]
    world.make("batch-0001", "studies", "frames")
    assert world.archive.store.receipts.require(Cell("frames", "batch-0001")).metrics["frames"] == 2


def test_read_dicom_drops_are_removed_when_the_profile_says_so(world: World) -> None:
    save(dataset(sector(2), modality="US"), world.incoming / "exam" / "IM1")
    (world.incoming / "exam" / "_READY").touch()
    world.drop("with-manifest")
    world.tick()
    drop_register = DropRegister(world.archive)
    assert sum(remove_read_drops(world.archive, drop_register, batch) for batch in world.archive.batches) == 1
    assert [p.name for p in world.incoming.iterdir()] == ["with-manifest"]


def test_the_first_vae_is_asked_for_once_when_all_that_dropped_in_is_read(world: World) -> None:
    world.drop("a")
    world.drop("b")
    asked = lambda: first_vae_request(world.archive, world.graph, world.instance)  # noqa: E731
    assert isinstance(asked(), dg.SkipReason)
    world.tick()
    world.make("a")
    assert isinstance(asked(), dg.SkipReason), "b is not read yet"
    world.make("b")
    request = asked()
    assert isinstance(request, dg.RunRequest)
    again = asked()
    assert isinstance(again, dg.RunRequest)
    assert request.run_key == again.run_key, "Dagster starts a run key once"
    pretend_vae(world, healthy=False)
    same = asked()
    assert isinstance(same, dg.SkipReason), "one that is not healthy is not tried again with the same frames"
    assert "waiting for more frames" in str(same.skip_message)
    world.drop("c")
    world.tick()
    world.make("c")
    more = asked()
    assert isinstance(more, dg.RunRequest), "but it is with more"
    assert more.run_key != request.run_key
    pretend_vae(world, healthy=True)
    assert isinstance(asked(), dg.SkipReason)


def test_a_first_vae_whose_run_failed_is_asked_for_again_up_to_the_limit(world: World) -> None:
    world.drop("a")
    world.tick()
    world.make("a")
    keys = set()
    for _ in range(MOST_ATTEMPTS):
        request = first_vae_request(world.archive, world.graph, world.instance)
        assert isinstance(request, dg.RunRequest)
        keys.add(request.run_key)
        world.instance.add_run(
            dg.DagsterRun(job_name="train_vae", tags=dict(request.tags), status=dg.DagsterRunStatus.FAILURE)
        )
    assert len(keys) == MOST_ATTEMPTS
    skipped = first_vae_request(world.archive, world.graph, world.instance)
    assert isinstance(skipped, dg.SkipReason)
    assert f"failed in {MOST_ATTEMPTS} runs" in str(skipped.skip_message)


def pretend_vae(world: World, *, healthy: bool) -> None:
    """A VAE trained on all there is, and the outcome of its check."""
    receipts = world.archive.store.receipts
    cells = [Cell(asset, batch) for asset in ("frames", "split") for batch in world.archive.batches]
    draft = world.archive.store.draft(Cell("vae_weights"), settings="s", inputs={})
    draft.read_from = {str(c): Origin(r.digest, r.name) for c in cells if (r := receipts.current(c)) is not None}
    vae = draft.commit()
    check = world.archive.store.draft(Cell("vae_weights@health"), settings="s", inputs={})
    check.read_from = {"vae_weights": Origin(vae.digest, vae.name)}
    check.commit(passed=healthy, description="as the test says", blocking=True)


def test_what_was_ingested_by_hand_trains_nothing_by_itself(world: World) -> None:
    ingest(world.archive, str(world.drop("a")), "by-hand")
    world.make("by-hand")
    assert isinstance(first_vae_request(world.archive, world.graph, world.instance), dg.SkipReason)


def unseen(world: World, before: list[str] | None = None) -> tuple[list[dg.RunRequest], list[str]]:
    return unseen_requests(world.archive, world.graph, world.instance, MOUNT, before or [])


def test_imported_labels_are_followed_though_dagster_saw_no_event(world: World) -> None:
    for name in ("a", "b"):
        world.drop(name)
    world.tick()
    for name in ("a", "b"):
        world.make(name)
    for name in ("a", "b"):
        world.make(name, "view/pool")
    assert unseen(world) == ([], [])
    frame = Catalogue(world.archive).frame_table(["a"])["frame_id"].iloc[0]
    label = {
        "frame_id": [frame],
        "label": ["A4C"],
        "source": ["import"],
        "author": ["me"],
        "recorded_at": ["2026-01-01"],
    }
    Annotations(world.archive.store.folder).add("view", pd.DataFrame(label))
    at_once, stale = unseen(world)
    assert at_once == [], "automation, whose edges see most changes, goes first"
    (request,), _ = unseen(world, stale)
    assert request.partition_key == "a"
    assert {k.to_user_string() for k in request.asset_selection or []} == {"label_presence", "labels"}
    world.make("a", "label_presence", "labels")
    assert unseen(world, stale) == ([], [])


def test_what_is_stale_unseen_is_asked_for_up_to_the_limit_and_again_once_its_inputs_change(world: World) -> None:
    world.instance = dg.DagsterInstance.local_temp(str(world.home))
    world.drop("a")
    world.tick()
    world.make("a")
    _, stale = unseen(world)
    for _ in range(MOST_ATTEMPTS):
        (request,), stale = unseen(world, stale)
        world.instance.add_run(
            dg.DagsterRun(job_name="measure", tags=dict(request.tags), status=dg.DagsterRunStatus.FAILURE)
        )
    assert unseen(world, stale) == ([], stale)
    data = tick_of(world, "unseen_changes", cursor=json.dumps(stale))
    assert f"failed in {MOST_ATTEMPTS} runs, look at their logs: {stale[0]}" in str(data.skip_message)
    world.drop("a", "one", "two", seed=1)
    world.tick()
    world.make("a")
    _, changed = unseen(world, stale)
    assert changed != stale
    requests, _ = unseen(world, changed)
    assert [r.partition_key for r in requests] == ["a"]


def test_a_panel_whose_first_making_failed_is_asked_for_when_it_is_still_missing_at_the_next_look(
    world: World,
) -> None:
    """It reads every earlier batch, of which no edge of the graph tells."""
    receipts = world.archive.store.receipts
    for name in ("a", "b"):
        world.drop(name)
    world.tick()
    for name in ("a", "b"):
        world.make(name)
    for name in ("a", "b"):
        world.make(name, "view/pool")
    pretend_embeddings(world, "b")
    with pytest.raises(LookupError, match=r"embeddings/vae\[a\] has not been made yet"):
        world.make("b", "view/similarity/vae")
    assert unseen(world) == ([], []), "not before the earlier batch is embedded"
    pretend_embeddings(world, "a")
    for name in ("a", "b"):
        world.make(name, "embeddings/vae@tells_frames_apart")
    first, missing = unseen(world)
    assert first == []
    assert [what.rpartition("-")[0] for what in missing] == ["stale-a", "stale-b"]
    world.make("a", "archive/similarity/vae", "archive/similarity/vae@archive_panel_is_whole", "view/similarity/vae")
    assert receipts.current(Cell("view/similarity/vae", "a")) is not None
    (request,), still = unseen(world, missing)
    assert request.partition_key == "b"
    assert {k.to_user_string() for k in request.asset_selection or []} == {
        "archive/similarity/vae",
        "view/similarity/vae",
    }
    assert {key.name for key in request.asset_check_keys or []} == {"archive_panel_is_whole", "panel_is_whole"}
    assert [what.rpartition("-")[0] for what in still] == ["stale-b"]


def pretend_embeddings(world: World, batch: str) -> None:
    """Embeddings of a batch without a VAE, and their checks."""
    ids = Catalogue(world.archive).frames([batch]).frame_table[["frame_id"]]
    vectors = to_fixed_point(np.random.default_rng(ord(batch[0])).normal(size=(len(ids), 128)))
    draft = world.archive.store.draft(Cell("embeddings/vae", batch), settings="s", inputs={})
    draft.array("vectors", vectors)
    draft.table("frames", ids)
    draft.commit()
    world.make(batch, "embeddings/vae@unit_length")


# --------------------------------------------------------------------------------------- detects, retries, goes on


OPENED: list[str] | None = None


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and OPENED is not None:
        OPENED.append(str(arguments[0]))


sys.addaudithook(_note_opened)


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Paths of all files that Python opens meanwhile."""
    global OPENED
    OPENED = []
    try:
        yield OPENED
    finally:
        OPENED = None


def test_a_tick_detects_without_opening_a_file_of_a_drop(world: World) -> None:
    """A file that cannot be read, or is read for an hour, is the business of the run."""
    folder = world.drop("monday")
    (folder / "one.png").unlink()
    (folder / "one.png").symlink_to("/nowhere/at/all.png")
    (folder / "manifest.csv").chmod(0)
    with opened_files() as paths:
        (request,) = world.look()
    assert request.job_name == "ingest_drops"
    assert not [path for path in paths if path.startswith(str(world.incoming))]
    with opened_files() as paths:
        assert DropRegister(world.archive).entries == {}
        (folder / "_READY").read_bytes()
    assert str(folder / "_READY") in paths, "the hook sees what is opened"


def test_a_drop_whose_run_failed_is_asked_for_again_up_to_the_limit_and_then_the_sensor_says_so(world: World) -> None:
    world.drop("monday")
    keys = []
    for _ in range(MOST_ATTEMPTS):
        (request,) = world.look()
        keys.append(request.run_key)
        world.ended(request, dg.DagsterRunStatus.STARTED)
        assert world.look() == [], "while one goes on, no other is asked for"
        assert world.skip_reason == "nothing new in incoming/"
        going_on = world.instance.get_runs()[0]
        world.instance.report_run_failed(going_on, "the disk was full")
    assert MOST_ATTEMPTS == 3
    assert len(set(keys)) == 3, "Dagster drops a request whose key it has seen"
    assert world.look() == []
    assert "1 drops could not be ingested in 3 runs" in world.skip_reason
    assert "monday" not in world.skip_reason, "the name of a drop may be a patient's"


def test_a_changed_drop_begins_a_new_count(world: World) -> None:
    world.drop("monday")
    for _ in range(MOST_ATTEMPTS):
        world.failed(world.look()[0])
    assert world.look() == []
    world.drop("monday", seed=1)
    (request,) = world.look()
    assert str(request.run_key).endswith("-1")
    world.ingest(request)
    assert [r.partition_key for r in world.look()] == ["monday"]


def test_a_batch_whose_decoding_failed_is_asked_for_again_up_to_the_limit(world: World) -> None:
    world.drop("monday")
    (request,) = world.tick()
    keys = {request.run_key}
    world.failed(request)
    for _ in range(MOST_ATTEMPTS - 1):
        (request,) = world.look()
        keys.add(request.run_key)
        world.failed(request)
    assert len(keys) == MOST_ATTEMPTS
    assert world.look() == []
    assert "batch monday could not be decoded in 3 runs" in world.skip_reason
    world.drop("monday", "one", "two", seed=1)
    (again,) = world.tick()
    assert again.partition_key == "monday"
    assert again.run_key not in keys


def test_a_batch_whose_decoding_stopped_half_way_is_asked_for_by_the_cells_that_lack(world: World) -> None:
    world.drop("monday")
    world.tick()
    world.make("monday", "studies")
    (request,) = world.look()
    assert request.partition_key == "monday"
    assert {key.to_user_string() for key in request.asset_selection or []} == set(BATCH_ASSETS) - {"studies"}


def test_one_bad_drop_does_not_stop_the_others(world: World) -> None:
    world.drop("bad")
    (bad,) = world.look()
    world.failed(bad)
    world.drop("good")
    again, good = world.look()
    assert again.run_key != bad.run_key
    world.failed(again)
    world.ingest(good)
    requests = world.look()
    assert {(r.job_name, r.partition_key) for r in requests} == {("ingest_drops", None), ("decode_batch", "good")}
    world.failed(next(r for r in requests if r.job_name == "ingest_drops"))
    world.make("good")
    assert world.look() == []
    assert "could not be ingested" in world.skip_reason
    world.drop("later")
    assert [r.job_name for r in world.look()] == ["ingest_drops"]


def test_a_drop_that_cannot_be_read_does_not_stop_those_of_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, drops_per_batch=3)
    for name in ("a", "bad", "c"):
        world.drop(name)
    real = drops.look_at

    def look_at(archive: Archive, path: str) -> Found:
        if path.endswith("/bad"):
            raise PermissionError(13, "Permission denied", path)
        return real(archive, path)

    monkeypatch.setattr(drops, "look_at", look_at)
    (request,) = world.look()
    outcomes = world.ingest(request)
    assert [type(outcome.error) for outcome in outcomes] == [PermissionError, type(None)]
    assert world.archive.batches == ["a-and-1-more"]
    assert world.patients("a-and-1-more") == ["a", "c"]
    assert (world.incoming / "bad").is_dir(), "it stays where it is: the reason may pass"
    world.make("a-and-1-more")
    for _ in range(MOST_ATTEMPTS):
        (request,) = world.look()
        world.ingest(request)
    assert world.look() == []
    assert "1 drops could not be ingested in 3 runs" in world.skip_reason
    monkeypatch.undo()
    (world.incoming / "bad" / "manifest.csv").touch()
    (request,) = world.look()
    world.ingest(request)
    assert world.archive.batches == ["a-and-1-more", "bad"]


def test_drops_that_brought_their_run_down_together_are_tried_each_by_itself(tmp_path: Path) -> None:
    world = World(tmp_path, drops_per_batch=3)
    for name in ("a", "bad", "c"):
        world.drop(name)
    (together,) = world.look()
    world.failed(together)  # killed: nothing of it was ingested
    alone = world.look()
    assert [len(r.run_config["ops"]["ingest"]["config"]["drops"]) for r in alone] == [1, 1, 1]
    bad = DropRegister(world.archive).key_of("bad")
    for request in alone:
        if request.run_config["ops"]["ingest"]["config"]["drops"] == [bad]:
            world.failed(request)
        else:
            world.ingest(request)
    assert world.archive.batches == ["a", "c"]


def test_a_run_with_a_drop_that_cannot_be_read_fails_after_it_has_ingested_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, drops_per_batch=2)
    for name in ("bad", "good"):
        world.drop(name)
    real = drops.look_at

    def look_at(archive: Archive, path: str) -> Found:
        if path.endswith("/bad"):
            raise PermissionError(13, "Permission denied", path)
        return real(archive, path)

    monkeypatch.setattr(drops, "look_at", look_at)
    (request,) = world.look()
    definitions = build_definitions(world.archive.profile, ArchiveResource.of(world.archive))
    result = definitions.resolve_job_def("ingest_drops").execute_in_process(
        instance=world.instance, run_config=dict(request.run_config), tags=dict(request.tags), raise_on_error=False
    )
    assert not result.success
    assert world.instance.get_dynamic_partitions(BATCH) == ["good"]
    assert {r.job_name for r in world.look()} == {"ingest_drops", "decode_batch"}


def test_the_job_ingests_the_drops_and_adds_the_partition(world: World) -> None:
    world.drop("monday")
    (request,) = world.look()
    definitions = build_definitions(world.archive.profile, ArchiveResource.of(world.archive))
    result = definitions.resolve_job_def("ingest_drops").execute_in_process(
        instance=world.instance, run_config=dict(request.run_config), tags=dict(request.tags)
    )
    assert result.success
    assert world.instance.get_dynamic_partitions(BATCH) == ["monday"]
    assert world.patients("monday") == ["monday"]
    (decode,) = world.look()
    assert decode.partition_key == "monday"
    decoded = definitions.resolve_job_def("decode_batch").execute_in_process(
        instance=world.instance, partition_key=decode.partition_key, tags=dict(decode.tags)
    )
    assert decoded.success
    assert world.archive.store.receipts.require(Cell("frames", "monday")).metrics["frames"] == 1
    planner = Planner(world.archive, world.graph)
    assert all(planner.verdict(world.graph[asset], "monday").is_fresh for asset in BATCH_ASSETS)
    assert world.look() == []


def repository_of(world: World) -> dg.RepositoryDefinition:
    return build_definitions(world.archive.profile, ArchiveResource.of(world.archive)).get_repository_def()


def tick_of(world: World, sensor: str, cursor: str | None = None) -> SensorExecutionData:
    """A tick of the definition itself, as the daemon evaluates it."""
    repository = repository_of(world)
    context = dg.SensorEvaluationContext(
        instance_ref=world.instance.get_ref(),
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=cursor,
        log_key=None,
        repository_name=None,
        repository_def=repository,
        resources={"archive": ArchiveResource.of(world.archive)},
    )
    return repository.get_sensor_def(sensor).evaluate_tick(context)


def test_the_sensor_as_dagster_evaluates_it(world: World) -> None:
    """The definition itself: its cursor is text, its requests are for the job `ingest_drops`."""
    world.drop("monday")
    world.instance = dg.DagsterInstance.local_temp(str(world.home))  # one with tables, as the daemon has
    data = tick_of(world, "incoming")
    assert [r.job_name for r in data.run_requests or []] == ["ingest_drops"]
    (seen,) = json.loads(data.cursor or "")["seen"]
    assert seen == DropRegister(world.archive).key_of("monday"), "by a keyed hash of its name"
    sensor = repository_of(world).get_sensor_def("incoming")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == world.archive.profile.incoming.interval_seconds
