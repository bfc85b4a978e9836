"""How processes end under load: `ingest`, `sql` and `run`, many times, several at once. Every exit status other than 0 is counted.

python -m enrich_assets_tests.attack.exits [--times 200] [--at-once 4] [--commands ingest,sql,run]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from enrich_assets_tests.attack.homes import done, new_home, write_archive


def main() -> int:
    """Returns the number of processes that did not end with 0."""
    options = argparse.ArgumentParser()
    options.add_argument("--times", type=int, default=200)
    options.add_argument("--at-once", type=int, default=4)
    options.add_argument("--commands", default="ingest,sql,run")
    given = options.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="enrich-exits-") as folder, ThreadPoolExecutor(given.at_once) as threads:
        place = Path(folder)
        archive = write_archive(place / "archive", patients=8)
        homes = [new_home(place / f"home-{i}") for i in range(given.at_once)]
        for code, said in threads.map(lambda home: done(home, "ingest", str(archive)), homes):
            assert code == 0, said
        if "sql" in given.commands or "run" in given.commands:
            for code, said in threads.map(lambda home: done(home, "run", "--no-training"), homes):
                assert code == 0, said
        for command in given.commands.split(","):
            arguments = {
                "ingest": ("ingest", str(archive)),
                "sql": ("sql", "SELECT count(*) FROM frames"),
                "run": ("run", "--no-training"),
            }[command]
            ended: Counter[int] = Counter()
            work = [homes[i % len(homes)] for i in range(given.times)]

            def run(at: int, arguments: tuple[str, ...] = arguments, work: list[Path] = work) -> tuple[int, str]:
                if arguments[0] != "ingest":
                    return done(work[at], *arguments)
                fresh = new_home(place / f"ingest-{at}")  # a home of its own: everything is written for the first time
                return done(fresh, *arguments)

            for code, said in threads.map(run, range(given.times)):
                busy = code == 1 and "another `enrich run` is at work" in said
                ended[0 if busy else code] += 1
                if code and not busy:
                    print(command, code, said[-500:])
            print(
                f"{command}: {given.times} processes, {given.at_once} at once; exit status -> count: {dict(ended)}",
                flush=True,
            )
            wrong += given.times - ended[0]
    return min(wrong, 100)


if __name__ == "__main__":
    sys.exit(main())
