"""`enrich run` killed at random moments: the next run goes on, and ends with the evaluations of a home that nobody disturbed.

python -m enrich_assets_tests.attack.kills [--times 15] [--seed 0]
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from enrich_assets_tests.attack.homes import begin, done, finished_home, new_home, values

RARELY = 0.25  # of the homes are left to end after a kill, so that a hundred kills meet some twenty-five homes


def attack(times: int, seed: int = 0) -> dict[str, int]:
    """Counts: runs killed, homes in which they were, and harms (homes that did not end as the undisturbed one)."""
    moments, counts = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="enrich-kills-") as folder:
        place = Path(folder)
        start = time.monotonic()
        archive, undisturbed = finished_home(place)
        seconds, wanted = time.monotonic() - start, values(undisturbed)
        while counts["runs killed"] < times:
            counts["homes"] += 1
            home = new_home(place / f"home-{counts['homes']}")
            code, said = done(home, "ingest", str(archive))
            assert code == 0, said
            was_killed = True
            while was_killed:  # the next run goes on where this one was killed, and is killed itself
                process, leave, begun = begin(home, "run"), counts["runs killed"] >= times, time.monotonic()
                try:
                    said, _ = process.communicate(timeout=None if leave else moments.uniform(1.5, seconds))
                    was_killed, seconds = (
                        False,
                        min(seconds, time.monotonic() - begun),
                    )  # a busy machine was slow before
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    counts["runs killed"] += 1
                    if moments.random() < RARELY:
                        code, said = done(home, "run")
                        process.returncode, was_killed = code, False
            whole = process.returncode == 0 and values(home) == wanted
            _, found = done(home, "repair", "--dry-run")
            whole = whole and "nothing is missing or damaged" in found
            counts["harms"] += not whole
            if not whole:
                print(said[-2000:], found[-1000:], flush=True)
            shutil.rmtree(home)
            print(dict(counts), flush=True)
    return {name: counts[name] for name in ("runs killed", "homes", "harms")}


def main() -> int:
    """Returns the number of harms."""
    options = argparse.ArgumentParser()
    options.add_argument("--times", type=int, default=15)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    counts = attack(given.times, given.seed)
    print(counts)
    return min(counts["harms"], 100)


if __name__ == "__main__":
    sys.exit(main())
