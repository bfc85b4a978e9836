"""A whole cluster on this machine: the store in an object store (SeaweedFS), records in Postgres, cells on two Ray nodes with homes of their
own, one of them killed in the middle of a cell. Every cell holds what it holds on one machine.
"""

from __future__ import annotations

import threading
from pathlib import Path

import dagster as dg
import pytest

from enrich_assets.archive import Archive
from enrich_assets.defs.instance import open_instance
from enrich_assets.defs.run_tags import NODE
from enrich_assets.profiles import load_profile
from enrich_assets_tests.cluster.processes import RayCluster, until
from enrich_assets_tests.cluster.servers import Postgres, postgres, seaweed
from enrich_assets_tests.cluster.test_ray import names_up
from enrich_assets_tests.cluster.test_store_and_databases import (
    Site,
    at_the_servers,
    bucket,
    content,
    ingested,
    site,
    values,
)

__all__ = ["at_the_servers", "bucket", "postgres", "seaweed"]
pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.servers


def test_the_same_bits_on_nodes_with_homes_of_their_own_though_one_is_killed(
    small_home: Path, tmp_path: Path, bucket: str, postgres: Postgres
) -> None:
    local = Archive(small_home, load_profile(str(small_home / "enrich.yaml")))
    there = site(tmp_path, "whole", bucket, postgres)
    with RayCluster() as cluster:
        nodes = {
            name: cluster.add(name, ENRICH_NODE_HOME=str(tmp_path / name), ENRICH_CACHE=str(tmp_path / name / "cache"))
            for name in ("n1", "n2")
        }
        cluster.await_nodes(names_up, *nodes)
        profile = there.home / "enrich.yaml"
        profile.write_text(f"{profile.read_text()}workers: null\nengine: {{kind: ray, address: '{cluster.address}'}}\n")
        ingested(there, small_home)
        struck = threading.Thread(target=kill_when_at_work, args=(there, "n1", nodes["n1"].kill))
        struck.start()
        outcome = there.run()
        struck.join()
        assert (outcome.failed, outcome.blocked) == ({}, {})
        archive = there.archive()
        assert content(archive) == content(local)
        assert values(archive.published) == values(local.published)
        assert there.unfinished() == []
        assert any(" on n2" in line for line in there.lines), there.lines
        again = there.run()
        assert (again.runs, again.made) == (0, 0)
    assert not (tmp_path / "n2" / "pseudonym.key").exists()
    assert not (tmp_path / "n2" / "mlflow.db").exists()


def kill_when_at_work(there: Site, node: str, kill: object) -> None:
    """As soon as a run of the node is STARTED."""
    with open_instance(there.archive()) as instance:
        started = dg.RunsFilter(tags={NODE: node}, statuses=[dg.DagsterRunStatus.STARTED])
        until(lambda: instance.get_runs(started), f"a cell under way on {node}", patience=600)
    kill()  # type: ignore[operator]
