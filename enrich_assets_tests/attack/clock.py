"""A clock that is set back and forward between commands (libfaketime): the same evaluations, the label that was imported last, no work twice.

python -m enrich_assets_tests.attack.clock [--times 8]

It needs `pip install libfaketime`, which takes a C compiler.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from enrich_assets_tests.attack.homes import done, faketime_library, new_home, values, write_archive

IMPORTED = "SELECT frame_id, label FROM labels ORDER BY ALL"
YEARS = (1999, 2012, 2020, 2031, 2036)


def write_labels(path: Path, labels: dict[str, str]) -> str:
    """A CSV of labels as a tool exports it; its path."""
    path.write_text("frame_id,label\n" + "".join(f"{frame},{label}\n" for frame, label in labels.items()))
    return str(path)


def attack(times: int, seed: int = 0) -> dict[str, int] | str:
    """Counts: commands under a wrong clock, imports of labels, and harms; a sentence where there is no faketime.

    One home lives under the clock of the machine, the other jumps between years; both get the same studies and labels, each frame
    several times another label. They must say the same in the end, and then have nothing to do.
    """
    if faketime_library() is None:
        return "skipped: there is no libfaketime here (`pip install libfaketime`)"
    chance, counts = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="enrich-clock-") as folder:
        place = Path(folder)
        archives = [write_archive(place / f"archive-{n}", 8 - 4 * n, first=8 * n) for n in range(2)]
        imports = []
        for number in range(times):
            corrected = {f"S00{patient}/C{patient % 6}/0": chance.choice("ab") for patient in (0, 1, 4, 5)}
            imports.append(write_labels(place / f"labels-{number}.csv", corrected))
        steps = [("ingest", str(archives[0]), "--batch", "zulu"), ("run",)]
        steps += [("labels", "import", path, "--task", "view") for path in imports]
        steps += [("ingest", str(archives[1]), "--batch", "alpha"), ("run",)]
        said_by = []
        for name in ("undisturbed", "jumping"):
            home = new_home(place / name)
            for step in steps:
                year = chance.choice(YEARS) if name == "jumping" else None
                code, said = done(home, *step, year=year)
                counts["commands under another clock"] += year is not None
                counts["imports of labels"] += year is not None and step[0] == "labels"
                if code:
                    counts["harms"] += 1
                    print(name, year, step, code, said[-1500:], flush=True)
            for year in (None, *YEARS[:1]):
                code, said = done(home, "run", year=year)
                counts["commands under another clock"] += year is not None
                if code or "everything is up to date" not in said:
                    counts["harms"] += 1
                    print(name, year, code, said[-1500:], flush=True)
            _, labels = done(home, "sql", IMPORTED, "--format", "csv")
            _, found = done(home, "repair", "--dry-run")
            said_by.append((values(home), labels, "nothing is missing or damaged" in found))
        counts["harms"] += said_by[0] != said_by[1] or not said_by[1][2]
        if said_by[0] != said_by[1]:
            print(*said_by[0], *said_by[1], sep="\n", flush=True)
    return {name: counts[name] for name in ("commands under another clock", "imports of labels", "harms")}


def main() -> int:
    """Returns the number of harms."""
    options = argparse.ArgumentParser()
    options.add_argument("--times", type=int, default=8)
    counts = attack(options.parse_args().times)
    print(counts)
    return 0 if isinstance(counts, str) else min(counts["harms"], 100)


if __name__ == "__main__":
    sys.exit(main())
