"""How processes end under load: `ingest`, `sql` or `run`, many times, several at once. Every exit status other than 0 is counted.

python -m enrich_assets_tests.attack.exits ingest|sql|run [--times 200] [--at-once 4]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from enrich_assets_tests.attack.homes import done, new_home, write_archive

COMMANDS = ("ingest", "sql", "run")


def attack(command: str, times: int, at_once: int = 4) -> dict[str, int]:
    """Counts: processes of the command, those that ended by a signal, and harms (whatever did not end with 0)."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="enrich-exits-") as folder, ThreadPoolExecutor(at_once) as threads:
        place = Path(folder)
        archive = write_archive(place / "archive", patients=8)
        homes: SimpleQueue[Path] = SimpleQueue()  # one process at a time has each
        for number in range(at_once):
            homes.put(new_home(place / f"home-{number}"))

        def on_a_home(work: Callable[[Path], tuple[int, str]]) -> tuple[int, str]:
            home = homes.get()
            try:
                return work(home)
            finally:
                homes.put(home)

        def ingested(_: int) -> tuple[int, str]:
            fresh = Path(tempfile.mkdtemp(dir=place)) / "home"  # everything is written for the first time
            try:
                return done(new_home(fresh), "ingest", str(archive))
            finally:
                shutil.rmtree(fresh.parent)

        def asked(_: int) -> tuple[int, str]:
            return on_a_home(lambda home: done(home, "sql", "SELECT count(*) FROM frames"))

        def published(_: int) -> tuple[int, str]:
            def again(home: Path) -> tuple[int, str]:
                (home / "enrich.duckdb").unlink()  # something to do: what is published is made again
                return done(home, "run", "--no-training")

            return on_a_home(again)

        def prepared(_: int) -> tuple[int, str]:
            return on_a_home(lambda home: max(done(home, "ingest", str(archive)), done(home, "run", "--no-training")))

        if command != "ingest":
            for code, said in threads.map(prepared, range(at_once)):
                assert code == 0, said
        work = {"ingest": ingested, "sql": asked, "run": published}[command]
        for code, said in threads.map(work, range(times)):
            counts["processes"] += 1
            counts["ended by a signal"] += code < 0
            counts["harms"] += code != 0
            if code:
                print(command, code, said[-500:], flush=True)
    return {name: counts[name] for name in ("processes", "ended by a signal", "harms")}


def main() -> int:
    """Returns the number of processes that did not end with 0."""
    options = argparse.ArgumentParser()
    options.add_argument("command", choices=COMMANDS)
    options.add_argument("--times", type=int, default=200)
    options.add_argument("--at-once", type=int, default=4)
    given = options.parse_args()
    counts = attack(given.command, given.times, given.at_once)
    print(counts)
    return min(counts["harms"], 100)


if __name__ == "__main__":
    sys.exit(main())
