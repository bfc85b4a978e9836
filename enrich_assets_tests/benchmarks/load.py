"""A home of a hundred batches, two thousand evaluations, five million predictions and a million frames: what waits for it, and how long.

    python -m enrich_assets_tests.benchmarks load                            # into BENCHMARKS.md, at three scales
    python -m enrich_assets_tests.benchmarks.load --scales 0.1 --homes DIR   # to the terminal; homes are kept

The homes are those of `load_home`: nothing is decoded or trained.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from enrich_assets.archive import Archive
from enrich_assets.core.planner import Planner
from enrich_assets.defs.assets import graph_of
from enrich_assets.profiles import load_profile
from enrich_assets_tests.benchmarks.load_home import TASK, Builder, Size

RECIPES = {
    "score by arm and budget": "SELECT task, arm, budget, avg(value) FROM evaluations WHERE current GROUP BY ALL ORDER BY ALL",
    "frames by batch and side": "SELECT batch, split, count(*) FROM frames GROUP BY ALL ORDER BY ALL",
    "files behind one number": "SELECT DISTINCT e.value, f.path, f.sha256 FROM evaluations e JOIN subset_frames s USING (subset_id) "
    "JOIN frames r USING (frame_id) JOIN files f ON f.path = r.path WHERE e.evaluation_id = (SELECT min(evaluation_id) FROM evaluations)",
    "mistakes on each test frame": "SELECT frame_id, count(*) FILTER (WHERE (score > 0.5)::INT <> truth) AS wrong FROM predictions GROUP BY ALL "
    "ORDER BY wrong DESC, frame_id LIMIT 20",
    "accuracy by patient": "SELECT patient_id, avg(((score > 0.5)::INT = truth)::INT) FROM predictions JOIN frames USING (frame_id) GROUP BY ALL",
    "how often a frame is chosen": "SELECT frame_id, count(*) AS n FROM subset_frames GROUP BY ALL ORDER BY n DESC, frame_id LIMIT 20",
    "patients on both sides": "SELECT patient_id FROM frames GROUP BY ALL HAVING count(DISTINCT split) > 1",
    "inputs of each evaluation": "SELECT evaluation_id, count(*) FROM provenance GROUP BY ALL ORDER BY ALL LIMIT 20",
    "last point of each curve": "SELECT evaluation_id, name, max_by(value, epoch) FROM training_curves GROUP BY ALL",
    "checks that failed": "SELECT * FROM checks WHERE NOT passed",
}
NODE = "assetNodeOrError(assetKey: $key) { ... on AssetNode { %s } }"
PAGE = {  # what the page of an asset asks for
    "definition": NODE % "id description opNames isPartitioned dependencyKeys { path } dependedByKeys { path }",
    "partition keys": NODE % "partitionKeysByDimension { name type partitionKeys }",
    "partition health": NODE
    % """partitionStats { numMaterialized numPartitions numFailed } assetPartitionStatuses {
        ... on DefaultPartitionStatuses { materializedPartitions failedPartitions }
        ... on MultiPartitionStatuses { ranges { primaryDimStartKey primaryDimEndKey
            secondaryDim { ... on DefaultPartitionStatuses { materializedPartitions } } } } }""",
    "events": """assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(limit: 100) {
        partition runId timestamp metadataEntries { label } } } }""",
    "checks": NODE
    % "assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { id status } } } }",
}


@dataclass(frozen=True)
class Took:
    """Seconds by the clock, of the processors, and the greatest memory of one process in MB."""

    wall: float
    cpu: float = 0.0
    peak: float = 0.0


def timed(home: Path, *command: str) -> Took:
    """A command of `enrich` in a process of its own. Raises RuntimeError where it fails, with its last words."""
    environment = {**os.environ, "ENRICH_HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true"}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            [sys.executable, "-m", "enrich_assets.cli", *command], env=environment, stdout=words, stderr=words
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        words.seek(0)
        if child.returncode:
            raise RuntimeError(
                f"enrich {' '.join(command)} ended with {child.returncode}:\n{words.read().decode()[-2000:]}"
            )
    return Took(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def tell_dagster(archive: Archive, keys: tuple[str, ...]) -> None:
    """Materialisations of the cells of some assets, as a run that made them would have reported."""
    import dagster as dg

    from enrich_assets.defs.instance import open_instance

    planner = Planner(archive, graph_of(archive.profile))
    with open_instance(archive) as instance:
        for key in keys:
            for partition in planner.held(key):
                event = dg.AssetMaterialization(asset_key=key.split("/"), partition=partition)
                instance.report_runless_asset_event(event)


def pages(home: Path, keys: tuple[str, ...]) -> dict[tuple[str, str], float]:
    """(asset, question) -> seconds, the second time it is asked, as a person sees who looks at a page of a running server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "ENRICH_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    webserver = [sys.executable, "-m", "dagster_webserver", "-m", "enrich_assets.definitions", "-h", "127.0.0.1"]
    with tempfile.TemporaryFile() as words:
        server = subprocess.Popen([*webserver, "-p", str(port)], env=environment, stdout=words, stderr=words)
        try:
            address = f"http://127.0.0.1:{port}/graphql"
            _wait_for(server, address)
            found = {}
            for key in keys:
                for name, question in PAGE.items():
                    for _ in range(2):
                        start = time.perf_counter()
                        _ask(
                            address, f"query($key: AssetKeyInput!) {{ {question} }}", {"key": {"path": key.split("/")}}
                        )
                        found[key, name] = time.perf_counter() - start
            return found
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end and server.poll() is None:
        try:
            _ask(address, "{ version }", {})
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError("the webserver did not start")


def _ask(address: str, query: str, variables: Mapping[str, Any]) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        found = json.load(answer)
    if "errors" in found:
        raise RuntimeError(str(found["errors"])[:500])
    return found["data"]


def measure(scale: float, home: Path) -> dict[str, Took]:
    """What is waited for in a home of that scale -> how long."""
    from enrich_assets.store.published import query

    size = Size.of(scale)
    if not (home / "store").is_dir():  # one that is there was built before
        Builder(home, size).build()
    found = {}
    for product in ("enrich.duckdb", "report.html"):
        (home / product).unlink(missing_ok=True)
    found["publish: `enrich run` with `results` and `report` to make"] = timed(home, "run")
    found["`enrich run` with nothing to do"] = timed(home, "run")
    found["`enrich plan`"] = timed(home, "plan")
    for title, statement in RECIPES.items():
        start, of_processors = time.perf_counter(), time.process_time()
        query(str(home / "enrich.duckdb"), statement)
        found[f"SQL: {title}"] = Took(time.perf_counter() - start, time.process_time() - of_processors)
    keys = ("studies", f"{TASK}/enrich/evaluation")
    archive = Archive(home, load_profile(str(home / "enrich.yaml")))
    tell_dagster(archive, keys)
    for (key, question), seconds in pages(home, keys).items():
        found[f"Dagster, `{key}`: {question}"] = Took(seconds)
    return found


def table(found: Mapping[float, Mapping[str, Took]]) -> str:
    """Lines of BENCHMARKS.md: a column per scale, peak memory at the greatest, and how it grew from the smallest."""
    scales = sorted(found)
    sizes = [Size.of(scale) for scale in scales]
    named = [f"{s.batches} batches, {s.evaluations:,} evaluations" for s in sizes]
    head = "seconds by the clock (of the processors)"
    lines = [f"| {head} | {' | '.join(named)} | growth | peak MB |", "|" + "---|" * (len(scales) + 3)]
    for title, took in found[scales[-1]].items():
        each = [found[scale][title] for scale in scales]
        peak = f"{took.peak:,.0f}" if took.peak else ""
        seconds = [f"{one.wall:.2f}" + (f" ({one.cpu:.2f})" if one.cpu else "") for one in each]
        lines.append(f"| {title} | {' | '.join(seconds)} | {_growth(scales, [one.cpu for one in each])} | {peak} |")
    return "\n".join(lines)


def _growth(scales: list[float], seconds: list[float]) -> str:
    """In words: the power of the scale between the two greatest, of processor seconds, where there are enough to tell."""
    if len(scales) < 2 or seconds[-1] < 1:
        return ""
    power = float(np.log(seconds[-1] / seconds[-2]) / np.log(scales[-1] / scales[-2]))
    return f"power {power:.1f}"


def section(scales: Sequence[float], homes: Path | None = None) -> str:
    """What BENCHMARKS.md says; homes that were built before are taken from a folder, by their scale."""
    with tempfile.TemporaryDirectory() as folder:
        place = homes or Path(folder)
        return table({scale: measure(scale, place / f"load-{scale}") for scale in scales})


def main() -> None:
    """Some scales, to the terminal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scales", type=float, nargs="+", default=[0.1])
    parser.add_argument("--homes", type=Path, help="where homes are built, and kept")
    given = parser.parse_args()
    print(section(given.scales, given.homes))


if __name__ == "__main__":
    main()
