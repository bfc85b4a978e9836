"""Is one arm better than another, and is a subset as good as everything? Answers from replicate trainings.

Here: the two tables that answer it, `compare` and `smallest_sufficient_budget`; the replicates are trainings that
differ in their seed. Not here: the single tests (`significance`, handed on from here), the interval of one
evaluation's own value over its test patients (`intervals`) and what the next labels would add (`learning_curve`).

Two questions are kept apart throughout. "Differs from" is answered by the Mann-Whitney test. "As good as" is answered
by an equivalence test with a margin stated beforehand: a large p-value of the first is *not* an answer to the second.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from enrich_assets.method.statistics.resampling import Bootstrap, resampled_means
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
    "COMPARISON_COLUMNS", "SUFFICIENT_COLUMNS", "Bootstrap", "bootstrap_difference", "compare", "equivalence", "holm",
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

Values = NDArray[np.float64]  # of the trainings of one arm at one budget, by seed
ByCell = dict[tuple[str, int], Values]  # by (arm, budget)


def compare(
    evaluations: pd.DataFrame,
    *,
    alpha: float = 0.05,
    margin: float,
    reference_arm: str = "random",
    full_arm: str = "all",
    seed: int = 0,
) -> pd.DataFrame:
    """Each arm against `reference_arm` at the same budget, and against the full set.

    Parameters
    ----------
    evaluations : DataFrame
        Columns arm, budget, seed, value; one task, one row per training (current ones only). Trainings without a value
        are left out and counted in `note`.
    alpha : float
        Level of the tests.
    margin : float
        Of equivalence to the full set, in units of the metric.
    reference_arm, full_arm : str
        The arm to beat, and the one trained on the whole pool.
    seed : int
        Of the resampled intervals.

    Returns
    -------
    DataFrame
        `COMPARISON_COLUMNS`. `ci_*` is the 95 % interval of the difference. Holm's correction runs over the budgets of
        one arm and one reference. Equivalence is tested against the full set only. `can_reach_alpha`: could the
        corrected p get to alpha at all, if every budget's p stood on its floor.

    Raises
    ------
    ValueError
        When a training stands twice.
    """
    values, missing = _by_cell(evaluations)
    full = _full_set(values, full_arm)
    rows: list[dict[str, object]] = []
    for arm in _arms(values, full_arm):
        budgets = sorted(budget for name, budget in values if name == arm)
        references: list[tuple[str, list[Values]]] = []
        if arm != reference_arm and any(name == reference_arm for name, _ in values):
            references.append((reference_arm, [values.get((reference_arm, b), np.empty(0)) for b in budgets]))
        if full is not None:
            references.append((full_arm, [full] * len(budgets)))
        for reference, reference_values in references:
            family = [
                _row(arm, b, values[arm, b], reference, r, alpha, margin if r is full else None, seed)
                for b, r in zip(budgets, reference_values, strict=True)
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
    bootstrap: Bootstrap = Bootstrap(draws=2000),  # noqa: B008  (frozen)
) -> pd.DataFrame:
    """How few labels suffice, per arm.

    A budget suffices when it **and every greater budget tested** is equivalent to the full set after Holm's correction.
    The first equivalent budget alone would reward a lucky dip into the margin.

    Parameters
    ----------
    evaluations, alpha, margin, reference_arm, full_arm
        As of `compare`.
    seconds_per_label : float
        Of an expert's time.
    bootstrap : Bootstrap
        Of the interval; its seed is also that of `compare`.

    Returns
    -------
    DataFrame
        `SUFFICIENT_COLUMNS`, a row per arm. `budget` is missing where none suffices, never a guess. `budget_low`,
        `budget_high`: the same rule over resamples of the seeds (see `_budget_interval`); a missing `budget_high` means
        "above the largest tested". Saved against `reference_arm`: its sufficient budget less this arm's, negative where
        the reference needs fewer; missing where either has none.

    Raises
    ------
    ValueError
        When a training stands twice.
    """
    values, _ = _by_cell(evaluations)
    full = _full_set(values, full_arm)
    pool = max((budget for arm, budget in values if arm == full_arm), default=None)
    compared = compare(
        evaluations, alpha=alpha, margin=margin, reference_arm=reference_arm, full_arm=full_arm, seed=bootstrap.seed
    )
    against_full = compared[compared.reference == full_arm]
    sufficient: dict[str, int | None] = {}
    rows: list[dict[str, object]] = []
    for arm in _arms(values, full_arm):
        of_arm = against_full[against_full.arm == arm].sort_values("budget")
        budgets = of_arm.budget.to_numpy(dtype=np.int64)
        equivalent = of_arm.equivalent.to_numpy(dtype=bool)
        start = int(_start_of_trailing_run(equivalent[None, :])[0])
        sufficient[arm] = int(budgets[start]) if start < len(budgets) else None
        low, high = None, None
        if full is not None and len(full) > 1 and len(budgets):
            low, high = _budget_interval(evaluations, arm, budgets, full, alpha, margin, bootstrap)
        rows.append({"arm": arm, "budget": sufficient[arm], "budget_low": low, "budget_high": high,
                     "note": _why_none(of_arm, equivalent, full, pool, sufficient[arm])})  # fmt: skip
    for row in rows:
        _add_savings(row, sufficient, str(row["arm"]), reference_arm, pool, seconds_per_label, values)
    return _table(rows, SUFFICIENT_COLUMNS,
                  integers=("budget", "budget_low", "budget_high", "labels_saved_vs_all",
                            "labels_saved_vs_random"),
                  booleans=(), texts=("arm", "note"))  # fmt: skip


# ------------------------------------------------------------------------------------------ values by arm and budget


def _by_cell(evaluations: pd.DataFrame) -> tuple[ByCell, dict[tuple[str, int], int]]:
    """Values by (arm, budget), ordered by seed, and how many trainings there had none."""
    twice = evaluations.duplicated(["arm", "budget", "seed"])
    if twice.any():
        row = evaluations[twice].iloc[0]
        raise ValueError(f"{row.arm}, budget {row.budget}, seed {row.seed} stands twice: pass current rows of one task")
    values: ByCell = {}
    missing: dict[tuple[str, int], int] = {}
    for (arm, budget), group in evaluations.sort_values("seed").groupby(["arm", "budget"], sort=True):
        key = (str(arm), int(budget))
        of_group = group.value.to_numpy(dtype=float)
        finite = np.isfinite(of_group)
        missing[key] = int((~finite).sum())
        values[key] = of_group[finite]
    return values, missing


def _arms(values: ByCell, full_arm: str) -> list[str]:
    return sorted({arm for arm, _ in values} - {full_arm})


def _full_set(values: ByCell, full_arm: str) -> Values | None:
    """The trainings on everything: the full arm at its greatest budget; None where it was not trained."""
    budgets = [budget for arm, budget in values if arm == full_arm]
    return values[full_arm, max(budgets)] if budgets else None


# ------------------------------------------------------------------------------------------------ rows of `compare`


def _row(
    arm: str, budget: int, of_arm: Values, reference: str, of_reference: Values,
    alpha: float, margin: float | None, seed: int,
) -> dict[str, object]:  # fmt: skip
    u, p = mann_whitney_exact(of_arm, of_reference)
    # A stream of its own for each row: another arm or budget in the table leaves these intervals as they were.
    stream = [seed, zlib.crc32(f"{arm}/{reference}/{budget}".encode())]
    low, high = bootstrap_difference(of_arm, of_reference, stream)
    return {
        "budget": budget, "arm": arm, "reference": reference,
        "n": len(of_arm), "mean": _mean(of_arm), "sd": _sd(of_arm),
        "n_reference": len(of_reference), "mean_reference": _mean(of_reference), "sd_reference": _sd(of_reference),
        "difference": _mean(of_arm) - _mean(of_reference), "ci_low": low, "ci_high": high,
        "u": u, "p": p, "rank_biserial": rank_biserial(of_arm, of_reference), "alpha": alpha,
        "margin": math.nan if margin is None else margin,
        "p_equivalence": math.nan if margin is None else equivalence(of_arm, of_reference, margin),
        "no_spread": min(len(of_arm), len(of_reference)) > 1 and np.ptp(of_arm) == 0 and np.ptp(of_reference) == 0,
    }  # fmt: skip


def _correct(family: list[dict[str, object]], alpha: float, missing: list[int]) -> None:
    """Add what depends on the whole family: corrected p, whether alpha is in reach, and the note."""
    sizes = [(int(str(row["n"])), int(str(row["n_reference"]))) for row in family]
    floors = holm([smallest_p(n, m) for n, m in sizes])
    p_different = holm([float(str(row["p"])) for row in family])
    p_equivalent = holm([float(str(row["p_equivalence"])) for row in family])
    tests = int((~np.isnan(floors)).sum())
    for i, row in enumerate(family):
        is_tested = not math.isnan(float(str(row["margin"])))
        row["p_holm"] = p_different[i]
        row["can_reach_alpha"] = bool(floors[i] <= alpha)
        row["p_equivalence_holm"] = p_equivalent[i]
        row["equivalent"] = bool(p_equivalent[i] <= alpha) if is_tested else None
        has_no_spread = bool(row.pop("no_spread"))
        row["note"] = _note(
            sizes[i], floors[i], alpha, tests, is_tested, has_no_spread, missing[i], str(row["reference"])
        )


def _note(
    sizes: tuple[int, int], floor: float, alpha: float, tests: int, is_tested: bool, has_no_spread: bool,
    missing: int, reference: str,
) -> str:  # fmt: skip
    n, m = sizes
    remarks = []
    if n == 0:
        remarks.append("no run of this arm has a value here")
    elif m == 0:
        remarks.append(f"{reference} has no run at this budget")
    elif floor > alpha:
        needed = next(k for k in range(1, 100) if tests * smallest_p(k, k) <= alpha)
        budgets = f" after correction over {tests} budgets" if tests > 1 else ""
        remarks.append(
            f"too few runs: {n} against {m} cannot give p below {floor:.2g}{budgets}, so alpha {alpha:g} is "
            f"out of reach whatever the values; {needed} of each would do"
        )
    if is_tested and 0 < min(n, m) < 2:
        remarks.append("equivalence needs at least 2 runs on either side")
    if has_no_spread:
        remarks.append("no spread among the runs on either side: the tests rest on few distinct values")
    if missing:
        remarks.append(f"{missing} run{'s' if missing > 1 else ''} without a value left out")
    return "; ".join(remarks)


def _mean(values: Values) -> float:
    return float(values.mean()) if len(values) else math.nan


def _sd(values: Values) -> float:
    """Sample standard deviation (n - 1); of a single run: NaN."""
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


# ------------------------------------------------------------------------------ steps of `smallest_sufficient_budget`


def _start_of_trailing_run(equivalent: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(rows, budgets) -> (rows,): first column from which all are True; the number of columns where the last is False.

    [True, False, True, True] gives 2: the first True is a lucky dip, only the last two stand.
    """
    from_here_on = np.logical_and.accumulate(equivalent[:, ::-1], axis=1)[:, ::-1]
    return equivalent.shape[1] - from_here_on.sum(axis=1)


def _budget_interval(
    evaluations: pd.DataFrame, arm: str, budgets: NDArray[np.int64], full: Values,
    alpha: float, margin: float, bootstrap: Bootstrap,
) -> tuple[int | None, int | None]:  # fmt: skip
    """Interval of the sufficient budget: the rule of `smallest_sufficient_budget`, asked of each resample.

    A worked example, budgets 100, 200, 400 and a level of 95 %: of 2,000 draws 1,700 have their trailing run of
    equivalent budgets start at 200, 280 at 400 and 20 nowhere. Sorted, the starts at positions 49 and 1,949 are 200 and
    400: the interval.

    What holds:
    - Whole seeds are drawn, those of the full set apart: its trainings share nothing with the arm's.
    - Only the means move. Standard errors and degrees of freedom stay as measured: a resample of 3 runs has too often
      no spread at all.
    - The quantiles are draws, not averages of two: the bounds are budgets that were tested, or None for "above the
      largest".
    - The stream of draws hangs on the arm's name, so another arm in the table leaves the interval as it was.
    - (None, None) where a budget has fewer than 2 trainings.
    """
    of_arm = evaluations[evaluations.arm == arm].pivot(index="seed", columns="budget", values="value")
    table = of_arm.reindex(columns=budgets).to_numpy(dtype=float, copy=True)  # (seeds, budgets)
    table[~np.isfinite(table)] = np.nan
    trainings = (~np.isnan(table)).sum(axis=0)
    if trainings.min() < 2:
        return None, None

    rng = np.random.default_rng([bootstrap.seed, zlib.crc32(arm.encode())])
    arm_means = resampled_means(table, np.sqrt(trainings / (trainings - 1)), rng, bootstrap.draws)
    full_means = _resampled_mean(full, rng, bootstrap.draws)
    differences = arm_means - full_means[:, None]  # (draws, budgets)

    errors, freedoms = np.array([welch(column[~np.isnan(column)], full) for column in table.T]).T
    p = two_one_sided(differences, errors, freedoms, margin)
    is_equivalent = np.apply_along_axis(holm, 1, p) <= alpha

    starts = np.sort(_start_of_trailing_run(is_equivalent))
    tails = (1 - bootstrap.level) / 2, (1 + bootstrap.level) / 2
    low, high = (starts[int(q * (bootstrap.draws - 1))] for q in tails)
    return tuple(int(budgets[i]) if i < len(budgets) else None for i in (low, high))  # type: ignore[return-value]


def _resampled_mean(values: Values, rng: np.random.Generator, draws: int) -> Values:
    """Means of resamples of one sample, (draws,), stretched about the measured mean as in `resampled_means`."""
    n = len(values)
    drawn = values[rng.integers(n, size=(draws, n))].mean(axis=1)
    return values.mean() + (drawn - values.mean()) * math.sqrt(n / (n - 1))


def _why_none(
    of_arm: pd.DataFrame, equivalent: NDArray[np.bool_], full: Values | None, pool: int | None, budget: int | None,
) -> str:  # fmt: skip
    if budget is not None:
        return ""
    if full is None:
        return "the full set was not trained: nothing to be equivalent to"
    if of_arm.p_equivalence.isna().all():
        return "equivalence needs at least 2 runs on either side"
    largest = f"no tested budget suffices; the answer lies above {int(of_arm.budget.max()):,} of {pool:,} labels"
    if equivalent.any():
        return f"{largest} (some smaller budget was equivalent, but not every greater one)"
    return largest


def _add_savings(
    row: dict[str, object], sufficient: dict[str, int | None], arm: str, reference_arm: str, pool: int | None,
    seconds_per_label: float, values: ByCell,
) -> None:  # fmt: skip
    budget, reference = sufficient[arm], sufficient.get(reference_arm)
    against_all = pool - budget if budget is not None and pool is not None else None
    against_random = (
        reference - budget if budget is not None and reference is not None and arm != reference_arm else None
    )
    row["share_of_pool"] = budget / pool if budget is not None and pool else None
    for name, labels in (("all", against_all), ("random", against_random)):
        row[f"labels_saved_vs_{name}"] = labels
        row[f"hours_saved_vs_{name}"] = None if labels is None else labels * seconds_per_label / 3600
    if budget is not None and reference is None and reference_arm in sufficient and arm != reference_arm:
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
        dtype = (
            "Int64" if column in integers
            else "boolean" if column in booleans
            else "string" if column in texts
            else "float64"
        )  # fmt: skip
        table[column] = table[column].astype(dtype)
    return table
