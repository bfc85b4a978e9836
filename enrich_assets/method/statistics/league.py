"""The league: arms on several archives. Where does each stand, which archives agree, and does the default change by the rule?

Here: tables from scores by arm, budget and seed. A difference on one archive is judged over patients and seeds (`two_sources`); nothing is
pooled over archives but ranks. Not here: how archives are run, and how the tables are written down (`running/league`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from enrich_assets.method.statistics.by_patient import LeftOut
from enrich_assets.method.statistics.comparison import Tested, Trainings, by_cell, judged
from enrich_assets.method.statistics.significance import holm

STANDING_COLUMNS = (
    "archive", "task", "arm", "seeds", "mean", "rank", "difference", "ci_low", "ci_high", "p_holm",
    "to_default", "to_default_low", "to_default_high", "to_default_p_holm",
)  # fmt: skip
FEWEST_BETTER = 2  # archives on which a challenger must be better
LEVEL = 0.95
DRAWS = 20_000  # of permutations


@dataclass(frozen=True)
class Contest:
    """The scores of one task of one archive.

    Attributes
    ----------
    archive, task : str
    evaluations : DataFrame
        Columns arm, budget, seed, value; a row per training.
    tested : mapping
        (arm, budget, seed) -> its score with each test patient left out.
    """

    archive: str
    task: str
    evaluations: pd.DataFrame
    tested: Tested = field(default_factory=dict)


def over_budgets(contest: Contest, full_arm: str = "all") -> dict[str, Trainings]:
    """Arm -> its scores by seed, each the mean over the budgets; so with each patient left out.

    Seeds that lack a budget which any arm has are left out, and so are arms without a whole seed. The whole pool (`full_arm`) is
    no arm here.
    """
    chosen = contest.evaluations[contest.evaluations["arm"] != full_arm]
    chosen = chosen[np.isfinite(chosen["value"].to_numpy(dtype=float))]
    by_cell(chosen)  # raises where a training stands twice
    budgets = sorted(int(budget) for budget in chosen["budget"].unique())
    found = {}
    for arm, rows in chosen.groupby("arm"):
        table = rows.pivot(index="seed", columns="budget", values="value").reindex(columns=budgets).dropna()
        if not table.empty:
            outs = [_mean_left_out(contest.tested, str(arm), budgets, int(seed)) for seed in table.index]
            left_out = tuple(out for out in outs if out is not None)
            values = table.to_numpy(dtype=float).mean(axis=1)
            found[str(arm)] = Trainings(values, left_out if len(left_out) == len(values) else ())
    return found


def _mean_left_out(tested: Tested, arm: str, budgets: Sequence[int], seed: int) -> LeftOut | None:
    outs = [tested.get((arm, budget, seed)) for budget in budgets]
    there = [out for out in outs if out is not None]
    if len(there) < len(budgets) or any(not np.array_equal(there[0].patients, out.patients) for out in there):
        return None
    mean = np.mean([out.values for out in there], axis=0)
    return LeftOut(there[0].patients, mean, min(out.cases for out in there))


def standings(
    contest: Contest,
    *,
    default: str,
    reference: str = "random",
    challengers: Collection[str] = (),
    apart: Collection[str] = (),
) -> pd.DataFrame:
    """Where the arms stand on one task of one archive.

    Parameters
    ----------
    contest : Contest
    default, reference : str
        The arm of today's default, and the random one. Where either was not trained, nothing is said against it.
    challengers : collection of str
        Arms that are held against the default together: Holm's correction of `to_default_p_holm` runs over them.
    apart : collection of str
        Arms that are not ranked (such as see labels); their differences are shown all the same.

    Returns
    -------
    DataFrame
        `STANDING_COLUMNS`, best mean first. `rank`: 1 is best, ties share theirs. `difference` is to the reference, `to_default` to
        the default, with 95 % intervals over patients and seeds. Holm's correction of `p_holm` runs over all arms but those apart
        (which have a family of their own).
    """
    arms = over_budgets(contest)
    ranked = [arm for arm in arms if arm not in apart]
    ranks = dict(zip(ranked, stats.rankdata([-arms[arm].mean for arm in ranked]), strict=True))
    rows: list[dict[str, object]] = []
    for arm, trained in arms.items():
        row: dict[str, object] = {"archive": contest.archive, "task": contest.task, "arm": arm, "seeds": len(trained.values),
                                  "mean": trained.mean, "rank": float(ranks.get(arm, math.nan))}  # fmt: skip
        for name, other in (("difference", reference), ("to_default", default)):
            if other in arms and arm != other:
                both = judged(trained, arms[other])
                low, high = both.interval(LEVEL)
                ends = ("ci_low", "ci_high") if name == "difference" else ("to_default_low", "to_default_high")
                of_p = "p_holm" if name == "difference" else "to_default_p_holm"
                row |= {
                    name: trained.mean - arms[other].mean,
                    **dict(zip(ends, (low, high), strict=True)),
                    of_p: both.p_different(),
                }
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(STANDING_COLUMNS))
    _correct(table, "p_holm", [~table["arm"].isin(apart), table["arm"].isin(apart)])
    _correct(table, "to_default_p_holm", [table["arm"].isin(challengers)])
    return table.sort_values(["mean", "arm"], ascending=[False, True], ignore_index=True)


def _correct(table: pd.DataFrame, column: str, families: Sequence[pd.Series]) -> None:
    """Holm's correction within each family; outside all of them nothing is said."""
    raw = table[column].astype(float)
    table[column] = math.nan
    for family in families:
        table.loc[family, column] = holm(raw[family].to_numpy())


def mean_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Ranks over archives: of an archive's tasks the mean, then the mean over archives.

    Parameters
    ----------
    table : DataFrame
        `standings` of every contest, one after the other.

    Returns
    -------
    DataFrame
        Index: arms ranked on every archive, best mean first. Columns: one per archive, and `mean_rank`.
    """
    ranked = table.dropna(subset=["rank"])
    tasks = ranked.groupby("archive")["task"].nunique()
    counted = ranked.groupby(["arm", "archive"])["rank"].agg(["mean", "size"]).reset_index()
    whole = counted[counted["size"] == counted["archive"].map(tasks)]
    by_archive = whole.pivot(index="arm", columns="archive", values="mean").dropna()
    order = by_archive.mean(axis=1).rename("mean_rank")
    return by_archive.assign(mean_rank=order).sort_values(["mean_rank", "arm"], kind="stable").rename_axis(columns=None)


def friedman(ranks: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Do archives agree on the order of arms more than chance? Friedman's statistic, its p by permutation within archives.

    Parameters
    ----------
    ranks : (arms, archives) float
        As the columns of `mean_ranks`.
    draws : int
    seed : int

    Returns
    -------
    statistic, p : float
        12 n / (k (k + 1)) times the squared deviations of the mean ranks from their middle (Friedman 1937, doi
        10.1080/01621459.1937.10503522). For a handful of archives and many arms chi-square is a poor guide, so p is the share of
        permutations that reach it, the observed one counted. NaN below two archives or arms.
    """
    given = np.asarray(ranks, dtype=float).T
    n, k = given.shape  # archives, arms
    if n < 2 or k < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    observed = _friedman_statistic(given)
    drawn = [_friedman_statistic(rng.permuted(given, axis=1)) for _ in range(draws)]
    reached = int((np.array(drawn) >= observed - 1e-9).sum())
    return observed, (reached + 1) / (draws + 1)


def _friedman_statistic(ranks: NDArray[np.float64]) -> float:
    """ranks: (archives, arms)."""
    n, k = ranks.shape
    return float(12 * n / (k * (k + 1)) * ((ranks.mean(axis=0) - (k + 1) / 2) ** 2).sum())


def critical_difference(arms: int, archives: int, alpha: float = 0.05) -> float:
    """Mean ranks closer than this cannot be told apart (Nemenyi; Demsar 2006, JMLR 7:1-30): q sqrt(k (k + 1) / 6 n)."""
    q = float(stats.studentized_range.ppf(1 - alpha, arms, np.inf)) / math.sqrt(2)
    return q * math.sqrt(arms * (arms + 1) / (6 * archives))


@dataclass(frozen=True)
class Decision:
    """What the rule says of the default.

    Attributes
    ----------
    default : str
        The arm that is the default from now on.
    challengers : DataFrame
        arm, mean_rank, better, worse (numbers of archives), takes_over.
    """

    default: str
    challengers: pd.DataFrame


def decide(
    table: pd.DataFrame, ranks: pd.DataFrame, *, default: str, challengers: Collection[str], alpha: float = 0.05
) -> Decision:
    """The rule stated beforehand, applied.

    Parameters
    ----------
    table : DataFrame
        `standings` of every contest.
    ranks : DataFrame
        `mean_ranks` of it.
    default : str
    challengers : collection of str
    alpha : float
        Of the corrected p.

    Returns
    -------
    Decision
        A challenger is better on an archive if on one of its tasks its difference to the default is positive with corrected p below
        alpha, and worse if on one of its tasks the uncorrected interval lies below zero. Of those better on `FEWEST_BETTER` archives or more,
        worse on none, and of better mean rank than the default, the one of best mean rank takes over; else the default stays.
    """
    of_default = float(ranks["mean_rank"].get(default, math.nan))
    rows = []
    for arm in (arm for arm in ranks.index if arm in challengers and arm != default):
        own = table[table["arm"] == arm]
        is_better = (own["to_default"] > 0) & (own["to_default_p_holm"] < alpha)
        is_worse = own["to_default_high"] < 0
        better, worse = own.loc[is_better, "archive"].nunique(), own.loc[is_worse, "archive"].nunique()
        rank = float(ranks["mean_rank"][arm])
        fits = better >= FEWEST_BETTER and worse == 0 and rank < of_default
        rows.append({"arm": arm, "mean_rank": rank, "better": better, "worse": worse, "fits": fits})
    found = pd.DataFrame(rows, columns=["arm", "mean_rank", "better", "worse", "fits"])
    fitting = found.loc[found["fits"].astype(bool), "arm"]  # ranks are sorted: the first is the best
    chosen = str(fitting.iloc[0]) if len(fitting) else default
    found["takes_over"] = found["arm"] == chosen
    return Decision(chosen, found.drop(columns="fits"))
