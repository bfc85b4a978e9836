"""`enrich ui` with its daemon, and drops in `incoming/`, some poisoned: whole ones become decoded batches, the others are set aside.

python -m enrich_assets_tests.attack.drops [--drops 20] [--poisoned 3]
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from enrich_assets_tests.attack.homes import begin, done, new_home, write_archive
from enrich_assets_tests.made_home import held, opened

INCOMING = "incoming: {settle_seconds: 2, interval_seconds: 5}\n"
SECONDS_PER_DROP = 90  # at most; a run of Dagster's daemon takes 10 to 20


def free_ports(number: int) -> list[int]:
    """Ports on this machine that nobody listens at."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in listening]
    for one in listening:
        one.close()
    return ports


def poison(drop: Path, kind: int) -> None:
    """A drop that can become no batch: its manifest is a folder, a FIFO, or no table."""
    drop.mkdir(parents=True)
    manifest = drop / "manifest.csv"
    if kind % 3 == 0:
        (manifest / "inside").mkdir(parents=True)
        (drop / "some.txt").write_text("x")
    elif kind % 3 == 1:
        os.mkfifo(manifest)
    else:
        manifest.write_bytes(bytes(range(256)) * 40)


def attack(drops: int, poisoned: int) -> dict[str, int]:
    """Counts: drops, batches decoded, drops set aside with a reason, and harms."""
    counts: Counter[str] = Counter({"drops": drops})
    with tempfile.TemporaryDirectory(prefix="enrich-drops-") as folder:
        home = new_home(Path(folder) / "home")
        with (home / "enrich.yaml").open("a", encoding="utf-8") as profile:
            profile.write(INCOMING)
        incoming = home / "incoming"
        bad = {round((k + 0.5) * drops / poisoned) for k in range(poisoned)}
        names = [f"drop-{number:02d}" for number in range(drops)]
        names[next(number for number in range(drops) if number not in bad)] = (
            "register.json"  # once a name of our own files
        )
        for number, name in enumerate(names):
            if number in bad:
                poison(incoming / name, len([one for one in bad if one < number]))
            else:
                write_archive(incoming / name, patients=2, first=2 * number)
        port, mlflow_port = free_ports(2)
        server = begin(
            home, "ui", "--port", str(port), "--mlflow-port", str(mlflow_port), output=Path(folder) / "ui.log"
        )
        end = time.monotonic() + 60 + SECONDS_PER_DROP * drops
        quarantine = home / "quarantine"
        try:
            while time.monotonic() < end and server.poll() is None:
                time.sleep(3)
                decoded = held(opened(home), "frames") if (home / "store").is_dir() else {}
                aside = [reason.read_text() for reason in quarantine.rglob("REASON.txt")]
                if len(decoded) == drops - poisoned and len(aside) == poisoned:
                    break
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
        counts["batches decoded"], counts["set aside with a reason"] = len(decoded), sum(map(bool, aside))
        code, _ = done(home, "run", "--no-training")
        _, frames = done(home, "sql", "SELECT count(*) AS n, count(DISTINCT batch) AS b FROM frames", "--format", "csv")
        _, found = done(home, "repair", "--dry-run")
        expected = f"{12 * (drops - poisoned)},{drops - poisoned}"
        harms = {
            "not every whole drop became a decoded batch": len(decoded) != drops - poisoned,
            "not every poisoned drop was set aside": counts["set aside with a reason"] != poisoned,
            "`enrich run` failed after it": code != 0,
            f"the frames are {frames!r}, not {expected}": frames.split()[-1:] != [expected],
            f"something is missing or damaged: {found[-800:]}": "nothing is missing or damaged" not in found,
        }
        counts["harms"] = sum(harms.values())
        if counts["harms"]:
            print(*(harm for harm, happened in harms.items() if happened), sep="\n")
            print((Path(folder) / "ui.log").read_text()[-3000:], flush=True)
    return {name: counts[name] for name in ("drops", "batches decoded", "set aside with a reason", "harms")}


def main() -> int:
    """Returns the number of harms."""
    options = argparse.ArgumentParser()
    options.add_argument("--drops", type=int, default=20)
    options.add_argument("--poisoned", type=int, default=3)
    given = options.parse_args()
    counts = attack(given.drops, given.poisoned)
    print(counts)
    return min(counts["harms"], 100)


if __name__ == "__main__":
    sys.exit(main())
