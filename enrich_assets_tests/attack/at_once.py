"""Makers at once: two `enrich run` and four `enrich ingest` on one home. Nobody fails, no batch is lost, every cell is whole.

python -m enrich_assets_tests.attack.at_once
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from enrich_assets_tests.attack.homes import done, new_home, values, write_archive

RUNNING = "another `enrich run` is at work"


def attack() -> dict[str, int]:
    """Counts: runs, ingests, batches, evaluations and harms."""
    harms: list[str] = []
    with tempfile.TemporaryDirectory(prefix="enrich-at-once-") as folder, ThreadPoolExecutor(8) as threads:
        place = Path(folder)
        home = new_home(place / "home")
        archives = [write_archive(place / f"archive-{i}", 4, first=4 * i) for i in range(5)]
        code, said = done(home, "ingest", str(archives[0]))
        assert code == 0, said
        runs = [threads.submit(done, home, "run") for _ in range(2)]
        ingests = [threads.submit(done, home, "ingest", str(archive)) for archive in archives[1:]]
        ended = [("ingest", *future.result()) for future in ingests] + [("run", *future.result()) for future in runs]
        harms += [f"{name} {code} {said}" for name, code, said in ended if code and RUNNING not in said]
        code, said = done(home, "run")
        if code:
            harms.append(said)
        _, counted = done(home, "sql", "SELECT count(DISTINCT batch) FROM frames", "--format", "csv")
        batches = int(counted.split()[-1])
        _, found = done(home, "repair", "--dry-run")
        _, chains = done(home, "lineage", "--all")
        if batches != len(archives):
            harms.append(f"{batches} of {len(archives)} batches are there")
        harms += [found] if "nothing is missing or damaged" not in found else []
        harms += [chains] if "every link holds" not in chains else []
        lines = len(values(home).splitlines()) - 1
    for harm in harms:
        print(harm[-1500:], flush=True)
    counts = {"runs": len(runs), "ingests": len(ingests), "batches": batches, "evaluations": lines}
    return {**counts, "harms": len(harms)}


def main() -> int:
    """Returns the number of harms."""
    counts = attack()
    print(counts)
    return min(counts["harms"], 100)


if __name__ == "__main__":
    sys.exit(main())
