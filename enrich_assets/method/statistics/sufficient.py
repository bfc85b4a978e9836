"""How few labels suffice: the smallest budget of each arm that is as good as everything, its interval, and what it saves.

It rests on `comparison.compare`, so on patients and seeds together. Where the experiment cannot tell (`adequacy`),
no budget is named.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from enrich_assets.method.statistics.comparison import ByCell, Tested, Trainings, arms_of, by_cell, full_set, table_of
from enrich_assets.method.statistics.resampling import Bootstrap, resampled_means
from enrich_assets.method.statistics.significance import holm, two_one_sided

SUFFICIENT_COLUMNS = (
    "arm", "budget", "budget_low", "budget_high", "share_of_pool", "labels_saved_vs_all",
    "hours_saved_vs_all", "labels_saved_vs_random", "hours_saved_vs_random", "note",
)  # fmt: skip


def smallest_sufficient_budget(
    evaluations: pd.DataFrame,
    compared: pd.DataFrame,
    tested: Tested | None = None,
    *,
    seconds_per_label: float,
    withheld: str = "",
    reference_arm: str = "random",
    full_arm: str = "all",
    bootstrap: Bootstrap = Bootstrap(draws=2000),  # noqa: B008  (frozen)
) -> pd.DataFrame:
    """How few labels suffice, per arm.

    A budget suffices when it **and every greater budget tested** is equivalent to the full set after Holm's correction,
    over patients and seeds. The first equivalent budget alone would reward a lucky dip into the margin.

    Parameters
    ----------
    evaluations, tested, reference_arm, full_arm
        As of `compare`.
    compared : DataFrame
        What `compare` says of them.
    seconds_per_label : float
        Of an expert's time.
    withheld : str
        Why no claim can be made, where the experiment is not adequate: then no budget suffices, and the note says this.
    bootstrap : Bootstrap
        Of the interval.

    Returns
    -------
    DataFrame
        `SUFFICIENT_COLUMNS`, a row per arm. `budget` is missing where none suffices, never a guess. `budget_low`,
        `budget_high`: the same rule over resamples (see `_budget_interval`); a missing `budget_high` means "above the
        largest tested". Saved against `reference_arm`: its sufficient budget less this arm's, negative where the
        reference needs fewer; missing where either has none.

    Raises
    ------
    ValueError
        When a training stands twice.
    """
    cells = by_cell(evaluations, tested)
    full = full_set(cells, full_arm)
    pool = max((budget for arm, budget in cells if arm == full_arm), default=None)
    against_full = compared[compared.reference == full_arm]
    sufficient: dict[str, int | None] = {}
    rows: list[dict[str, object]] = []
    for arm in arms_of(cells, full_arm):
        of_arm = against_full[against_full.arm == arm].sort_values("budget")
        budgets = of_arm.budget.to_numpy(dtype=np.int64)
        equivalent = of_arm.equivalent.fillna(False).to_numpy(dtype=bool)
        start = int(_start_of_trailing_run(equivalent[None, :])[0])
        sufficient[arm] = int(budgets[start]) if start < len(budgets) and not withheld else None
        low, high = None, None
        if full is not None and len(budgets) and not withheld:
            low, high = _budget_interval(evaluations, cells, full, of_arm, bootstrap)
        why = withheld and f"no claim is made: {withheld}"
        note = why or _why_none(of_arm, equivalent, full, pool, sufficient[arm])
        rows.append({"arm": arm, "budget": sufficient[arm], "budget_low": low, "budget_high": high, "note": note})
    for row in rows:
        _add_savings(row, sufficient, reference_arm, pool, seconds_per_label, cells)
    return table_of(rows, SUFFICIENT_COLUMNS,
                    integers=("budget", "budget_low", "budget_high", "labels_saved_vs_all", "labels_saved_vs_random"),
                    texts=("arm", "note"))  # fmt: skip


def _start_of_trailing_run(equivalent: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(rows, budgets) -> (rows,): first column from which all are True; the number of columns where the last is False.

    [True, False, True, True] gives 2: the first True is a lucky dip, only the last two stand.
    """
    from_here_on = np.logical_and.accumulate(equivalent[:, ::-1], axis=1)[:, ::-1]
    return equivalent.shape[1] - from_here_on.sum(axis=1)


def _budget_interval(
    evaluations: pd.DataFrame, cells: ByCell, full: Trainings, of_arm: pd.DataFrame, bootstrap: Bootstrap
) -> tuple[int | None, int | None]:
    """Interval of the sufficient budget: the rule of `smallest_sufficient_budget`, asked of each resample.

    A worked example, budgets 100, 200, 400 and a level of 95 %: of 2,000 draws 1,700 have their trailing run of
    equivalent budgets start at 200, 280 at 400 and 20 nowhere. Sorted, the starts at positions 49 and 1,949 are 200 and
    400: the interval.

    What holds:
    - Whole seeds are drawn, those of the full set apart: its trainings share nothing with the arm's. Whole patients are
      drawn, the same for all trainings, and move the differences as their being left out does (linear in how often
      each is drawn).
    - Only the differences move. Standard errors and degrees of freedom stay as measured: a resample of 3 runs has too
      often no spread at all.
    - The quantiles are draws, not averages of two: the bounds are budgets that were tested, or None for "above the
      largest".
    - The stream of draws hangs on the arm's name, so another arm in the table leaves the interval as it was.
    - (None, None) where some budget was not judged over patients and seeds.
    """
    if of_arm.p_equivalence.isna().any():
        return None, None
    arm, budgets = str(of_arm.arm.iloc[0]), of_arm.budget.to_numpy(dtype=np.int64)
    by_seed = evaluations[evaluations.arm == arm].pivot(index="seed", columns="budget", values="value")
    table = by_seed.reindex(columns=budgets).to_numpy(dtype=float, copy=True)  # (seeds, budgets)
    table[~np.isfinite(table)] = np.nan
    trainings = (~np.isnan(table)).sum(axis=0)

    rng = np.random.default_rng([bootstrap.seed, zlib.crc32(arm.encode())])
    arm_means = resampled_means(table, np.sqrt(trainings / (trainings - 1)), rng, bootstrap.draws)
    full_means = _resampled_mean(full.values, rng, bootstrap.draws)
    moved = _moved_by_patients([cells[arm, int(budget)] for budget in budgets], full, rng, bootstrap.draws)
    differences = arm_means - full_means[:, None] + moved  # (draws, budgets)

    errors, freedoms = of_arm.se.to_numpy(), of_arm.df.to_numpy()
    p = two_one_sided(differences, errors, freedoms, float(of_arm.margin.iloc[0]))
    is_equivalent = np.apply_along_axis(holm, 1, p) <= float(of_arm.alpha.iloc[0])

    starts = np.sort(_start_of_trailing_run(is_equivalent))
    tails = (1 - bootstrap.level) / 2, (1 + bootstrap.level) / 2
    low, high = (starts[int(q * (bootstrap.draws - 1))] for q in tails)
    return tuple(int(budgets[i]) if i < len(budgets) else None for i in (low, high))  # type: ignore[return-value]


def _resampled_mean(values: NDArray[np.float64], rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """Means of resamples of one sample, (draws,), stretched about the measured mean as in `resampled_means`."""
    n = len(values)
    drawn = values[rng.integers(n, size=(draws, n))].mean(axis=1)
    return values.mean() + (drawn - values.mean()) * math.sqrt(n / (n - 1))


def _moved_by_patients(
    of_budgets: list[Trainings], full: Trainings, rng: np.random.Generator, draws: int
) -> NDArray[np.float64]:
    """By how much draws of patients move each budget's difference to the full set, (draws, budgets)."""
    mean_out = [np.mean([left.values for left in of.left_out], axis=0) for of in (*of_budgets, full)]
    differences = np.array(mean_out[:-1]) - mean_out[-1]  # (budgets, p) with each patient left out
    p = differences.shape[1]
    influence = (p - 1) * (differences.mean(axis=1, keepdims=True) - differences)
    times = rng.multinomial(p, np.full(p, 1 / p), size=draws)
    return times @ influence.T / p * math.sqrt(p / (p - 1))


def _why_none(
    of_arm: pd.DataFrame, equivalent: NDArray[np.bool_], full: Trainings | None, pool: int | None, budget: int | None,
) -> str:  # fmt: skip
    if budget is not None:
        return ""
    if full is None:
        return "the full set was not trained: nothing to be equivalent to"
    if of_arm.p_equivalence.isna().all():
        return "equivalence needs at least 2 runs on either side, and scores by patient"
    largest = f"no tested budget suffices; the answer lies above {int(of_arm.budget.max()):,} of {pool:,} labels"
    if equivalent.any():
        return f"{largest} (some smaller budget was equivalent, but not every greater one)"
    return largest


def _add_savings(
    row: dict[str, object], sufficient: dict[str, int | None], reference_arm: str, pool: int | None,
    seconds_per_label: float, cells: ByCell,
) -> None:  # fmt: skip
    arm = str(row["arm"])
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
        largest = max(b for a, b in cells if a == reference_arm)
        if largest > budget:
            row["note"] = (
                f"{reference_arm} suffices at no tested budget up to {largest:,}: "
                f"more than {largest - budget:,} labels saved against it"
            )
