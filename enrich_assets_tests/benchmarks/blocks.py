"""One panel as a whole, and cut into blocks that can be resumed: the same bits, and what the cutting costs.

    python -m enrich_assets_tests.benchmarks blocks            (200,000 frames; `python -m enrich_assets_tests.benchmarks.blocks N` for others)

Seconds of processor, not of the clock: the ratio holds on a machine that others use, too.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

FRAMES, DIMENSIONS, CLIP = 200_000, 128, 60


def frames(n: int) -> dict[str, np.ndarray]:
    """Synthetic embeddings: clips of sixty frames that wander about a centre, four clips a patient."""
    from enrich_assets.method.embeddings.fixed_point import to_fixed_point

    rng = np.random.default_rng(0)
    vectors = np.empty((n, DIMENSIONS), np.int16)
    for begin in range(0, n, CLIP * 1000):
        size = min(CLIP * 1000, n - begin)
        centres = np.repeat(rng.standard_normal((-(-size // CLIP), DIMENSIONS), np.float32), CLIP, axis=0)[:size]
        vectors[begin : begin + size] = to_fixed_point(
            centres + 0.4 * rng.standard_normal((size, DIMENSIONS), np.float32)
        )
    clips = np.arange(n) // CLIP
    return {"embeddings": vectors, "clips": clips, "patients": clips // 4}


def measure(n: int = FRAMES) -> pd.DataFrame:
    """A row per way: seconds of processor and clock, blocks, bytes of the last checkpoint; and whether the bits are the same."""
    from enrich_assets.method.pairs.blocks import n_blocks, panel_in_blocks
    from enrich_assets.method.pairs.panel import Panel
    from enrich_assets.method.pairs.similarity import all_pairs

    of, kept = frames(n), [0]
    all_pairs(**{name: values[:5000] for name, values in of.items()})  # compiled
    rows: list[dict[str, Any]] = []
    panels: list[Panel] = []

    def save(content: bytes) -> None:
        kept[0] = len(content)

    for way, blocks in (("whole", 1), (f"in {n_blocks(0, n)} blocks", n_blocks(0, n)), ("in 16 blocks", 16)):
        processor, clock = time.process_time(), time.perf_counter()
        panels.append(all_pairs(**of) if blocks == 1 else panel_in_blocks(**of, blocks=blocks, save=save))
        rows.append(
            {
                "way": way,
                "processor_s": time.process_time() - processor,
                "clock_s": time.perf_counter() - clock,
                "checkpoint_MB": kept[0] / 1e6,
                "same_bits": same(panels[0], panels[-1]),
            }
        )
        print(rows[-1], flush=True)
        del panels[1:]
    found = pd.DataFrame(rows)
    found["cost"] = found["processor_s"] / found["processor_s"].iloc[0]
    found["pairs"] = n * (n - 1) // 2
    found["peak_GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return found


def same(one: Any, other: Any) -> bool:
    a, b = one.arrays(), other.arrays()
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def table(found: pd.DataFrame) -> str:
    """As Markdown."""
    pairs, peak = int(found["pairs"].iloc[0]), found["peak_GB"].iloc[0]
    head = "| way | processor | against whole | clock | checkpoint | same bits |\n|---|---|---|---|---|---|"
    lines = [
        f"| {row.way} | {row.processor_s:,.0f} s | {row.cost:.2f} | {row.clock_s:,.0f} s | {row.checkpoint_MB:,.0f} MB | "
        f"{'yes' if row.same_bits else '**no**'} |"
        for row in found.itertuples()
    ]
    return (
        f"{pairs:,} pairs of vectors of {DIMENSIONS} dimensions; peak memory {peak:.1f} GB (at most 1.3 of the whole's cost is asked).\n\n"
        + "\n".join([head, *lines])
    )


if __name__ == "__main__":
    print(table(measure(int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES)))
