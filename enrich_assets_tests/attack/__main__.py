"""All attacks, or those named: `python -m enrich_assets_tests.attack [--scale quick|full] [--only kills,clock]`.

`full` writes what it counted into RELIABILITY.md; `quick` takes some minutes, and prints only.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from enrich_assets_tests.attack import at_once, clock, drops, exits, full_disk, hostile, kills, makers, mutations
from enrich_assets_tests.attack.reliability import keep

Counts = dict[str, int] | str


@dataclass(frozen=True)
class Attack:
    """One attack at its two scales."""

    full: Callable[[], Counts]
    quick: Callable[[], Counts]


ATTACKS = {
    "mutations": Attack(lambda: mutations.attack(20_000), lambda: mutations.attack(600)),
    "hostile": Attack(lambda: hostile.attack(300), lambda: hostile.attack(60)),
    "makers": Attack(makers.attack, lambda: makers.attack(12)),
    "full disk": Attack(lambda: full_disk.attack(12), lambda: full_disk.attack(3)),
    "clock": Attack(lambda: clock.attack(8), lambda: clock.attack(2)),
    "at once": Attack(at_once.attack, at_once.attack),
    "drops": Attack(lambda: drops.attack(20, 3), lambda: drops.attack(3, 1)),
    "kills": Attack(lambda: kills.attack(100), lambda: kills.attack(12)),
    **{
        f"exits of {command}": Attack(partial(exits.attack, command, 200), partial(exits.attack, command, 4))
        for command in exits.COMMANDS
    },
}


def main() -> int:
    """Returns the number of harms, 100 at most."""
    options = argparse.ArgumentParser(prog="python -m enrich_assets_tests.attack", description=__doc__)
    options.add_argument("--scale", choices=("quick", "full"), default="quick")
    options.add_argument("--only", default=",".join(ATTACKS), help="names, with commas between")
    given = options.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in ATTACKS]:
        options.error(f"no attack {unknown[0]!r}; there are: {', '.join(ATTACKS)}")
    harms = 0
    for name in names:
        start = time.monotonic()
        attack = ATTACKS[name]
        counts = attack.full() if given.scale == "full" else attack.quick()
        seconds = time.monotonic() - start
        harms += counts["harms"] if isinstance(counts, dict) else 0
        print(f"{name}: {counts} ({seconds:.0f} s)", flush=True)
        if given.scale == "full":
            keep(name, counts, seconds)
    print(f"{harms} harms")
    return min(harms, 100)


if __name__ == "__main__":
    sys.exit(main())
