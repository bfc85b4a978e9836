"""A home whose store is a real S3 server (SeaweedFS) and whose records are in a real Postgres: the same bits as in one folder, and the
same again where a server is away in the middle of a run.

The first line of each docstring says what was done to the servers and what held, as a row of RELIABILITY.md does.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.core.stages import Goal
from enrich_assets.defs.instance import open_instance
from enrich_assets.profiles import load_profile
from enrich_assets.running.driver import Driver, Outcome
from enrich_assets.store.published import query
from enrich_assets.store.receipts import Cell, Receipt
from enrich_assets_tests.cluster.servers import KEY, Postgres, Seaweed, postgres, seaweed
from enrich_assets_tests.conftest import SMALL

__all__ = ["postgres", "seaweed"]
pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::enrich_assets.store.remote.patience.NoAnswer"),
]
AWAY_SECONDS = 60.0
BUCKET = "enrich"


@dataclass
class Site:
    """A home, its store and its databases."""

    home: Path
    store: str
    lines: list[str] = field(default_factory=list)

    def archive(self) -> Archive:
        return Archive(self.home, load_profile(str(self.home / "enrich.yaml")), self.store)

    def run(self, goal: Goal = Goal(), on_line: Callable[[str], None] | None = None) -> Outcome:  # noqa: B008  (frozen)
        archive = self.archive()

        def say(line: str) -> None:
            self.lines.append(line)
            if on_line is not None:
                on_line(line)

        with open_instance(archive) as instance:
            return Driver(archive, instance, say, goal).run()

    def unfinished(self) -> list[str]:
        """Runs that Dagster takes to be going on."""
        with open_instance(self.archive()) as instance:
            return [run.run_id for run in instance.get_runs() if not run.is_finished]


@pytest.fixture(autouse=True)
def at_the_servers(seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweed.url)
    monkeypatch.setenv("ENRICH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def bucket(seaweed: Seaweed) -> str:
    seaweed.make_bucket(BUCKET)
    return BUCKET


def site(folder: Path, name: str, bucket: str, postgres: Postgres) -> Site:
    """A new home, its store in the bucket, Dagster and MLflow in databases of their own."""
    home = folder / name
    home.mkdir()
    records, runs = (postgres.make_database(f"{name}_{part}") for part in ("dagster", "mlflow"))
    (home / "enrich.yaml").write_text(
        f"extends: {SMALL}\n"
        f"tracking: {{dagster_storage: '{records}', uri: '{runs}', artifacts: 's3://{bucket}/{name}-mlflow'}}\n"
    )
    return Site(home, f"s3://{bucket}/{name}")


def receipts(archive: Archive) -> dict[Cell, Receipt]:
    return {receipt.cell: receipt for _, receipt in archive.store.receipts.all_current() if receipt is not None}


def content(archive: Archive) -> dict[str, str]:
    """What each cell holds. Not of the two products, which name MLflow's runs, nor of comparisons, which say what more labels would
    cost by the seconds that were measured."""
    others = ("results", "report", "comparison")
    return {
        str(cell): receipt.digest
        for cell, receipt in receipts(archive).items()
        if cell.asset.partition("@")[0].rpartition("/")[2] not in others
    }


def values(published: Path) -> list[tuple[object, ...]]:
    table = query(
        str(published), "SELECT task, arm, budget, seed, value, subset_id FROM evaluations WHERE current ORDER BY ALL"
    )
    return list(table.itertuples(index=False, name=None))


def ingested(site: Site, small_home: Path) -> Archive:
    archive = site.archive()
    ingest(archive, str(small_home / "phantom"), "first")
    return archive


def test_the_same_bits_on_s3_and_postgres(
    small_home: Path, tmp_path: Path, bucket: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell holds what it holds in a folder; a second run does nothing; a second home fetches what was published."""
    local = Archive(small_home, load_profile(str(small_home / "enrich.yaml")))
    first = site(tmp_path, "first", bucket, postgres)
    ingested(first, small_home)
    outcome = first.run()
    assert (outcome.failed, outcome.blocked) == ({}, {})
    there = first.archive()
    assert content(there) == content(local)
    assert values(there.published) == values(local.published)
    assert first.unfinished() == []
    assert not list(there.store.folder.files("drafts"))

    again = first.run()
    assert (again.runs, again.made) == (0, 0)

    second = Site(tmp_path / "second", first.store)
    second.home.mkdir()
    shutil.copy(first.home / "enrich.yaml", second.home)
    fetched = second.run()
    assert fetched.made == 0
    assert second.archive().published.read_bytes() == there.published.read_bytes()
    assert second.archive().report.read_bytes() == there.report.read_bytes()
    assert second.run().runs == 0


def test_mlflow_on_postgres_holds_one_finished_run_for_each_evaluation(
    small_home: Path, tmp_path: Path, bucket: str, postgres: Postgres
) -> None:
    """Postgres is stopped as by a crash while cells are trained, and started again twenty seconds later: nothing lost, nothing twice."""
    from mlflow import MlflowClient

    local = Archive(small_home, load_profile(str(small_home / "enrich.yaml")))
    shaken = site(tmp_path, "shaken", bucket, postgres)
    ingested(shaken, small_home)
    cut: list[threading.Timer] = []

    def stop_postgres(line: str) -> None:
        if "training 10 frames" in line and not cut:
            postgres.stop("immediate")
            cut.append(threading.Timer(20.0, postgres.start))
            cut[0].start()

    outcome = shaken.run(on_line=stop_postgres)
    assert cut, shaken.lines
    cut[0].join()
    assert (outcome.failed, outcome.blocked) == ({}, {})
    archive = shaken.archive()
    assert content(archive) == content(local)
    assert shaken.unfinished() == []
    with open_instance(archive) as instance:
        ended = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        materialized = {
            str(Cell("/".join(key.path), partition))
            for key in instance.all_asset_keys()
            for partition in instance.get_materialized_partitions(key)
        }
    assert len(ended) <= 1
    made = {str(cell) for cell in receipts(archive) if cell.partition and "@" not in cell.asset}
    assert made <= materialized
    client = MlflowClient(archive.tracking_uri)
    experiments = [e for e in client.search_experiments() if e.name.startswith("enrich/")]
    assert sorted(e.name for e in experiments) == ["enrich/chambers", "enrich/view"]
    finished = [
        run.data.tags["enrich.evaluation_id"]
        for experiment in experiments
        for run in client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'")
    ]
    evaluations = [r.metrics["evaluation_id"] for c, r in receipts(archive).items() if c.asset.endswith("/evaluation")]
    assert sorted(finished) == sorted(evaluations)
    assert shaken.run().runs == 0


def test_s3_refuses_for_a_minute(
    small_home: Path, tmp_path: Path, bucket: str, seaweed: Seaweed, postgres: Postgres
) -> None:
    """The object store is killed in the middle of a run and is back a minute later: the run waits, and every cell holds what it should."""
    local = content(Archive(small_home, load_profile(str(small_home / "enrich.yaml"))))
    refused = site(tmp_path, "refused", bucket, postgres)
    ingested(refused, small_home)
    cut: list[threading.Timer] = []

    def kill_store(line: str) -> None:
        if "decoding" in line and not cut:
            seaweed.stop()
            cut.append(threading.Timer(AWAY_SECONDS, seaweed.start))
            cut[0].start()

    outcome = refused.run(Goal(train=False), on_line=kill_store)
    assert cut, refused.lines
    cut[0].join()
    assert (outcome.failed, outcome.blocked) == ({}, {})
    made = content(refused.archive())
    of_training = {cell for cell in local if cell.split("[")[0].rpartition("/")[2].partition("@")[0] in TRAINED}
    untouched = {cell for cell in local.keys() - of_training if "comparison" not in cell and "worklist" not in cell}
    assert {cell: made.get(cell) for cell in untouched} == {cell: local[cell] for cell in untouched}
    assert refused.unfinished() == []
    assert refused.run(Goal(train=False)).runs == 0


TRAINED = ("training_length", "ranking", "subset", "model", "evaluation")
