"""`enrich run` killed at random moments: the next run goes on, and ends with the evaluations of a home that nobody disturbed.

python -m enrich_assets_tests.attack.kills [--times 15] [--seed 0]
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from enrich_assets_tests.attack.homes import begin, done, new_home, values, write_archive


def main() -> int:
    """Returns the number of attacks that did harm."""
    options = argparse.ArgumentParser()
    options.add_argument("--times", type=int, default=15)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="enrich-kills-") as folder:
        place = Path(folder)
        archive = write_archive(place / "archive")
        undisturbed = new_home(place / "undisturbed")
        start = time.monotonic()
        for command in (("ingest", str(archive)), ("run",)):
            code, said = done(undisturbed, *command)
            assert code == 0, said
        seconds, wanted = time.monotonic() - start, values(undisturbed)
        killed = harmed = 0
        home, number = None, 0
        while killed < given.times:
            if home is None:
                number += 1
                home = new_home(place / f"home-{number}")
                code, said = done(home, "ingest", str(archive))
                assert code == 0, said
            process = begin(home, "run")
            try:
                said, _ = process.communicate(timeout=moments.uniform(1.5, seconds))
            except Exception:
                process.kill()
                process.communicate()
                killed += 1
                if killed < given.times:
                    continue  # the next run goes on where this one was killed, and is killed itself
                code, said = done(home, "run")
                process.returncode = code
            whole = process.returncode == 0 and values(home) == wanted
            _, found = done(home, "repair", "--dry-run")
            whole = whole and "nothing is missing or damaged" in found
            harmed += not whole
            if not whole:
                print(said[-2000:], found[-1000:])
            home = None
        print(f"{killed} runs killed in {number} homes, {harmed} homes harmed; a run takes {seconds:.0f} s")
    return harmed


if __name__ == "__main__":
    sys.exit(main())
