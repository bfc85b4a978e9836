"""Batches of hostile files beside whole ones: each is read or refused by name, and the whole ones are ingested and decoded.

python -m enrich_assets_tests.attack.hostile [--times 300]
"""

from __future__ import annotations

import argparse
import io
import os
import socket
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.attack.homes import write_archive
from enrich_assets_tests.attack.mutations import mutated, seeds
from enrich_assets_tests.defs.made_archive import make_cells, opened

SUFFIXES = ("png", "jpg", "tif", "dcm", "mp4", "avi", "mkv", "zip", "npy", "bmp")
KINDS = 12


def write_hostile(folder: Path, number: int) -> str:
    """One hostile file; its path as a manifest would name it, relative to the folder."""
    rng = np.random.default_rng(number)
    suffix = SUFFIXES[number // KINDS % len(SUFFIXES)]
    name = f"h{number:03d}.{suffix}"
    path, whole = folder / name, seeds_once()
    other = whole[sorted(whole)[number % len(whole)]]
    kind = number % KINDS
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        with socket.socket(socket.AF_UNIX) as listening:
            here = os.getcwd()
            os.chdir(folder)  # the name of a socket may be 108 bytes long
            try:
                listening.bind(name)
            finally:
                os.chdir(here)
    elif kind == 3:
        path.symlink_to(path)
    elif kind == 4:
        path.symlink_to("/dev/zero")
    elif kind == 5:
        path.write_bytes(b"")
    elif kind == 6:
        path.write_bytes(rng.bytes(int(rng.integers(1, 4000))))
    elif kind == 7:
        path.write_bytes(other)  # one format under another's name
    elif kind == 8:
        path.write_bytes(mutated(mutated(other, rng), rng))
    elif kind == 9:
        path.write_text(f"ffconcat version 1.0\nfile {folder}/images/p000_0.png\n")
    elif kind == 10:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            packed.writestr("../../escaped.png", other)
            packed.writestr("x::file:///etc/passwd", b"x")
        path.write_bytes(out.getvalue())
    else:
        return f"{'../' * (number % 20)}nowhere/{number}.{suffix}"
    return name


_seeds: dict[str, bytes] = {}


def seeds_once() -> dict[str, bytes]:
    """The whole files, made once."""
    if not _seeds:
        _seeds.update(seeds())
    return _seeds


def attack(times: int, per_batch: int = 60) -> dict[str, int]:
    """Counts: inputs, refused at ingest, refused when decoded, read, batches, and harms (whole frames lost, or an input unaccounted)."""
    counts = dict.fromkeys(("inputs", "batches", "refused at ingest", "refused when decoded", "read", "harms"), 0)
    with tempfile.TemporaryDirectory(prefix="enrich-hostile-") as folder:
        archive: Archive = opened(Path(folder) / "home")
        for batch, first in enumerate(range(0, times, per_batch)):
            place = write_archive(Path(folder) / f"a{batch}", patients=2, first=2 * batch)
            whole = pd.read_csv(place / "manifest.csv", dtype=str)
            names = [write_hostile(place, number) for number in range(first, min(first + per_batch, times))]
            ids = {"patient_id": f"H{batch}", "study_id": f"H{batch}"}
            rows = [{"path": name, **ids, "clip_id": f"H{at}", "split": "train"} for at, name in enumerate(names)]
            pd.concat([whole, pd.DataFrame(rows)]).to_csv(place / "manifest.csv", index=False)
            ingest(archive, str(place), f"b{batch}")
            archive.look_again()
            make_cells(archive, f"b{batch}", "studies", "frames")
            named = set(archive.register.refused(archive.batch(f"b{batch}"))["path"])
            receipt = archive.store.receipts.require(Cell("frames", f"b{batch}"))
            frames = archive.store.table(receipt, "frames")
            undecoded = set(archive.store.table(receipt, "refused")["path"])
            kept = {tuple(clip.split("/")) for clip in frames["clip_id"]}
            counts["batches"] += 1
            counts["inputs"] += len(names)
            for at, name in enumerate(names):
                outcomes = {
                    "refused at ingest": any(path.endswith(name.lstrip("./")) for path in named),
                    "refused when decoded": any(path.endswith(name.lstrip("./")) for path in undecoded),
                    "read": (f"H{batch}", f"H{at}") in kept,
                }
                for outcome, happened in outcomes.items():
                    counts[outcome] += happened
                if sum(outcomes.values()) != 1:
                    counts["harms"] += 1
                    print(name, outcomes)
            lost = {tuple(pair) for pair in whole[["study_id", "clip_id"]].values.tolist()} - kept
            counts["harms"] += len(lost)
    return counts


def main() -> int:
    """Returns the number of harms."""
    options = argparse.ArgumentParser()
    options.add_argument("--times", type=int, default=300)
    counts = attack(options.parse_args().times)
    print(counts)
    return min(counts["harms"], 100)


if __name__ == "__main__":
    sys.exit(main())
