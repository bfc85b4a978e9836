"""What decoding in child processes costs: ingest and decode the demo's phantom and the lung clips, with and without.

    python -m enrich_assets_tests.benchmarks isolation      # into BENCHMARKS.md; with `.isolation` to the terminal alone

Without: the very same functions, called in the threads that otherwise wait for a child. Each measurement is a process of its own, so
the children are started (and their libraries loaded) in each; the two ways take turns. Labels with masks are read, too.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS = 3
LUNG = Path(__file__).parents[2].parent / "shared" / "realdata" / "pocus_lung_clips"
CALLERS = ("archive.decoding", "studies.readers.masks", "studies.dicom.folder")


def here(path: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """As `isolated`, in this thread."""
    return function(*arguments)


def once(place: str, profile: str, way: str) -> tuple[float, float]:
    """Seconds by the clock, and of all processors, children included."""
    import importlib

    from enrich_assets.archive import Archive
    from enrich_assets.archive.decoding import Decoding
    from enrich_assets.archive.ingest import ingest
    from enrich_assets.archive.sources import source_files
    from enrich_assets.defs.assets.studies import views_of
    from enrich_assets.profiles import load_profile
    from enrich_assets.store.artefacts import Draft
    from enrich_assets.store.receipts import Cell
    from enrich_assets.studies.isolation.pool import resident
    from enrich_assets.studies.readers import read_mask

    if way == "here":
        for caller in CALLERS:
            importlib.import_module(f"enrich_assets.{caller}").isolated = here  # type: ignore[attr-defined]
        for library in ("studies.readers.views",):  # loaded by the children otherwise, and counted there
            importlib.import_module(f"enrich_assets.{library}")
    with tempfile.TemporaryDirectory() as home:
        archive = Archive(Path(home), load_profile(profile))
        start = time.perf_counter()
        batch = ingest(archive, place).batch
        rows = archive.register.rows(batch)
        decoding = Decoding(batch.name, source_files(archive), archive.profile.frames, views_of(archive.profile))
        tables = decoding.decode(rows, Draft(archive.store, Cell("frames", batch.name), "", {}), lambda *_: None)
        sizes = tables["clips"].set_index("path")[["height", "width"]]
        for row in rows.dropna(subset="mask_path").itertuples():
            size = sizes.loc[row.path]
            read_mask(row.mask_path, None, (int(size["height"]), int(size["width"])))
        wall = time.perf_counter() - start
    resident().end()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return wall, sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure() -> list[tuple[str, str, float, float]]:
    """Place, way, median seconds by the clock and of the processors."""
    from enrich_assets.profiles import load_profile
    from enrich_assets.studies.phantom import write_phantom

    found = []
    with tempfile.TemporaryDirectory() as folder:
        settings = load_profile("demo").phantom
        write_phantom(f"{folder}/phantom", patients=settings.patients, seed=settings.seed)
        lung_profile = str(Path(__file__).parents[1] / "lung.yaml")
        places = [("the demo's phantom", f"{folder}/phantom", "demo")]
        places += [("the lung clips", str(LUNG), lung_profile)] if LUNG.exists() else []
        for title, place, profile in places:
            times: dict[str, list[tuple[float, float]]] = {"here": [], "apart": []}
            for _ in range(RUNS):
                for way, seconds in times.items():
                    command = [sys.executable, "-m", "enrich_assets_tests.benchmarks.isolation", place, profile, way]
                    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                    seconds.append((float(line[0]), float(line[1])))
            found += [
                (title, way, *(statistics.median(s[i] for s in seconds) for i in (0, 1)))
                for way, seconds in times.items()
            ]
    return found


def table(found: list[tuple[str, str, float, float]]) -> str:
    """Lines of BENCHMARKS.md."""
    rows = [
        "| ingest, decode, read masks | where | seconds | processor seconds | ratio of seconds |",
        "|---|---|---|---|---|",
    ]
    base = {title: wall for title, way, wall, _ in found if way == "here"}
    name = {"here": "in this process", "apart": "in child processes"}
    for title, way, wall, cpu in found:
        rows.append(f"| {title} | {name[way]} | {wall:.2f} | {cpu:.2f} | {wall / base[title]:.2f} |")
    return "\n".join([f"Medians of {RUNS}; at most 1.10 is asked.", "", *rows])


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(*once(*sys.argv[1:]))
    else:
        print(table(measure()))
