"""What of the demo's wall time is the method's own computing, and what is Dagster, files, MLflow and DuckDB.

    python -m enrich_assets_tests.benchmarks.overhead

Runs the demo in a temporary home with a clock around every entry point of `method` that the assets call. All else counts as
overhead: decoding, cropping, the store, Dagster's runs and events, MLflow, DuckDB, the report. (The phantom is written before.)
One training at a time, in this process: side by side, method and overhead of several cells fall into the same second.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Where the name is looked up when an asset calls: in the module itself, in the door of a room, or in the one caller.
ENTRIES = {
    "method.embeddings.vae": ("train_vae", "embed", "reconstruct"),
    "method.embeddings.health": ("measure", "judge"),
    "method.pairs.blocks": ("panel_in_blocks",),
    "method.pairs.sampled": ("estimate_redundancy",),
    "archive.curation": ("sum_panels",),
    "method.ranking": ("rank_frames", "random_order", "coverage_of", "coverage_at"),
    "method.ranking.worklist": ("greatest_similarity", "rank_with_quotas"),
    "method.networks.classification": ("train_classifier", "predict_classes"),
    "method.networks.segmentation": ("train_segmenter", "predict_masks"),
    "method.statistics.intervals": ("auc_interval", "jaccard_interval"),
    "method.statistics.metrics": ("auc", "macro_auc", "jaccard", "jaccard_counts", "frame_jaccard"),
    "method.statistics.adequacy": ("adequacy",),
    "method.statistics.comparison": ("compare",),
    "method.statistics.sufficient": ("smallest_sufficient_budget",),
    "method.statistics.learning_curve": ("advise",),
}


def measure(profile: str = "demo") -> dict[str, float]:
    """Seconds of wall time in all and by method module, and the share of the rest."""
    spent: Counter[str] = Counter()
    depth = [0]

    def clocked(module: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            depth[0] += 1
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                depth[0] -= 1
                if not depth[0]:  # entries that call one another count once
                    spent[module] += time.perf_counter() - start

        return call

    kept: list[tuple[Any, str, Any]] = []
    for name, functions in ENTRIES.items():
        module = importlib.import_module(f"enrich_assets.{name}")
        for function in functions:
            kept.append((module, function, getattr(module, function)))
            setattr(module, function, clocked(name.removeprefix("method."), getattr(module, function)))
    try:
        wall = _run(profile)
    finally:
        for module, function, original in kept:
            setattr(module, function, original)
    method = sum(spent.values())
    return {
        "wall": wall,
        "method": method,
        "overhead_share": 1 - method / wall,
        **{f"in {k}": v for k, v in spent.items()},
    }


def _run(profile: str) -> float:
    from enrich_assets.archive import Archive
    from enrich_assets.archive.ingest import ingest
    from enrich_assets.defs.instance import open_instance
    from enrich_assets.profiles import load_profile
    from enrich_assets.running.driver import Driver
    from enrich_assets.studies.phantom import write_phantom

    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder), load_profile(profile).model_copy(update={"workers": 1}))
        write_phantom(f"{folder}/phantom", patients=archive.profile.phantom.patients, seed=archive.profile.phantom.seed)
        start = time.perf_counter()
        ingest(archive, f"{folder}/phantom", "phantom")
        with open_instance(archive) as instance:
            outcome = Driver(archive, instance, print).run()
        wall = time.perf_counter() - start
        if outcome.failed or outcome.blocked:
            raise RuntimeError(f"the demo did not go through: {outcome.failed or outcome.blocked}")
    return wall


def table(found: dict[str, float]) -> str:
    rows = [f"| {name} | {value:.1f} s |" for name, value in found.items() if name != "overhead_share"]
    share = f"**{found['overhead_share']:.1%}** of the demo's wall time is not the method's own computing (at most 25 % is asked)."
    return "\n".join([share, "", "| where | seconds |", "|---|---|", *rows])


if __name__ == "__main__":
    print(table(measure()))
