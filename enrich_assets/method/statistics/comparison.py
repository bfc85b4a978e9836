"""Is one arm better than another, and is a subset as good as everything? Answers from replicate trainings.

Here: the two tables that answer it, `compare` and `smallest_sufficient_budget`; the replicates are
trainings that differ in their seed. Not here: the single tests (`significance.py`, handed on from here),
the interval of one evaluation's own value over its test patients (`intervals.py`) and what the next labels
would add (`advice.py`).

Two questions are kept apart throughout. "Differs from" is answered by the Mann-Whitney test. "As good as"
is answered by an equivalence test with a margin stated beforehand: a large p-value of the first is *not* an
answer to the second.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from enrich_assets.method.statistics.significance import (
    bootstrap_difference,
    equivalence,
    holm,
    mann_whitney_exact,
    rank_biserial,
    smallest_p,
    two_one_sided,
    welch,
)

__all__ = [
    "COMPARISON_COLUMNS", "SUFFICIENT_COLUMNS", "bootstrap_difference", "compare", "equivalence", "holm",
    "mann_whitney_exact", "rank_biserial", "smallest_p", "smallest_sufficient_budget",
]  # fmt: skip

COMPARISON_COLUMNS = (
    "budget", "arm", "reference", "n", "mean", "sd", "n_reference", "mean_reference", "sd_reference",
    "difference", "ci_low", "ci_high", "u", "p", "p_holm", "rank_biserial", "alpha", "can_reach_alpha",
    "margin", "p_equivalence", "p_equivalence_holm", "equivalent", "note",
)  # fmt: skip
SUFFICIENT_COLUMNS = (
    "arm", "budget", "budget_low", "budget_high", "share_of_pool", "labels_saved_vs_all",
    "hours_saved_vs_all", "labels_saved_vs_random", "hours_saved_vs_random", "note",
)  # fmt: skip


def compare(
    evaluations: pd.DataFrame,
    *,
    alpha: float = 0.05,
    margin: float,
    reference_arm: str = "random",
    full_arm: str = "all",
    seed: int = 0,
) -> pd.DataFrame:
    """Each arm against `reference_arm` at the same budget, and against the full set: COMPARISON_COLUMNS.

    evaluations: columns arm, budget, seed, value; one task, one row per training (current ones only; two
    rows for one training raise ValueError). `ci_*` is the 95 % interval of the difference. Holm's
    correction runs over the budgets of one arm and one reference. Equivalence is tested against the full
    set only. `can_reach_alpha`: could the corrected p get to alpha at all, if every budget's p stood on its
    floor. Runs without a value are left out and counted in `note`.
    """
    values, missing = _runs(evaluations)
    full = _full_set(values, full_arm)
    rows: list[dict[str, object]] = []
    for arm in sorted({arm for arm, _ in values} - {full_arm}):
        budgets = sorted(budget for name, budget in values if name == arm)
        if arm != reference_arm and any(name == reference_arm for name, _ in values):
            families = [(reference_arm, [values.get((reference_arm, b), np.empty(0)) for b in budgets])]
        else:
            families = []
        if full is not None:
            families.append((full_arm, [full] * len(budgets)))
        for reference, references in families:
            family = [
                _row(arm, b, values[arm, b], reference, r, alpha, margin if r is full else None, seed)
                for b, r in zip(budgets, references, strict=True)
            ]
            _correct(family, alpha, [missing.get((arm, b), 0) for b in budgets])
            rows += family
    return _table(rows, COMPARISON_COLUMNS, integers=("budget", "n", "n_reference"),
                  booleans=("can_reach_alpha", "equivalent"), texts=("arm", "reference", "note"))  # fmt: skip


def smallest_sufficient_budget(
    evaluations: pd.DataFrame,
    *,
    alpha: float = 0.05,
    margin: float,
    seconds_per_label: float,
    reference_arm: str = "random",
    full_arm: str = "all",
    level: float = 0.95,
    n_boot: int = 2_000,
    seed: int = 0,
) -> pd.DataFrame:
    """How few labels suffice, per arm: SUFFICIENT_COLUMNS.

    A budget suffices when it **and every greater budget tested** is equivalent to the full set after Holm's
    correction. The first equivalent budget alone would reward a lucky dip into the margin. No such budget:
    `budget` is missing, never a guess. `budget_low`, `budget_high`: the same rule over `n_boot` resamples
    of the seeds (the full set's too), where only the means move and the standard errors stay as measured (a
    resample of 3 runs has too often none); a missing `budget_high` means "above the largest tested". Saved
    against `reference_arm`: its sufficient budget less this arm's, negative where the reference needs
    fewer; missing where either has none.
    """
    values, _ = _runs(evaluations)
    full = _full_set(values, full_arm)
    pool = max((budget for arm, budget in values if arm == full_arm), default=None)
    compared = compare(
        evaluations, alpha=alpha, margin=margin, reference_arm=reference_arm, full_arm=full_arm, seed=seed
    )
    against_full = compared[compared.reference == full_arm]
    found: dict[str, int | None] = {}
    rows: list[dict[str, object]] = []
    for arm in sorted({arm for arm, _ in values} - {full_arm}):
        mine = against_full[against_full.arm == arm].sort_values("budget")
        budgets = mine.budget.to_numpy(dtype=np.int64)
        equivalent = mine.equivalent.to_numpy(dtype=bool)
        start = int(_start_of_trailing_run(equivalent[None, :])[0])
        found[arm] = int(budgets[start]) if start < len(budgets) else None
        low, high = None, None
        if full is not None and len(full) > 1 and len(budgets):
            low, high = _budget_interval(evaluations, arm, budgets, full, alpha, margin, level, n_boot, seed)
        rows.append({"arm": arm, "budget": found[arm], "budget_low": low, "budget_high": high,
                     "note": _why_none(mine, equivalent, full, pool, found[arm])})  # fmt: skip
    for row in rows:
        _add_savings(row, found, str(row["arm"]), reference_arm, pool, seconds_per_label, values)
    return _table(rows, SUFFICIENT_COLUMNS,
                  integers=("budget", "budget_low", "budget_high", "labels_saved_vs_all",
                            "labels_saved_vs_random"),
                  booleans=(), texts=("arm", "note"))  # fmt: skip


Runs = dict[tuple[str, int], NDArray[np.float64]]  # values by (arm, budget)


def _runs(evaluations: pd.DataFrame) -> tuple[Runs, dict[tuple[str, int], int]]:
    """Values by (arm, budget), ordered by seed, and how many runs there had none."""
    twice = evaluations.duplicated(["arm", "budget", "seed"])
    if twice.any():
        row = evaluations[twice].iloc[0]
        raise ValueError(f"{row.arm}, budget {row.budget}, seed {row.seed} stands twice: pass current rows of one task")
    values: Runs = {}
    missing: dict[tuple[str, int], int] = {}
    for (arm, budget), group in evaluations.sort_values("seed").groupby(["arm", "budget"], sort=True):
        key = (str(arm), int(budget))
        of_group = group.value.to_numpy(dtype=float)
        finite = np.isfinite(of_group)
        missing[key] = int((~finite).sum())
        values[key] = of_group[finite]
    return values, missing


def _full_set(values: Runs, full_arm: str) -> NDArray[np.float64] | None:
    """The runs on everything: the full arm at its greatest budget; None where it was not trained."""
    budgets = [budget for arm, budget in values if arm == full_arm]
    return values[full_arm, max(budgets)] if budgets else None


def _row(
    arm: str, budget: int, mine: NDArray[np.float64], reference: str, theirs: NDArray[np.float64],
    alpha: float, margin: float | None, seed: int,
) -> dict[str, object]:  # fmt: skip
    u, p = mann_whitney_exact(mine, theirs)
    # A stream of its own for each row: another arm or budget in the table leaves these intervals as they
    # were.
    stream = [seed, zlib.crc32(f"{arm}/{reference}/{budget}".encode())]
    low, high = bootstrap_difference(mine, theirs, stream)
    return {
        "budget": budget, "arm": arm, "reference": reference,
        "n": len(mine), "mean": _mean(mine), "sd": _sd(mine),
        "n_reference": len(theirs), "mean_reference": _mean(theirs), "sd_reference": _sd(theirs),
        "difference": _mean(mine) - _mean(theirs), "ci_low": low, "ci_high": high,
        "u": u, "p": p, "rank_biserial": rank_biserial(mine, theirs), "alpha": alpha,
        "margin": math.nan if margin is None else margin,
        "p_equivalence": math.nan if margin is None else equivalence(mine, theirs, margin),
        "no_spread": min(len(mine), len(theirs)) > 1 and np.ptp(mine) == 0 and np.ptp(theirs) == 0,
    }  # fmt: skip


def _correct(family: list[dict[str, object]], alpha: float, missing: list[int]) -> None:
    """Add what depends on the whole family: corrected p, whether alpha is in reach, and the note."""
    sizes = [(int(str(row["n"])), int(str(row["n_reference"]))) for row in family]
    floors = holm([smallest_p(n, m) for n, m in sizes])
    differ = holm([float(str(row["p"])) for row in family])
    same = holm([float(str(row["p_equivalence"])) for row in family])
    tests = int((~np.isnan(floors)).sum())
    for row, size, floor, p, p_same, lost in zip(family, sizes, floors, differ, same, missing, strict=True):
        tested = not math.isnan(float(str(row["margin"])))
        row["p_holm"] = p
        row["can_reach_alpha"] = bool(floor <= alpha)
        row["p_equivalence_holm"] = p_same
        row["equivalent"] = bool(p_same <= alpha) if tested else None
        flat = bool(row.pop("no_spread"))
        row["note"] = _note(size, floor, alpha, tests, tested, flat, lost, str(row["reference"]))


def _note(
    size: tuple[int, int], floor: float, alpha: float, tests: int, tested: bool, no_spread: bool, lost: int,
    reference: str,
) -> str:  # fmt: skip
    n, m = size
    said = []
    if n == 0:
        said.append("no run of this arm has a value here")
    elif m == 0:
        said.append(f"{reference} has no run at this budget")
    elif floor > alpha:
        needed = next(k for k in range(1, 100) if tests * smallest_p(k, k) <= alpha)
        budgets = f" after correction over {tests} budgets" if tests > 1 else ""
        said.append(
            f"too few runs: {n} against {m} cannot give p below {floor:.2g}{budgets}, so alpha {alpha:g} is "
            f"out of reach whatever the values; {needed} of each would do"
        )
    if tested and 0 < min(n, m) < 2:
        said.append("equivalence needs at least 2 runs on either side")
    if no_spread:
        said.append("no spread among the runs on either side: the tests rest on few distinct values")
    if lost:
        said.append(f"{lost} run{'s' if lost > 1 else ''} without a value left out")
    return "; ".join(said)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _sd(values: NDArray[np.float64]) -> float:
    """Sample standard deviation (n - 1); of a single run: NaN."""
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _start_of_trailing_run(equivalent: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(rows, budgets) -> (rows,): first column from which all are True; the number of columns where the
    last is False.
    """
    from_here_on = np.logical_and.accumulate(equivalent[:, ::-1], axis=1)[:, ::-1]
    return equivalent.shape[1] - from_here_on.sum(axis=1)


def _budget_interval(
    evaluations: pd.DataFrame, arm: str, budgets: NDArray[np.int64], full: NDArray[np.float64],
    alpha: float, margin: float, level: float, n_boot: int, seed: int,
) -> tuple[int | None, int | None]:  # fmt: skip
    """Resample whole seeds: the subsets of one seed are nested, so its runs at several budgets move
    together.
    """
    mine = evaluations[evaluations.arm == arm].pivot(index="seed", columns="budget", values="value")
    runs = mine.reindex(columns=budgets).to_numpy(dtype=float, copy=True)
    runs[~np.isfinite(runs)] = np.nan
    counts = (~np.isnan(runs)).sum(axis=0)
    if counts.min() < 2:
        return None, None
    rng = np.random.default_rng([seed, zlib.crc32(arm.encode())])
    weights = rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=n_boot)
    present = weights @ ~np.isnan(runs)
    with np.errstate(invalid="ignore"):
        drawn = weights @ np.nan_to_num(runs) / present
    means = np.nanmean(runs, axis=0)
    # Resampled means spread by (n - 1) / n too little; stretched about the measured mean (as in
    # bootstrap_difference).
    drawn = means + (np.where(np.isnan(drawn), means, drawn) - means) * np.sqrt(counts / (counts - 1))
    of_full = full[rng.integers(len(full), size=(n_boot, len(full)))].mean(axis=1)
    of_full = full.mean() + (of_full - full.mean()) * math.sqrt(len(full) / (len(full) - 1))
    errors, freedoms = np.array([welch(r[~np.isnan(r)], full) for r in runs.T]).T
    p = two_one_sided(drawn - of_full[:, None], errors, freedoms, margin)
    equivalent = np.apply_along_axis(holm, 1, p) <= alpha
    starts = np.sort(_start_of_trailing_run(equivalent))
    low, high = (starts[int(q * (n_boot - 1))] for q in ((1 - level) / 2, (1 + level) / 2))
    return tuple(int(budgets[i]) if i < len(budgets) else None for i in (low, high))  # type: ignore[return-value]


def _why_none(
    mine: pd.DataFrame, equivalent: NDArray[np.bool_], full: NDArray[np.float64] | None, pool: int | None,
    budget: int | None,
) -> str:  # fmt: skip
    if budget is not None:
        return ""
    if full is None:
        return "the full set was not trained: nothing to be equivalent to"
    if mine.p_equivalence.isna().all():
        return "equivalence needs at least 2 runs on either side"
    most = f"no tested budget suffices; the answer lies above {int(mine.budget.max()):,} of {pool:,} labels"
    if equivalent.any():
        return f"{most} (some smaller budget was equivalent, but not every greater one)"
    return most


def _add_savings(
    row: dict[str, object], found: dict[str, int | None], arm: str, reference_arm: str, pool: int | None,
    seconds_per_label: float, values: Runs,
) -> None:  # fmt: skip
    budget, reference = found[arm], found.get(reference_arm)
    against_all = pool - budget if budget is not None and pool is not None else None
    against_random = (
        reference - budget if budget is not None and reference is not None and arm != reference_arm else None
    )
    row["share_of_pool"] = budget / pool if budget is not None and pool else None
    for name, labels in (("all", against_all), ("random", against_random)):
        row[f"labels_saved_vs_{name}"] = labels
        row[f"hours_saved_vs_{name}"] = None if labels is None else labels * seconds_per_label / 3600
    if budget is not None and reference is None and reference_arm in found and arm != reference_arm:
        largest = max(b for a, b in values if a == reference_arm)
        if largest > budget:
            row["note"] = (
                f"{reference_arm} suffices at no tested budget up to {largest:,}: "
                f"more than {largest - budget:,} labels saved against it"
            )


def _table(
    rows: list[dict[str, object]], columns: Sequence[str], *, integers: Sequence[str],
    booleans: Sequence[str], texts: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    """A plain table with the same column types whether or not it has rows (missing integers stay integers)."""
    table = pd.DataFrame(rows, columns=list(columns))
    for column in columns:
        kind = (
            "Int64" if column in integers
            else "boolean" if column in booleans
            else "string" if column in texts
            else "float64"
        )  # fmt: skip
        table[column] = table[column].astype(kind)
    return table
