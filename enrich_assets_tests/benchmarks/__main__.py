"""All benchmarks on this machine, into BENCHMARKS.md: `make benchmarks` (some forty minutes; leave the machine alone meanwhile)."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from enrich_assets_tests.benchmarks import (
    blocks,
    convergence,
    engines,
    isolation,
    load,
    million,
    overhead,
    requests,
    training_step,
)
from enrich_assets_tests.benchmarks.marked_section import write_section

BENCHMARKS = Path(__file__).parents[2] / "BENCHMARKS.md"


def stamp() -> str:
    """Machine and date, as every section begins."""
    import os

    import torch

    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {platform.machine()}, {os.cpu_count()} cores, "
        f"{'CUDA' if torch.cuda.is_available() else 'no GPU'}, Python {platform.python_version()}, torch {torch.__version__}; "
        f"load average at the start {os.getloadavg()[0]:.1f}."
    )


def training_section() -> str:
    began, rows = stamp(), []
    for device, models in training_step.measure().items():
        for model, found in models.items():
            rows.append(f"| {model} | {device} | " + " | ".join(f"{found[k]:.4g}" for k in sorted(found)) + " |")
            names = sorted(found)
    head = "| model | device | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 2)
    return f"## A training step beside a bare loop over tensors in memory\n\n{began}\n\n" + "\n".join([head, *rows])


def overhead_section() -> str:
    began = stamp()
    return f"## Overhead of `enrich run`\n\n{began}\n\n{overhead.table(overhead.measure())}"


def convergence_section() -> str:
    began = stamp()
    import torch

    torch.set_num_threads(1)  # as a cell has
    head, _, rest = convergence.section(list(convergence.SOURCES), 48, 3).partition("\n\n")
    return f"{head}\n\n{began}\n\n{rest}"


def isolation_section() -> str:
    began = stamp()
    return f"## Decoding in child processes\n\n{began}\n\n{isolation.table(isolation.measure())}"


def engines_section() -> str:
    began = stamp()
    return f"## Engines\n\n{began}\n\n{engines.table(engines.scaling(), engines.overhead())}"


def blocks_section() -> str:
    began = stamp()
    return f"## A large panel in blocks\n\n{began}\n\n{blocks.table(blocks.measure())}"


def requests_section() -> str:
    began = stamp()
    return f"## Requests to an object store\n\n{began}\n\n{requests.table(requests.measure())}"


LOAD_SCALES = (0.1, 0.3, 1.0)


def load_section() -> str:
    began = stamp()
    return f"## Load\n\n{began}\n\n{load.section(LOAD_SCALES)}"


def million_section() -> str:
    began = stamp()
    with tempfile.TemporaryDirectory() as folder:
        return (
            f"## A million frames\n\n{began}\n\n{million.table(million.measure(million.FRAMES, Path(folder) / 'home'))}"
        )


def main() -> None:
    chosen = sys.argv[1:] or ["curation", "training-step", "overhead", "convergence", "isolation"]
    if "curation" in chosen:
        for rules in ([], ["--rules"]):
            command = [sys.executable, "-m", "enrich_assets_tests.benchmarks.curation", *rules, "--peers"]
            subprocess.run(command, check=True)
    if "training-step" in chosen:
        write_section("training-step", training_section(), BENCHMARKS)
    if "convergence" in chosen:
        write_section("convergence", convergence_section(), BENCHMARKS)
    if "overhead" in chosen:
        write_section("overhead", overhead_section(), BENCHMARKS)
    if "engines" in chosen:  # not among the default ones: it needs the extra `ray`
        write_section("engines", engines_section(), BENCHMARKS)
    if "blocks" in chosen:  # a quarter of an hour by itself
        write_section("blocks", blocks_section(), BENCHMARKS)
    if "requests" in chosen:  # neither: it needs the extra `s3`, and the server that .ci/servers installs
        write_section("requests", requests_section(), BENCHMARKS)
    if "isolation" in chosen:
        write_section("isolation", isolation_section(), BENCHMARKS)
    if "load" in chosen:  # half an hour at the greatest scale: only where it is named
        write_section("load", load_section(), BENCHMARKS)
    if "million" in chosen:  # an hour
        write_section("million", million_section(), BENCHMARKS)


if __name__ == "__main__":
    main()
