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


def main() -> int:
    """Returns the number of harms."""
    harms = 0
    with tempfile.TemporaryDirectory(prefix="enrich-at-once-") as folder, ThreadPoolExecutor(8) as threads:
        place = Path(folder)
        home = new_home(place / "home")
        archives = [write_archive(place / f"archive-{i}", 4, first=4 * i) for i in range(5)]
        code, said = done(home, "ingest", str(archives[0]))
        assert code == 0, said
        runs = [threads.submit(done, home, "run") for _ in range(2)]
        ingests = [threads.submit(done, home, "ingest", str(archive)) for archive in archives[1:]]
        for future in ingests:
            code, said = future.result()
            if code:
                harms += 1
                print("ingest", code, said[-800:])
        ended = [future.result() for future in runs]
        for code, said in ended:
            if code and RUNNING not in said:
                harms += 1
                print("run", code, said[-800:])
        code, said = done(home, "run")
        harms += code != 0
        _, counted = done(home, "sql", "SELECT count(DISTINCT batch) FROM frames", "--format", "csv")
        batches = counted.strip().splitlines()[-1]
        _, found = done(home, "repair", "--dry-run")
        _, chains = done(home, "lineage", "--all")
        harms += batches != "5"
        harms += "nothing is missing or damaged" not in found
        harms += "every link holds" not in chains
        refused = sum(RUNNING in said for _, said in ended)
        lines = len(values(home).splitlines()) - 1
        print(
            f"2 runs ({refused} told that another is at work), 4 ingests at once: {batches} batches, {lines} evaluations, {harms} harms"
        )
        if harms:
            print(said[-800:], found[-800:], chains[-800:])
    return harms


if __name__ == "__main__":
    sys.exit(main())
