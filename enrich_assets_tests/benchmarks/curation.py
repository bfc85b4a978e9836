"""How fast are the pass over all pairs and the ranking, beside what anyone could install? Writes BENCHMARKS.md's section.

    python -m enrich_assets_tests.benchmarks.curation [--rules] [--n 10000 45000] [--peers] [--peers-python PATH]

Every line is measured in a process of its own (so that peak memory is its own), loading and compiling left out, data made
beforehand. What is not installed is reported as absent, what takes too long as that. `curation_subjects` holds the lines.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from enrich_assets_tests.benchmarks.archives import unit_vectors
from enrich_assets_tests.benchmarks.curation_subjects import PAIRS, RULE_TASKS, SUBJECTS
from enrich_assets_tests.benchmarks.marked_section import write_section

ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds for one line, all its repeats
PROMISED = {"floor", "histogram", "panel", "batch", "fifth", "whole", "mundig", "incremental"}
KINDS = ("clip-like", "gaussian")


@dataclass(frozen=True)
class Reading:
    """Seconds are medians. Where `repeats` is 0 nothing was read, for the reason given."""

    seconds: float = float("nan")
    cpu: float = float("nan")
    megabytes: float = float("nan")
    repeats: int = 0
    absent: bool = False
    over: bool = False
    left_out: bool = False
    failed: str = ""


def said(r: Reading) -> str:
    if r.repeats:
        return f"{r.seconds:.2f} s"
    if r.failed:
        return f"failed: {r.failed[:60]}"
    return "not installed" if r.absent else "left out, no time" if r.left_out else f"over {PATIENCE} s"


def measure_here(name: str, n: int, kind: str, repeats: int) -> Reading:
    """In this process: prepare, time."""
    x = unit_vectors(n, kind)
    try:
        call = SUBJECTS[name].prepare(x)
    except ImportError:
        return Reading(absent=True)
    if repeats > 1:
        call()
    seconds, cpu = [], []
    for _ in range(repeats):
        began, worked = time.perf_counter(), time.process_time()
        call()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - worked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return Reading(statistics.median(seconds), statistics.median(cpu), peak, repeats)


def measure(name: str, n: int, kind: str, python: str, patience: float) -> Reading:
    """In a process of its own."""
    subject = SUBJECTS[name]
    command = [python, "-m", __spec__.name, "--measure", name, "--n", str(n), "--kind", kind]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "OMP_WAIT_POLICY": "ACTIVE",  # our package asks for PASSIVE, which would slow the floor and the peers
    }
    try:
        done = subprocess.run(
            [*command, "--repeats", str(subject.repeats)], cwd=ROOT, env=environment, capture_output=True, text=True,
            timeout=patience, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Reading(over=True)
    if done.returncode:
        return Reading(failed=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "killed")
    return Reading(**json.loads(done.stdout.splitlines()[-1]))


def table(readings: dict[tuple[str, int, str], Reading], n: int, kind: str) -> str:
    floor = readings.get(("floor", n, kind), Reading()).seconds
    lines = []
    for task in dict.fromkeys(subject.task for subject in SUBJECTS.values()):
        mine = {k: s for k, s in SUBJECTS.items() if s.task == task and (k, n, kind) in readings}
        if not mine:
            continue
        lines += [f"\n*{task}*\n", "| | seconds | CPU s | of the floor | peak MB | runs |", "|---|---|---|---|---|---|"]
        for name, subject in mine.items():
            r = readings[name, n, kind]
            if r.repeats:
                row = f"{r.seconds:.2f} | {r.cpu:.2f} | {r.seconds / floor:.2f}x | {r.megabytes:.0f} | {r.repeats}"
            else:
                row = f"{said(r)} | | | | "
            lines.append(f"| {subject.says} | {row} |")
    return "\n".join(lines)


def promises(readings: dict[tuple[str, int, str], Reading], n: int) -> list[str]:
    """What the issue asks for, in numbers of this run."""

    def ratio(a: str, b: str, kind: str = "clip-like") -> float:
        return readings.get((a, n, kind), Reading()).seconds / readings.get((b, n, kind), Reading()).seconds

    rows = [
        ("whole pass / bare product, at most 2.0", ratio("panel", "floor")),
        ("histogram / bare product, at most 2.0", ratio("histogram", "floor")),
        ("1 % new frames / whole pass, at most 0.04", ratio("batch", "panel")),
        ("lightly-mundig / our ranking of a fifth, at least 5", ratio("mundig", "fifth")),
        ("our ranking of all / whole pass, at most 4", ratio("whole", "panel")),
        ("our ranking / incremental numpy, gaussian, at most 1.2", ratio("fifth", "incremental", "gaussian")),
    ]
    return [f"| {says} | {'not measured' if np.isnan(value) else f'{value:.3g}'} |" for says, value in rows]


def processor() -> str:
    names = (
        re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def versions(python: str) -> str:
    packages = ["numpy", "torch", "numba", *sorted({s.package for s in SUBJECTS.values() if s.package})]
    code = "import importlib.metadata as m, json, sys\nprint(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout
    known = {str(k).lower(): v for k, v in json.loads(found or "{}").items()}
    return ", ".join(f"{p} {known[p]}" if p in known else f"{p} absent" for p in packages)


def section(readings: dict[tuple[str, int, str], Reading], sizes: list[int], python: str, load: float) -> str:
    rules = any(subject.task in RULE_TASKS and (k, sizes[0], KINDS[0]) in readings for k, subject in SUBJECTS.items())
    parts = [
        "## Other rules" if rules else "## All pairs and the ranking",
        f"`python -m {__spec__.name}{' --rules' if rules else ''}{' --peers' if any(s.package for k, s in SUBJECTS.items() if (k, sizes[0], KINDS[0]) in readings) else ''}`, "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {processor()}, {len(os.sched_getaffinity(0))} threads; load when it began {load:.1f}. "
        f"Python {platform.python_version()}, enrich-assets {importlib.metadata.version('enrich-assets')}, {versions(python)}.",
        "128 dimensions, medians after one unmeasured call where runs is 3; loading and compiling left out. The floor is the "
        "float32 product of the upper triangle's blocks of 4,096 with nothing done to it. Ours compares in 16-bit "
        "integers, exactly, which is why it can lie below the floor. CPU seconds are of all threads together: on a machine that "
        "others use they are the steadier figure. Peak memory is of the whole process, libraries and data included.",
        "The lines of the authors' code are our own short rewriting of it, without its GPU."
        if rules
        else "\n".join(["| promise, at " + f"{sizes[-1]:,} | measured |", "|---|---|", *promises(readings, sizes[-1])]),
    ]
    for n in sizes:
        for kind in KINDS:
            parts += [f"### {n:,} frames, {kind}", table(readings, n, kind)]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[10_000, 45_000])
    parser.add_argument("--rules", action="store_true", help="the other rules only; they have a section of their own")
    parser.add_argument("--peers", action="store_true", help="measure the libraries from PyPI too")
    parser.add_argument(
        "--peers-python", default=sys.executable, help="an interpreter that has them (and our libraries)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "BENCHMARKS.md")
    parser.add_argument("--seconds", type=float, default=1800.0, help="for everything together")
    parser.add_argument("--measure", choices=SUBJECTS, help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, default="clip-like", help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(vars(measure_here(given.measure, given.n[0], given.kind, given.repeats))))
        return
    began, load, readings = time.monotonic(), os.getloadavg()[0], {}
    lines = [
        (name, n, kind)
        for n in given.n
        for kind in KINDS
        for name, subject in SUBJECTS.items()
        if kind in subject.kinds and n <= subject.most and (given.peers or not subject.package)
        if name == "floor" or (subject.task in RULE_TASKS) == given.rules
    ]
    # What the promises are made of first, and the greatest pool first: the time may run out.
    for name, n, kind in sorted(lines, key=lambda line: (line[0] not in PROMISED, -line[1])):
        left = given.seconds - (time.monotonic() - began)
        python = given.peers_python if SUBJECTS[name].package else sys.executable
        reading = measure(name, n, kind, python, min(PATIENCE, left)) if left > 5 else Reading(left_out=True)
        readings[name, n, kind] = reading
        print(f"{n:>7,} {kind:>10} {SUBJECTS[name].task}: {SUBJECTS[name].says}: {said(reading)}", flush=True)
    write_section(
        "rules" if given.rules else "curation", section(readings, sorted(given.n), given.peers_python, load), given.out
    )
    print("\n".join([f"wrote {given.out} ({PAIRS} and rankings)", *promises(readings, max(given.n))]))


if __name__ == "__main__":
    main()
