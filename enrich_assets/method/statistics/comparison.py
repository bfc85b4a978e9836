"""Is one arm better than another, and is a subset as good as everything? Answers over test patients and seeds together.

Here: the table that answers it, `compare`, one row for each arm, budget and reference. Which budget suffices follows from it
(`sufficient`), whether the experiment can tell at all stands beside it (`adequacy`). Not here: the single tests
(`significance`, over seeds alone; `two_sources`, over both).

Two questions are kept apart throughout. "Differs from" is answered by a test of no difference. "As good as" is answered
by an equivalence test with a margin stated beforehand: a large p-value of the first is *not* an answer to the second.
Trainings that differ only in their seed say nothing of other patients: where no scores by patient are given, the rows hold
the tests over seeds alone, and nothing is called equivalent or different.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from enrich_assets.method.statistics.by_patient import LeftOut
from enrich_assets.method.statistics.significance import (
    equivalence,
    holm,
    mann_whitney_exact,
    rank_biserial,
    smallest_p,
)
from enrich_assets.method.statistics.two_sources import UNKNOWN, TwoSources, variance_components

COMPARISON_COLUMNS = (
    "budget", "arm", "reference", "n", "mean", "sd", "n_reference", "mean_reference", "sd_reference",
    "difference", "ci_low", "ci_high", "se", "se_patients", "se_seeds", "df", "cases", "p_both", "p_both_holm",
    "u", "p", "p_holm", "rank_biserial", "alpha", "can_reach_alpha",
    "margin", "p_equivalence", "p_equivalence_holm", "equivalent", "p_equivalence_seeds", "note",
)  # fmt: skip

Values = NDArray[np.float64]  # of the trainings of one arm at one budget, by seed
Tested = Mapping[tuple[str, int, int], LeftOut]  # by (arm, budget, seed)


@dataclass(frozen=True)
class Trainings:
    """The trainings of one arm at one budget that have a score.

    Attributes
    ----------
    values : (n,) float64
        Scores, by seed.
    left_out : tuple of LeftOut
        The same by patient; empty unless there is one for each.
    missing : int
        Trainings without a score.
    """

    values: Values
    left_out: tuple[LeftOut, ...] = ()
    missing: int = 0

    @property
    def mean(self) -> float:
        return float(self.values.mean()) if len(self.values) else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation (n - 1); of a single run: NaN."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else math.nan


ByCell = dict[tuple[str, int], Trainings]  # by (arm, budget)


def compare(
    evaluations: pd.DataFrame,
    tested: Tested | None = None,
    *,
    alpha: float = 0.05,
    margin: float,
    reference_arm: str = "random",
    full_arm: str = "all",
) -> pd.DataFrame:
    """Each arm against `reference_arm` at the same budget, and against the full set.

    Parameters
    ----------
    evaluations : DataFrame
        Columns arm, budget, seed, value; one task, one row per training (current ones only). Trainings without a value
        are left out and counted in `note`.
    tested : mapping, optional
        (arm, budget, seed) -> its score with each test patient left out. Without it nothing can be said of patients.
    alpha : float
        Level of the tests.
    margin : float
        Of equivalence to the full set, in units of the metric.
    reference_arm, full_arm : str
        The arm to beat, and the one trained on the whole pool.

    Returns
    -------
    DataFrame
        `COMPARISON_COLUMNS`. Over patients and seeds: `ci_*` (the 95 % interval of the difference), `se` (its standard
        error, with what patients and seeds contribute), `p_both`, `p_equivalence`, `equivalent`. Over seeds alone: `u`
        to `rank_biserial` (exact), `p_equivalence_seeds`. Holm's correction runs over the budgets of one arm and one
        reference. Equivalence is tested against the full set only. `can_reach_alpha`: could the corrected exact p get
        to alpha at all, if every budget's p stood on its floor.

    Raises
    ------
    ValueError
        When a training stands twice.
    """
    cells = by_cell(evaluations, tested)
    full = full_set(cells, full_arm)
    rows: list[dict[str, object]] = []
    for arm in arms_of(cells, full_arm):
        budgets = sorted(budget for name, budget in cells if name == arm)
        references: list[tuple[str, list[Trainings]]] = []
        if arm != reference_arm and any(name == reference_arm for name, _ in cells):
            nothing = Trainings(np.empty(0))
            references.append((reference_arm, [cells.get((reference_arm, b), nothing) for b in budgets]))
        if full is not None:
            references.append((full_arm, [full] * len(budgets)))
        for reference, of_reference in references:
            family = [
                _row(arm, b, cells[arm, b], reference, r, alpha, margin if r is full else None)
                for b, r in zip(budgets, of_reference, strict=True)
            ]
            _correct(family, alpha)
            rows += family
    return table_of(rows, COMPARISON_COLUMNS, integers=("budget", "n", "n_reference"),
                    booleans=("can_reach_alpha", "equivalent"), texts=("arm", "reference", "note"))  # fmt: skip


# ------------------------------------------------------------------------------------------ values by arm and budget


def by_cell(evaluations: pd.DataFrame, tested: Tested | None = None) -> ByCell:
    """The trainings by (arm, budget), ordered by seed.

    Raises
    ------
    ValueError
        When a training stands twice.
    """
    twice = evaluations.duplicated(["arm", "budget", "seed"])
    if twice.any():
        row = evaluations[twice].iloc[0]
        raise ValueError(f"{row.arm}, budget {row.budget}, seed {row.seed} stands twice: pass current rows of one task")
    cells: ByCell = {}
    for (arm, budget), group in evaluations.sort_values("seed").groupby(["arm", "budget"], sort=True):
        values = group.value.to_numpy(dtype=float)
        finite = np.isfinite(values)
        keys = [(str(arm), int(budget), int(seed)) for seed in group.seed[finite]]
        found = [left for key in keys if (left := (tested or {}).get(key)) is not None]
        left_out = tuple(found) if len(found) == len(keys) else ()
        cells[str(arm), int(budget)] = Trainings(values[finite], left_out, int((~finite).sum()))
    return cells


def arms_of(cells: ByCell, full_arm: str) -> list[str]:
    """The arms that choose, in alphabetical order."""
    return sorted({arm for arm, _ in cells} - {full_arm})


def full_set(cells: ByCell, full_arm: str) -> Trainings | None:
    """The trainings on everything: the full arm at its greatest budget; None where it was not trained."""
    budgets = [budget for arm, budget in cells if arm == full_arm]
    return cells[full_arm, max(budgets)] if budgets else None


def judged(a: Trainings, b: Trainings) -> TwoSources:
    """mean(a) - mean(b) over patients and seeds; `UNKNOWN` where either has no scores by patient, or on other patients."""
    every = (*a.left_out, *b.left_out)
    if not a.left_out or not b.left_out or why_not_paired(a, b):
        return UNKNOWN
    cases = min(left.cases for left in every)
    outs = [np.array([left.values for left in of.left_out]) for of in (a, b)]
    return variance_components(a.values, b.values, outs[0], outs[1], cases)


def why_not_paired(a: Trainings, b: Trainings) -> str:
    """Why two arms cannot be compared patient by patient; '' where they can."""
    if not len(a.values) or not len(b.values):
        return ""
    if not a.left_out or not b.left_out:
        return "no scores by patient: judged over seeds alone, which says nothing of other patients"
    patients = a.left_out[0].patients
    if any(not np.array_equal(patients, left.patients) for left in (*a.left_out, *b.left_out)):
        return "scored on different test patients: `enrich run` brings all evaluations up to date"
    return ""


# ------------------------------------------------------------------------------------------------ rows of `compare`


def _row(
    arm: str, budget: int, a: Trainings, reference: str, b: Trainings, alpha: float, margin: float | None
) -> dict[str, object]:
    u, p = mann_whitney_exact(a.values, b.values)
    both = judged(a, b)
    low, high = both.interval()
    return {
        "budget": budget, "arm": arm, "reference": reference,
        "n": len(a.values), "mean": a.mean, "sd": a.sd,
        "n_reference": len(b.values), "mean_reference": b.mean, "sd_reference": b.sd,
        "difference": a.mean - b.mean, "ci_low": low, "ci_high": high,
        "se": both.error, "se_patients": math.sqrt(both.of_patients), "se_seeds": math.sqrt(sum(both.of_seeds)),
        "df": both.freedom, "cases": both.cases, "p_both": both.p_different(),
        "u": u, "p": p, "rank_biserial": rank_biserial(a.values, b.values), "alpha": alpha,
        "margin": math.nan if margin is None else margin,
        "p_equivalence": math.nan if margin is None else both.p_equivalent(margin),
        "p_equivalence_seeds": math.nan if margin is None else equivalence(a.values, b.values, margin),
        "why_not_paired": why_not_paired(a, b),
        "missing": a.missing,
    }  # fmt: skip


def _correct(family: list[dict[str, object]], alpha: float) -> None:
    """Add what depends on the whole family: corrected p, whether alpha is in reach, and the note."""
    sizes = [(int(str(row["n"])), int(str(row["n_reference"]))) for row in family]
    floors = holm([smallest_p(n, m) for n, m in sizes])
    corrected = {
        f"{name}_holm": holm([float(str(row[name])) for row in family]) for name in ("p", "p_both", "p_equivalence")
    }
    tests = int((~np.isnan(floors)).sum())
    for i, row in enumerate(family):
        row |= {name: p[i] for name, p in corrected.items()}
        is_tested = not math.isnan(float(str(row["margin"])))
        row["can_reach_alpha"] = bool(floors[i] <= alpha)
        row["equivalent"] = bool(corrected["p_equivalence_holm"][i] <= alpha) if is_tested else None
        row["note"] = "; ".join(_remarks(row, floors[i], alpha, tests, is_tested))


def _remarks(row: dict[str, object], floor: float, alpha: float, tests: int, is_tested: bool) -> list[str]:
    n, m, reference = int(str(row["n"])), int(str(row["n_reference"])), str(row["reference"])
    remarks = []
    if n == 0:
        remarks.append("no run of this arm has a value here")
    elif m == 0:
        remarks.append(f"{reference} has no run at this budget")
    elif floor > alpha:
        budgets = f" after correction over {tests} budgets" if tests > 1 else ""
        remarks.append(
            f"too few runs for the exact test: {n} against {m} cannot give p below {floor:.2g}{budgets}, so alpha {alpha:g} "
            f"is out of reach whatever the values; {seeds_needed(tests, alpha)} of each would do"
        )
    if is_tested and 0 < min(n, m) < 2:
        remarks.append("equivalence needs at least 2 runs on either side")
    if row["why_not_paired"]:
        remarks.append(str(row["why_not_paired"]))
    elif min(n, m) > 1 and math.isnan(float(str(row["se_patients"]))):
        remarks.append("a class has a single test patient: how much patients differ cannot be known")
    missing = int(str(row["missing"]))
    if missing:
        remarks.append(f"{missing} run{'s' if missing > 1 else ''} without a value left out")
    return remarks


def seeds_needed(tests: int, alpha: float) -> int:
    """Trainings in either arm with which the exact test can reach alpha after correction over so many tests."""
    return next(k for k in range(1, 100) if tests * smallest_p(k, k) <= alpha)


def table_of(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, integers: Sequence[str] = (),
    booleans: Sequence[str] = (), texts: Sequence[str] = (),
) -> pd.DataFrame:  # fmt: skip
    """A plain table with the same column types whether or not it has rows (missing integers stay integers)."""
    table = pd.DataFrame(list(rows), columns=list(columns))
    for column in columns:
        dtype = (
            "Int64" if column in integers
            else "boolean" if column in booleans
            else "string" if column in texts
            else "float64"
        )  # fmt: skip
        table[column] = table[column].astype(dtype)
    return table
