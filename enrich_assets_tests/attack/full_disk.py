"""A home on a disk that is full again and again: each command says so in a sentence, and with room the home ends as an undisturbed one.

python -m enrich_assets_tests.attack.full_disk [--steps 12]

It mounts a small tmpfs, which needs root.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from enrich_assets_tests.attack.homes import done, finished_home, new_home, values

FIRST_KB = 64
ROOM_KB = 200_000  # more than such a home ever needs
SAID = ("no space left", "disk is full", "could not be written")


def mounted(place: Path, kilobytes: int, again: bool = False) -> str | None:
    """Mount a tmpfs of that size, or give it another one; why it cannot be, where it cannot."""
    options = f"{'remount,' if again else ''}size={kilobytes}k"
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True
        )
    except FileNotFoundError:
        return "there is no mount here"
    return done.stderr.strip() or f"mount ended with {done.returncode}" if done.returncode else None


def used_kb(place: Path) -> int:
    """Kilobytes in use below a mount, as the kernel counts them."""
    words = subprocess.run(["df", "--output=used", "-k", str(place)], capture_output=True, text=True, check=True)
    return int(words.stdout.split()[-1])


def attack(steps: int) -> dict[str, int] | str:
    """Counts: commands, those that the full disk ended, and harms; a sentence where nothing can be mounted here.

    Between two commands the disk grows by a share of what the undisturbed home uses, so that it is full at ever later moments.
    """
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="enrich-full-disk-") as folder:
        place = Path(folder)
        archive, undisturbed = finished_home(place)
        wanted = values(undisturbed)
        disk = place / "disk"
        disk.mkdir()
        why_not = mounted(disk, FIRST_KB)
        if why_not is not None:
            return f"skipped: no tmpfs can be mounted here ({why_not})"
        try:
            needed = sum(path.stat().st_blocks for path in undisturbed.rglob("*") if path.is_file()) // 2
            home, size = new_home(disk / "home"), FIRST_KB
            commands = [("ingest", str(archive)), ("run",)]
            while commands and counts["commands"] < 3 * steps:
                code, said = done(home, *commands[0])
                counts["commands"] += 1
                if code == 0:
                    commands.pop(0)
                    continue
                counts["ended by the full disk"] += 1
                if code < 0 or "Traceback" in said or not any(words in said for words in SAID):
                    counts["harms"] += 1
                    print(size, code, said[-2500:], flush=True)
                size = max(size, used_kb(disk)) + max(needed // steps, 16)
                refused = mounted(disk, size, again=True)
                assert refused is None, refused
            refused = mounted(disk, max(size, ROOM_KB), again=True)
            assert refused is None, refused
            if commands[:1] != [("run",)] and commands:
                counts["harms"] += 1
            code, said = done(home, "run")
            _, found = done(home, "repair", "--dry-run")
            left = [path.name for path in (home / "store").rglob(".*")]  # half-written files are hidden
            whole = code == 0 and values(home) == wanted and "nothing is missing or damaged" in found and not left
            counts["harms"] += not whole
            if not whole:
                print(code, said[-1500:], found[-1500:], left, flush=True)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return {name: counts[name] for name in ("commands", "ended by the full disk", "harms")}


def main() -> int:
    """Returns the number of harms."""
    options = argparse.ArgumentParser()
    options.add_argument("--steps", type=int, default=12)
    counts = attack(options.parse_args().steps)
    print(counts)
    return 0 if isinstance(counts, str) else min(counts["harms"], 100)


if __name__ == "__main__":
    sys.exit(main())
