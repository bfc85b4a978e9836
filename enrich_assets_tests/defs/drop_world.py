"""A world for tests of drops: an archive, Dagster's instance, the ticks of a sensor, and the runs that it asks for."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
from dagster._core.definitions.sensor_definition import SensorExecutionData
from PIL import Image

from enrich_assets.archive import Archive
from enrich_assets.archive.drops import Outcome, find_drops, ingest_drops
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.mount import BATCH, Mount
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.sensors import watch
from enrich_assets.profiles import load_profile
from enrich_assets.settings import IncomingSettings
from enrich_assets_tests.defs.made_archive import make_cells

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
