"""Drops become batches and runs: once, gathered, again when changed; the broken are set aside; first the VAE, once."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enrich_assets.archive import Archive
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.gathering import DropRegister, remove_read_drops
from enrich_assets.defs.graph import Graph
from enrich_assets.defs.partitions import BATCH
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.sensors import first_vae_request, unseen_requests, watch
from enrich_assets.settings import IncomingSettings, load_profile
from enrich_assets.store.annotations import Annotations
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.studies.made_dicom import dataset, save, sector

WHOLE = load_profile(str(Path(__file__).parents[1] / "small.yaml"))
ARRIVAL = ("studies", "frames", "split", "labelled", "labels")


class World:
    """An archive in a folder, an ephemeral instance, and the sensor's ticks."""

    def __init__(self, home: Path, **incoming: object) -> None:
        settings = IncomingSettings(quiet_seconds=60, **incoming)  # type: ignore[arg-type]
        profile = WHOLE.model_copy(update={"incoming": settings, "tasks": {"view": WHOLE.tasks["view"]}})
        self.home, self.archive, self.graph = home, Archive(home, profile), Graph(profile)
        self.incoming = home / "incoming"
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None

    def tick(self, now: float = 0.0) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = watch(self.archive, self.graph, context, now)
        self.cursor = result.cursor
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(BATCH, list(request.partition_keys))
        return list(result.run_requests or [])

    def make(self, batch: str, *assets: str) -> None:
        for asset in assets or ARRIVAL:
            self.graph.steps[asset].materialise(self.archive, batch)

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
    assert world.tick(0) == []
    assert world.archive.batches == []
    (request,) = world.tick(60)
    assert request.partition_key == "monday"
    assert request.run_key == f"monday-{world.archive.arrivals.get('monday').digest[:16]}"
    assert world.instance.get_dynamic_partitions(BATCH) == ["monday"]


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
    first = world.tick()
    assert [r.run_key for r in world.tick()] == [r.run_key for r in first]


def test_a_changed_drop_gives_its_batch_a_new_revision_and_a_new_run(world: World) -> None:
    world.drop("monday")
    (before,) = world.tick()
    world.make("monday")
    world.drop("monday", "one", "two", seed=1)
    (after,) = world.tick()
    assert (after.partition_key, world.archive.arrivals.get("monday").revision) == ("monday", 2)
    assert after.run_key != before.run_key
    assert world.graph.steps["studies"].why_stale(world.archive, "monday") is not None


def test_touched_files_of_the_same_content_change_nothing(world: World) -> None:
    folder = world.drop("monday")
    world.tick()
    world.make("monday")
    for file in folder.iterdir():
        file.touch()
    assert world.tick() == []
    assert world.archive.arrivals.get("monday").revision == 1


def test_a_burst_of_drops_is_gathered(tmp_path: Path) -> None:
    world = World(tmp_path, gather=3)
    for name in ("a", "b", "c", "d"):
        world.drop(name)
    requests = world.tick()
    assert [r.partition_key for r in requests] == ["a-and-2-more", "d"]
    assert set(world.archive.arrivals.rows("a-and-2-more")["patient_id"]) == {"a", "b", "c"}
    world.make("a-and-2-more")
    world.make("d")
    world.drop("b", "one", "two", seed=1)
    (again,) = world.tick()
    assert again.partition_key == "a-and-2-more"
    rows = world.archive.arrivals.rows("a-and-2-more")
    assert sorted(rows["patient_id"]) == ["a", "b", "b", "c"], "the others' rows stay"


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
    world.archive.ingest(str(world.drop("other")), "monday")
    requests = world.tick()
    assert {r.partition_key for r in requests} >= {"monday-2"}
    assert set(world.archive.arrivals.rows("monday")["patient_id"]) == {"other"}


def test_a_dicom_drop_is_not_named_after_its_folder(world: World) -> None:
    name = "DOE_JANE"
    save(dataset(sector(2), modality="US", PatientID="X1"), world.incoming / name / "IM0001")
    (world.incoming / name / "_READY").touch()
    (request,) = world.tick()
    assert request.partition_key == "batch-0001"
    assert name not in str(world.cursor)
    stored = b"".join(p.read_bytes() for p in (world.home / "store").rglob("*") if p.is_file())
    assert name.encode() not in stored
    rows = world.archive.arrivals.rows("batch-0001")
    assert name not in rows.to_csv()
    assert [world.archive.address(p) for p in rows["path"]] == [str(world.incoming / name / "IM0001")]
    world.make("batch-0001", "studies", "frames")
    assert world.archive.store.receipts.require(Cell("frames", "batch-0001")).figures["frames"] == 2


def test_read_dicom_drops_are_removed_when_the_profile_says_so(world: World) -> None:
    save(dataset(sector(2), modality="US"), world.incoming / "exam" / "IM1")
    (world.incoming / "exam" / "_READY").touch()
    world.drop("with-manifest")
    world.tick()
    register = DropRegister(world.archive)
    assert sum(remove_read_drops(world.archive, register, batch) for batch in world.archive.batches) == 1
    assert [p.name for p in world.incoming.iterdir()] == ["with-manifest"]


def test_the_first_vae_is_asked_for_once_when_all_that_dropped_in_is_read(world: World) -> None:
    world.drop("a")
    world.drop("b")
    asked = lambda: first_vae_request(world.archive, world.instance)  # noqa: E731
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
    world.archive.store.draft(Cell("vae_weights"), settings="s", inputs={}).commit(healthy=False)
    same = asked()
    assert isinstance(same, dg.RunRequest)
    assert same.run_key == request.run_key, "one that is not healthy is not tried again with the same frames"
    world.archive.store.draft(Cell("vae_weights"), settings="s", inputs={}).commit(healthy=True)
    assert isinstance(asked(), dg.SkipReason)


def test_what_was_ingested_by_hand_trains_nothing_by_itself(world: World) -> None:
    world.archive.ingest(str(world.drop("a")), "by-hand")
    world.make("by-hand")
    assert isinstance(first_vae_request(world.archive, world.instance), dg.SkipReason)


def test_imported_labels_are_followed_though_dagster_saw_no_event(world: World) -> None:
    world.drop("a")
    world.drop("b")
    world.tick()
    world.make("a")
    world.make("b")
    assert unseen_requests(world.archive, world.graph) == ([], [])
    frame = world.archive.frame_table(["a"])["frame_id"].iloc[0]
    label = {
        "frame_id": [frame],
        "label": ["A4C"],
        "source": ["import"],
        "author": ["me"],
        "recorded_at": ["2026-01-01"],
    }
    Annotations(world.archive.store.folder).add("view", pd.DataFrame(label))
    (request,), _ = unseen_requests(world.archive, world.graph)
    assert request.partition_key == "a"
    assert {k.to_user_string() for k in request.asset_selection or []} == {"labelled", "labels"}
    world.make("a", "labelled", "labels")
    assert unseen_requests(world.archive, world.graph) == ([], [])


def test_a_panel_whose_first_making_failed_is_asked_for_when_it_is_still_missing_at_the_next_look(
    world: World,
) -> None:
    """It reads every earlier batch, of which no edge of the graph tells."""
    receipts = world.archive.store.receipts
    for name in ("a", "b"):
        world.drop(name)
        world.tick()
        world.make(name)
    _pretend(world, "b")
    with pytest.raises(LookupError, match="has not been materialised yet"):
        world.graph.steps["view/similarity"].materialise(world.archive, "b")
    assert unseen_requests(world.archive, world.graph) == ([], []), "not before the earlier batch is embedded"
    _pretend(world, "a")
    first, missing = unseen_requests(world.archive, world.graph)
    assert first == []
    assert missing == ["view/similarity[a]", "view/similarity[b]"]
    world.make("a", "view/similarity")
    assert receipts.current(Cell("view/similarity", "a")) is not None
    (request,), still = unseen_requests(world.archive, world.graph, missing)
    assert request.partition_key == "b"
    assert [k.to_user_string() for k in request.asset_selection or []] == ["view/similarity"]
    assert still == ["view/similarity[b]"]


def _pretend(world: World, batch: str) -> None:
    """Embeddings of a batch without a VAE, and its pool."""
    draft = world.archive.store.draft(Cell("embeddings", batch), settings="s", inputs={})
    n = len(world.archive.frames.table([batch]))
    vectors = np.zeros((n, 128), np.int16)
    vectors[:, 0] = 4000
    draft.array("vectors", vectors)
    draft.commit()
    world.make(batch, "view/pool")


def test_the_sensor_as_dagster_evaluates_it(world: World) -> None:
    """The definition itself: its cursor is text, its requests are for the job `take_in`."""
    world.drop("monday")
    definitions = build_definitions(world.archive.profile, ArchiveResource.of(world.archive))
    sensor = definitions.get_repository_def().get_sensor_def("incoming")
    instance = dg.DagsterInstance.local_temp(str(world.home))  # one with tables, as the daemon has
    context = dg.SensorEvaluationContext(
        instance_ref=instance.get_ref(),
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=None,
        log_key=None,
        repository_name=None,
        repository_def=definitions.get_repository_def(),
        resources={"archive": ArchiveResource.of(world.archive)},
    )
    data = sensor.evaluate_tick(context)
    assert [r.partition_key for r in data.run_requests or []] == ["monday"]
    assert json.loads(data.cursor or "")["seen"] == {}
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == world.archive.profile.incoming.every_seconds
