"""How often do the intervals of a difference hold the truth, where the truth and each source of chance are known?

    python -m enrich_assets_tests.benchmarks.two_sources      writes the section of STATISTICS.md (some minutes on one core)

Trainings of two arms are simulated, after Roe and Metz (1997, doi 10.1016/S1076-6332(97)80032-3): effects of patients that both arms
share, of patients in one arm, of seeds, of seeds with patients, and of frames. The true difference follows from the
components in closed form. Three intervals are asked whether they hold it: variance components (the default), the two-way
bootstrap, and seeds alone (Welch), which is what was published before. And: with the true difference as the margin, how
often do variance components, and seeds alone, claim equivalence? They may in 5 % of the experiments, no oftener.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from enrich_assets.method.statistics.by_patient import auc_drawn, auc_left_out, mean_drawn, mean_left_out
from enrich_assets.method.statistics.metrics import auc
from enrich_assets.method.statistics.significance import equivalence, welch
from enrich_assets.method.statistics.two_sources import two_way_bootstrap, variance_components
from enrich_assets_tests.benchmarks.marked_section import write_section

STATISTICS = Path(__file__).parents[2] / "STATISTICS.md"
METHODS = ("components", "bootstrap", "seeds alone")
PATIENTS = (8, 20, 60)
SEEDS, ALPHA = 5, 0.05


@dataclass(frozen=True)
class World:
    """Standard deviations of every source of chance, and the two arms' levels."""

    name: str
    metric: str  # auc or jaccard
    level: tuple[float, float]  # separation of the classes, or mean Jaccard, of either arm
    patient: float  # shared by both arms
    arm_patient: float
    seed: float
    seed_patient: float
    frame: float
    classes: str = "one"  # of a patient's frames: one class, or both
    uneven: bool = False  # patients have from 3 to 60 frames

    def difference(self) -> float:
        """The true difference between the arms, over all patients and seeds."""
        if self.metric == "jaccard":
            return self.level[0] - self.level[1]
        spread = self.patient**2 + self.arm_patient**2 + self.seed_patient**2 + self.frame**2
        first, second = (stats.norm.cdf(mu / math.sqrt(2 * spread + self.seed**2)) for mu in self.level)
        return float(first - second)


WORLDS = (
    World("AUC, a patient has one class", "auc", (1.9, 1.7), 0.5, 0.25, 0.15, 0.3, 0.75),
    World("AUC, a patient has both classes", "auc", (1.9, 1.6), 0.5, 0.25, 0.15, 0.3, 0.75, classes="both"),
    World("AUC near 1, one class", "auc", (3.3, 3.1), 0.5, 0.25, 0.15, 0.3, 0.75),
    World("AUC, one class, seeds matter little", "auc", (1.9, 1.7), 0.5, 0.4, 0.02, 0.1, 0.75),
    World("AUC, one class, uneven patients", "auc", (1.9, 1.7), 0.5, 0.25, 0.15, 0.3, 0.75, uneven=True),
    World("Jaccard", "jaccard", (0.72, 0.70), 0.08, 0.03, 0.015, 0.03, 0.05),
    World("Jaccard, patients matter little", "jaccard", (0.72, 0.70), 0.08, 0.004, 0.02, 0.01, 0.05),
    World("Jaccard, uneven patients", "jaccard", (0.72, 0.70), 0.08, 0.03, 0.015, 0.03, 0.05, uneven=True),
)


@dataclass(frozen=True)
class Found:
    """What one simulated experiment says: intervals by method, and p of equivalence with the true difference as margin."""

    intervals: dict[str, tuple[float, float]]
    p_equivalence: dict[str, float]


def experiment(world: World, patients: int, rng: np.random.Generator, draws: int = 0) -> Found:
    """One simulated experiment; the bootstrap only with draws."""
    frames = np.exp(rng.uniform(np.log(3), np.log(60), patients)).astype(int) if world.uneven else np.full(patients, 6)
    owner = np.repeat(np.arange(patients), frames)
    if world.metric == "jaccard":
        positive = np.zeros(len(owner), dtype=np.int64)
    elif world.classes == "one":
        positive = (owner % 2).astype(np.int64)
    else:
        positive = np.arange(len(owner)) % 2
    cell = owner * 2 + positive  # effects of a patient are drawn for each of its classes
    shared = rng.normal(0, world.patient, 2 * patients)[cell]
    weights = np.array([np.bincount(rng.integers(patients, size=patients), minlength=patients) for _ in range(draws)])
    values, left_out, drawn = [], [], []
    for level in world.level:
        of_arm = shared + rng.normal(0, world.arm_patient, 2 * patients)[cell]
        trainings = []
        for _ in range(SEEDS):
            up = level + rng.normal(0, world.seed)
            noise = rng.normal(0, world.seed_patient, 2 * patients)[cell] + rng.normal(0, world.frame, len(owner))
            trainings.append(of_arm + noise + (up if world.metric == "jaccard" else up * positive))
        if world.metric == "jaccard":
            values.append([of_frame.mean() for of_frame in trainings])
            left_out.append([mean_left_out(of_frame, owner) for of_frame in trainings])
            drawn.append([mean_drawn(of_frame, owner, weights) for of_frame in trainings] if draws else [])
        else:
            values.append([auc(positive, score) for score in trainings])
            left_out.append([auc_left_out(positive, score, owner) for score in trainings])
            drawn.append([auc_drawn(positive, score, owner, weights) for score in trainings] if draws else [])
    a, b = (np.array(of_arm) for of_arm in values)
    cases = left_out[0][0].cases
    outs = [[training.values for training in of_arm] for of_arm in left_out]
    both, margin = variance_components(a, b, outs[0], outs[1], cases), abs(world.difference())
    intervals = {"components": both.interval()}
    if draws:
        intervals["bootstrap"] = two_way_bootstrap(a, b, drawn[0], drawn[1], patients=patients, cases=cases)
    error, freedom = welch(a, b)
    reach = stats.t.ppf(0.975, freedom) * error
    intervals["seeds alone"] = (float(a.mean() - b.mean() - reach), float(a.mean() - b.mean() + reach))
    claims = {"components": both.p_equivalent(margin), "seeds alone": equivalence(a, b, margin)}
    return Found(intervals, claims)


@dataclass(frozen=True)
class Coverage:
    """Over many experiments: share of intervals that hold the truth, their median width, share of false claims."""

    held: float
    width: float
    false_claims: float


def coverage(world: World, patients: int, rounds: int, draws: int = 0, seed: int = 0) -> dict[str, Coverage]:
    """What comes of many simulated experiments, by method."""
    rng = np.random.default_rng([seed, patients])
    truth = world.difference()
    every = [experiment(world, patients, rng, draws) for _ in range(rounds)]
    found = {}
    for method in every[0].intervals:
        low, high = np.array([one.intervals[method] for one in every]).T
        claims = [one.p_equivalence.get(method, math.nan) for one in every]
        is_held = ~((high < truth) | (low > truth))  # no interval excludes nothing
        found[method] = Coverage(
            float(is_held.mean()), float(np.nanmedian(high - low)), float(np.mean(np.array(claims) <= ALPHA))
        )
    return found


def table(rounds: int = 2000, draws: int = 400) -> str:
    """The section of STATISTICS.md."""
    lines = [
        "## Intervals of a difference between two arms, where the truth is known",
        "",
        f"`python -m enrich_assets_tests.benchmarks.two_sources`: {rounds:,} simulated experiments in each row (standard error of a "
        f"coverage of 95 %: {100 * math.sqrt(0.95 * 0.05 / rounds):.1f} points), {SEEDS} seeds in either arm, {draws} draws of the bootstrap, "
        "6 frames a patient or, where uneven, 3 to 60. Nominal is 95 %. In brackets the median width. False claims: experiments in "
        "which equivalence was claimed though the true difference is the margin (nominal: at most 5 %).",
        "",
        "| simulated | patients | variance components (default) | two-way bootstrap | seeds alone | false claims | by seeds alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for world in WORLDS:
        for patients in PATIENTS:
            found = coverage(world, patients, rounds, draws)
            cells = [f"{found[m].held:.1%} ({found[m].width:.3f})" for m in METHODS]
            cells += [f"{found[m].false_claims:.1%}" for m in ("components", "seeds alone")]
            lines.append(f"| {world.name} | {patients} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    names = ("patient", "arm_patient", "seed", "seed_patient", "frame")
    lines += [
        "",
        "The components (standard deviations; of an AUC those of a frame's score, of a Jaccard in its own units):",
        "",
        "| simulated | level of the arms | patient | arm x patient | seed | seed x patient | frame | true difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for world in WORLDS:
        components = " | ".join(f"{getattr(world, name):g}" for name in names)
        lines.append(
            f"| {world.name} | {world.level[0]:g}, {world.level[1]:g} | {components} | {world.difference():.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    text = table(rounds)
    if rounds >= 2000:
        write_section("two-sources", text, STATISTICS)


if __name__ == "__main__":
    main()
