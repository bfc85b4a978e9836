"""All pairs and the ranking on a CUDA device, against the device's own measured float32 product.

    python -m enrich_assets_tests.benchmarks.curation_cuda [--n 45000 1000000] [--seconds 300] [--out BENCHMARKS.md]

Sizes whose forecast, from what was measured just before, exceeds what is left of --seconds are named and left out. Each
result at 45,000 is compared with the CPU's, for equality.
"""

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.pairs.cuda import exact_float32
from enrich_assets.method.pairs.similarity import all_pairs, similarity_histogram
from enrich_assets.method.ranking.greedy import rank_by_max_similarity
from enrich_assets_tests.benchmarks.archives import codes, start_set, unit_vectors
from enrich_assets_tests.benchmarks.marked_section import write_section

ROOT = Path(__file__).parents[2]
EDGES = np.linspace(-1.001, 1.001, 401)
COMPARED = 45_000
RANKED_SHARE = {45_000: 0.2, 1_000_000: 0.02, 10_000_000: 0.001}


def seconds_of(call: object) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    call()  # type: ignore[operator]
    torch.cuda.synchronize()
    return time.perf_counter() - began


def product_rate(block: int = 8192, d: int = 128) -> float:
    """Pairs per second of a bare float32 product of two blocks, the median of nine."""
    a, b = torch.randn(block, d, device="cuda"), torch.randn(block, d, device="cuda")
    out = torch.empty(block, block, device="cuda")
    with exact_float32():
        torch.mm(a, b.T, out=out)
        took = sorted(seconds_of(lambda: [torch.mm(a, b.T, out=out) for _ in range(10)]) / 10 for _ in range(9))
    return block * block / took[4]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[45_000, 1_000_000, 10_000_000])
    parser.add_argument("--seconds", type=float, default=300.0, help="for everything together")
    parser.add_argument("--out", type=Path, default=ROOT / "BENCHMARKS.md")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: nothing measured, nothing written")
    began, rate = time.perf_counter(), product_rate()
    rows, per_pair, per_pick = [], {"histogram": 0.0, "panel": 0.0}, 0.0

    def affordable(seconds: float) -> bool:
        return seconds < given.seconds - (time.perf_counter() - began)

    for n in sorted(given.n):
        q, (clips, patients), pairs = to_fixed_point(unit_vectors(n, "clip-like")), codes(n), n * (n - 1) / 2
        results, same = {}, ""
        calls = {
            "histogram": lambda q=q: similarity_histogram(q, EDGES, device="cuda"),
            "panel": lambda q=q, c=clips, p=patients: all_pairs(q, clips=c, patients=p, device="cuda"),
        }
        for name, call in calls.items():
            if not affordable(per_pair[name] * pairs):
                rows.append(f"| {n:,} | {name} | left out: about {per_pair[name] * pairs:,.0f} s | | |")
                continue
            if n == min(given.n):
                call()
            results[name] = seconds_of(call)
            per_pair[name] = results[name] / pairs
            if n == COMPARED and name == "histogram":
                same = f"equal to the CPU's: {np.array_equal(call(), similarity_histogram(q, EDGES, device='cpu'))}"
            rows.append(f"| {n:,} | {name} | {results[name]:.2f} | {results[name] * rate / pairs:.2f}x | {same} |")
        start, budget = start_set(n, 0.0002), int(n * RANKED_SHARE.get(n, 1000 / n))
        if not affordable(per_pick * n * budget):
            rows.append(f"| {n:,} | {budget:,} picks | left out: about {per_pick * n * budget:,.0f} s | | |")
            continue
        took = seconds_of(lambda q=q, s=start, b=budget: rank_by_max_similarity(q, s, b, device="cuda"))
        per_pick, same = took / n / budget, ""
        if n == COMPARED:
            both = [rank_by_max_similarity(q, start, budget, device=device) for device in ("cuda", "cpu")]
            same = f"equal to the CPU's: {np.array_equal(*both)}"
        rows.append(f"| {n:,} | {budget:,} picks | {took:.2f} | | {same} |")
    device = torch.cuda.get_device_properties(0)
    text = "\n".join(
        [
            "## On CUDA",
            "",
            f"`python -m {__spec__.name}`, {datetime.now(UTC):%Y-%m-%d} UTC. {device.name}, torch {torch.__version__}; "
            f"its own float32 product (no TF32) makes {rate / 1e9:,.1f} billion pairs of 128 dimensions a second.",
            "",
            "| frames | what | seconds | of the product | |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )
    write_section("curation on CUDA", text, given.out)
    print(text)


if __name__ == "__main__":
    main()
