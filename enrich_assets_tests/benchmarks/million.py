"""A million frames on one machine: vectors made elsewhere, every pair, a worklist of 20,000, published; stopped once on the way.

    python -m enrich_assets_tests.benchmarks million                                  # into BENCHMARKS.md; an hour on two cores
    python -m enrich_assets_tests.benchmarks.million --frames 100000 --home DIR       # to the terminal; the home is kept

Frames are written by the store's own drafts, with pictures of 4x4 pixels; from there everything is `enrich run` on a Parquet file of
vectors: clips of sixty frames that wander about a centre, four clips a patient, in two batches.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_assets.core.planner import Planner
from enrich_assets.core.stages import Goal, Outlook, stages
from enrich_assets.defs.assets import graph_of
from enrich_assets.store.receipts import digest_of
from enrich_assets_tests.benchmarks import load_home
from enrich_assets_tests.made_home import opened

FRAMES, DIMENSIONS, CLIP, CLIPS_OF_A_PATIENT, WORKLIST = 1_000_000, 128, 60, 4, 20_000
SHARES = (0.8, 0.2)  # of the frames, in a first and a second batch
STOP_AFTER_BLOCKS = 3  # of a panel the run is ended, to be resumed

PROFILE = f"""extends: archive
name: million
embeddings: {{given: {{kind: imported, imported: vectors.parquet, dimensions: {DIMENSIONS}}}}}
similarity: {{max_pairs: 1000000000000}}
tasks: {{masks: null, view: {{worklist: {WORKLIST}}}}}
"""


class Builder(load_home.Builder):
    """Writes studies and frames; what follows is left to `enrich run`."""

    def __init__(self, home: Path, frames: int) -> None:
        self.n_clips = [max(1, round(share * frames / CLIP)) for share in SHARES]
        super().__init__(home, load_home.Size(len(SHARES), 0, 0, 1, 1))
        self._vectors_file(home / "vectors.parquet")

    def profile(self) -> str:
        return PROFILE

    def build(self) -> None:
        """Cells up to the frames."""
        first = next(iter(stages(Outlook(self.planner), Goal())))
        for group in first.groups:
            for declared in group.members:
                self._write(declared, group.partition)

    def _manifest(self, batch: str) -> pd.DataFrame:
        clips = np.arange(self.n_clips[int(batch[-4:]) - 1])
        patients = [f"{batch}-p{clip // CLIPS_OF_A_PATIENT:05d}" for clip in clips]
        return pd.DataFrame(
            {
                "path": [f"/made/{batch}/{clip}.mp4" for clip in clips],
                "sha256": [digest_of([batch, int(clip)]) for clip in clips],
                "n_bytes": 1000,
                "patient_id": patients,
                "study_id": [f"{patient}-s" for patient in patients],
                "clip_id": [
                    f"{patient}-s/c{clip % CLIPS_OF_A_PATIENT}" for patient, clip in zip(patients, clips, strict=True)
                ],
                "frame_index": None,
                "split": None,
                "label": None,
            }
        ).astype({"frame_index": "Int64", "split": "string", "label": "string"})

    def _frames(self, cell: Any, values: Any) -> Any:
        files = values["studies"].table("rows")["path"].nunique()
        self.size = load_home.Size(len(SHARES), files * CLIP, 0, 1, 1)
        return super()._frames(cell, values)

    def _vectors_file(self, path: Path) -> None:
        rng = np.random.default_rng(0)
        schema = pa.schema([("frame_id", pa.string()), ("vector", pa.list_(pa.float32(), DIMENSIONS))])
        with pq.ParquetWriter(path, schema) as file:
            for number in range(len(SHARES)):
                clips = self._manifest(f"batch-{number + 1:04d}")["clip_id"].to_numpy()
                for begin in range(0, len(clips), 1000):
                    some = clips[begin : begin + 1000]
                    centres = np.repeat(rng.standard_normal((len(some), DIMENSIONS), np.float32), CLIP, axis=0)
                    vectors = centres + 0.4 * rng.standard_normal(centres.shape, np.float32)
                    ids = [f"{clip}/{frame}" for clip in some for frame in range(CLIP)]
                    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
                    file.write_table(pa.table([pa.array(ids), column], schema=schema))


@dataclass
class Watched:
    """A command of `enrich` to its end: seconds by the clock and of the processors, the greatest memory of its processes together in GB."""

    seconds: float = 0.0
    cpu: float = 0.0
    peak: float = 0.0


def resident(pid: int) -> int:
    """Bytes that a process and its descendants hold; shared pages count once per process."""
    import psutil

    try:
        process = psutil.Process(pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def watched(home: Path, *command: str, stop_after_checkpoint: bool = False) -> tuple[Watched, str]:
    """Run a command of `enrich`; its memory is looked at every half second. With `stop_after_checkpoint` it gets TERM after some blocks.

    Raises RuntimeError where it fails.
    """
    environment = {**os.environ, "ENRICH_HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true"}
    found, start, ended = Watched(), time.perf_counter(), threading.Event()
    with tempfile.TemporaryFile("w+") as words:
        child = subprocess.Popen(
            [sys.executable, "-m", "enrich_assets.cli", *command], env=environment, stdout=words, stderr=words
        )

        written: set[int] = set()

        def look() -> None:
            while not ended.wait(0.5):
                found.peak = max(found.peak, resident(child.pid) / 1e9)
                written.update(checkpoints(home) if stop_after_checkpoint else ())
                if len(written) >= STOP_AFTER_BLOCKS:
                    child.send_signal(signal.SIGTERM)
                    return

        watcher = threading.Thread(target=look)
        watcher.start()
        _, status, used = os.wait4(child.pid, 0)
        code = child.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        watcher.join()
        words.seek(0)
        said = words.read()
    found.seconds, found.cpu = time.perf_counter() - start, used.ru_utime + used.ru_stime
    if code and not (stop_after_checkpoint and code == 143):
        raise RuntimeError(f"enrich {' '.join(command)} ended with {code}:\n{said[-3000:]}")
    return found, said


def checkpoints(home: Path) -> set[int]:
    """When the checkpoints that lie there now were written."""
    found = set()
    for path in (home / "store" / "drafts").rglob("*checkpoint*"):
        with contextlib.suppress(FileNotFoundError):
            found.add(path.stat().st_mtime_ns)
    return found


def measure(frames: int, home: Path) -> dict[str, Any]:
    """What it takes, and what was forecast."""
    if not (home / "store").is_dir():
        Builder(home, frames).build()
    planning, planned = watched(home, "plan")
    print(planned, flush=True)
    forecast = float(re.search(r"in all about\s+[\d,]+\s+([\d,]+)", planned)[1].replace(",", ""))  # type: ignore[index]
    took = {"`enrich plan`": planning}
    took["`enrich run`, ended by TERM after three blocks"], said = watched(home, "run", stop_after_checkpoint=True)
    print(said[-1500:], flush=True)
    took["`enrich run` again, to the end"], said = watched(home, "run")
    print(said[-3000:], flush=True)
    took["`enrich run` with nothing to do"], _ = watched(home, "run")
    with duckdb.connect(str(home / "enrich.duckdb"), read_only=True) as database:
        (n_frames,) = database.execute("SELECT count(*) FROM frames").fetchone()  # type: ignore[misc]
        (n_listed,) = database.execute("SELECT count(*) FROM worklist").fetchone()  # type: ignore[misc]
        whole = "whole IN ('archive', 'pool') AND relation = 'all'"
        pairs = database.execute(f"SELECT whole, sum(pairs) FROM redundancy WHERE {whole} GROUP BY ALL").fetchall()
        listed = database.execute("SELECT count(*) FROM neighbours").fetchone()
    seconds = {
        str(receipt.cell): float(receipt.metrics["seconds"])
        for key in (
            "archive/similarity/given",
            "view/similarity/given",
            "view/redundancy/given",
            "view/worklist",
            "results",
            "report",
        )
        for receipt in Planner(opened(home), graph_of(opened(home).profile)).held(key).values()
    }
    return {
        "frames": n_frames,
        "listed": n_listed,
        "neighbours": listed[0],  # type: ignore[index]
        "pairs": {name: int(count) for name, count in pairs},
        "forecast": forecast,
        "took": took,
        "seconds": seconds,
    }


def table(found: dict[str, Any]) -> str:
    """As Markdown."""
    pairs, took = found["pairs"], found["took"]
    runs = [
        watched for name, watched in took.items() if name.startswith("`enrich run`, ") or name.endswith("to the end")
    ]
    spent = sum(one.seconds for one in runs)
    lines = [
        f"{found['frames']:,} frames with vectors of {DIMENSIONS} dimensions from a Parquet file, in two batches; all {pairs['archive']:,} pairs of "
        f"the archive and all {pairs['pool']:,} of the task's pool, exactly; {found['neighbours']:,} rows of neighbours; a worklist of "
        f"{found['listed']:,}; published.",
        "",
        f"`enrich plan` said {found['forecast']:,.0f} s, the two runs took {spent:,.0f} s: {spent / found['forecast']:.2f} times as long (at most 2 is "
        "asked, either way). Memory is of all processes together, shared pages counted in each (under 6 GB is asked).",
        "",
        "| command | seconds | of the processors | peak memory |",
        "|---|---|---|---|",
        *(f"| {name} | {one.seconds:,.0f} | {one.cpu:,.0f} | {one.peak:.1f} GB |" for name, one in took.items()),
        "",
        "| cell | seconds |",
        "|---|---|",
        *(f"| `{cell}` | {seconds:,.0f} |" for cell, seconds in found["seconds"].items()),
        "",
        on_paper(
            pairs["archive"],
            sum(seconds for cell, seconds in found["seconds"].items() if cell.startswith("archive/similarity")),
        ),
    ]
    return "\n".join(lines)


def on_paper(pairs: int, seconds: float, cores: int = 2) -> str:
    """What ten million frames would take by the archive's panels of this run."""
    many, nodes, cores_of_a_node = 10_000_000, 16, 8
    core_seconds = seconds * cores / pairs * (many * (many - 1) // 2)
    return (
        f"**On paper, from these figures** (not run): ten million frames are {many * (many - 1) // 2:,} pairs, {core_seconds / 3600:,.0f} hours of one such "
        f"core; on {nodes} nodes of {cores_of_a_node} cores, blocks by themselves on Ray, {core_seconds / nodes / cores_of_a_node / 60:,.0f} minutes, and the time to "
        f"send {many * DIMENSIONS * 2 / 1e9:.1f} GB of vectors to each node once."
    )


def main() -> None:
    """To the terminal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(table(measure(given.frames, given.home or Path(folder) / "home")))


if __name__ == "__main__":
    main()
