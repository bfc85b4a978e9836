"""Could this experiment tell? Plain answers that come before any claim, and what would help.

Four questions of a task: can its test set tell a difference of the margin; is the model trained on everything converged; does
the curve rise at all; are the seeds enough. Where sites are known, a fifth: do class and site go together. A claim ("so few
labels suffice") is made only where every answer is yes; not known is not yes.

Here: the table of answers, and `withhold`. Not here: the judgment itself (`comparison`, `sufficient`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from enrich_assets.method.statistics.comparison import (
    ByCell,
    Tested,
    Trainings,
    arms_of,
    by_cell,
    full_set,
    judged,
    seeds_needed,
    table_of,
)
from enrich_assets.method.statistics.significance import smallest_p
from enrich_assets.method.statistics.two_sources import TwoSources

ADEQUACY_COLUMNS = ("question", "asks", "answer", "value", "limit", "passed", "reason", "remedy", "cost_seconds")
FEWEST_PATIENTS = 5  # of each class: of fewer, a kind that makes up 45 % of all is missed once in twenty times
HALF = 0.5  # of the variance: above it, seeds are what an interval too wide lacks
# Of the whole fall of the training loss, at most, in the second half, on average over the trainings; a search for the length
# goes on until then, too
CONVERGED_FALL = 0.1
STRONG = 0.5  # Cramer's V from which class and site go together
MANY_TIMES = 10.0  # as many patients and seeds, beyond which a wider margin is named beside
MOST_TIMES = 200.0  # as many patients or seeds as no advice goes beyond


@dataclass(frozen=True)
class Facts:
    """What is known of the experiment beside its scores.

    Attributes
    ----------
    test_patients : mapping of str to int
        Labelled test patients by class; of masks one entry.
    n_test_patients, n_test_frames : int
        In all.
    loss_fall_share : sequence of float or None
        Of each model trained on everything, the fall of its training loss over the last half of the steps, as a share of the
        whole fall; None: not recorded, or too short to tell.
    seconds_per_label : float
        Of an expert.
    site_association : float or None
        Cramer's V of class and site over patients, in [0, 1], 0 where chance explains it; None where no sites are named.
    """

    test_patients: Mapping[str, int] = field(default_factory=dict)
    n_test_patients: int = 0
    n_test_frames: int = 0
    loss_fall_share: Sequence[float | None] = ()
    seconds_per_label: float = 0.0
    site_association: float | None = None


def adequacy(
    evaluations: pd.DataFrame,
    tested: Tested | None,
    facts: Facts,
    *,
    alpha: float = 0.05,
    margin: float,
    full_arm: str = "all",
) -> pd.DataFrame:
    """The answers, a row each.

    Parameters
    ----------
    evaluations : DataFrame
        Columns arm, budget, seed, value; and, where known, `value_at_half` (score of the same training at half of its
        steps) and `train_seconds`.
    tested, alpha, margin, full_arm
        As of `compare`.
    facts : Facts

    Returns
    -------
    DataFrame
        `ADEQUACY_COLUMNS`. `value` is what was measured and `limit` what it was held against, in units of the metric
        (`seeds`: shares of variance; `sites`: Cramer's V). `reason` says in a few words why no claim can be made, empty
        where the answer is yes; `remedy` what would help, and `cost_seconds` what that takes, of a machine, or (more test
        patients) of an expert: estimates.
    """
    cells = by_cell(evaluations, tested)
    full = full_set(cells, full_arm)
    arms = arms_of(cells, full_arm)
    largest = [cells[arm, max(b for a, b in cells if a == arm)] for arm in arms]
    both = _typical([judged(of_arm, full) for of_arm in largest] if full is not None else [])
    smallest = [(arm, *_smallest(cells, arm)) for arm in arms]
    costs = _Costs(evaluations, facts)
    rows = [
        _test_set(both, facts, margin, costs),
        _convergence(evaluations[evaluations.arm == full_arm], facts, margin, costs),
        _rise(smallest, full),
        _seeds(cells, arms, both, alpha, margin, costs),
    ]
    if facts.site_association is not None:
        rows.append(_sites(facts.site_association))
    return table_of(rows, ADEQUACY_COLUMNS, booleans=("passed",),
                    texts=("question", "asks", "answer", "reason", "remedy"))  # fmt: skip


def reasons(answers: pd.DataFrame) -> str:
    """Why no claim can be made, in one line; '' where every answer is yes."""
    return "; ".join(str(reason) for reason in answers.reason[~answers.passed.fillna(False).astype(bool)])


def withhold(compared: pd.DataFrame, why: str) -> pd.DataFrame:
    """The comparison with nothing called equivalent, and each such row saying why; its numbers stay."""
    claims = compared.equivalent.fillna(False).astype(bool)
    if not why or not claims.any():
        return compared
    notes = compared.note.where(
        ~claims, [f"{note}; " * bool(note) + f"no claim is made: {why}" for note in compared.note]
    )
    return compared.assign(equivalent=compared.equivalent.where(~claims, False), note=notes.astype("string"))


# ------------------------------------------------------------------------------------------------- the questions


Row = dict[str, object]


def _answer(question: str, asks: str, passed: bool, answer: str, **more: object) -> Row:
    return {"question": question, "asks": asks, "passed": passed, "answer": answer, "reason": "", "remedy": "", **more}


def _test_set(both: TwoSources | None, facts: Facts, margin: float, costs: _Costs) -> Row:
    asks = "Can the test set tell a difference of the margin?"
    by_class = ", ".join(f"{n} {name}" for name, n in facts.test_patients.items())
    who = f"{_n(facts.n_test_patients, 'test patient')}" + (f" ({by_class})" if len(facts.test_patients) > 1 else "")
    fewest = min(facts.test_patients.values(), default=0)
    width = both.half_width() if both is not None else math.nan
    known = math.isfinite(width)
    is_narrow = known and width <= margin
    passed = is_narrow and fewest >= FEWEST_PATIENTS
    finding = f"a difference to everything is known to ± {width:.3g}, the margin is {margin:g}"
    if passed:
        return _answer("test_set", asks, True, f"Yes: with {who} {finding}.", value=width, limit=margin)
    if known and is_narrow:
        answer = f"No: {who}; of fewer than {FEWEST_PATIENTS} of a class no narrow interval can be trusted."
    else:
        answer = f"No: with {who} " + (f"{finding}." if known else "how much patients differ cannot be known.")
    remedy, cost = costs.to_reach(both if known else None, margin, fewest)
    return _answer("test_set", asks, False, answer, value=width, limit=margin, remedy=remedy, cost_seconds=cost,
                   reason=f"the test set ({who}) cannot tell a difference of the margin {margin:g}")  # fmt: skip


def _convergence(of_full: pd.DataFrame, facts: Facts, margin: float, costs: _Costs) -> Row:
    """By its score at half the training, within the margin, and by its training loss; each a mean over the trainings."""
    asks = "Is the model trained on everything converged?"
    gains = of_full["value"] - of_full["value_at_half"] if "value_at_half" in of_full else pd.Series(dtype=float)
    gain = float(gains.astype(float).mean()) if len(gains) else math.nan
    known = [share for share in facts.loss_fall_share if share is not None]
    share = float(np.mean(known)) if known else math.nan
    loss = f", and made {100 * share:.0f} % of the fall of its training loss" if known else ""
    finding = f"the second half of the training changed its score by {gain:+.4f}{loss}".replace("+-", "-")
    is_known = math.isfinite(gain) and bool(known) and len(known) == len(facts.loss_fall_share)
    is_falling = math.isfinite(share) and share > CONVERGED_FALL
    is_bad = (math.isfinite(gain) and gain > margin) or is_falling
    values = {"value": gain, "limit": margin}
    if is_known and not is_bad:
        return _answer("convergence", asks, True, f"Yes: {finding}.", **values)
    twice = "train about twice as long (the task's `training`: epochs or min_steps), all budgets alike"
    if is_bad:
        still = "; the loss was still falling" if is_falling else ""
        shown = finding if math.isfinite(gain) else "it still learns"
        return _answer("convergence", asks, False, f"No: {shown}{still}.", **values, remedy=twice,
                       reason="the model trained on everything is not converged", cost_seconds=costs.twice_as_long())  # fmt: skip
    missing = "how its training loss fell" if math.isfinite(gain) else "its score at half of the training"
    return _answer("convergence", asks, False, f"Not known: {missing} was not recorded.",
                   **values, reason="whether the model trained on everything is converged is not known",
                   remedy="train the whole pool once more; it is recorded then", cost_seconds=costs.full_set(of_full))  # fmt: skip


def _rise(smallest: list[tuple[str, int, Trainings]], full: Trainings | None) -> Row:
    """Is everything better than the smallest budget of the arm that is lowest there; the interval allows for the choice of it."""
    asks = "Does the curve rise at all?"
    reason = "the curve does not rise: labels make no difference that the experiment could see"
    if not smallest or full is None:
        return _answer("rise", asks, False, "Not known: a budget and the whole pool must both be trained.",
                       reason="whether the curve rises is not known", remedy="train the arm `all`")  # fmt: skip
    arm, budget, of_budget = min(smallest, key=lambda of_arm: of_arm[2].mean)
    rise = judged(full, of_budget)
    low, high = rise.interval(1 - 0.05 / len(smallest))
    name = f"{budget:,} labels ({arm})"
    if not math.isfinite(low):
        return _answer("rise", asks, False, f"Not known: everything against {name} was not judged over patients and seeds.",
                       reason="whether the curve rises is not known", remedy="more test patients, or two seeds and more")  # fmt: skip
    finding = f"everything labelled scores {rise.difference:+.4f} against {name}, interval over patients and seeds {low:+.4f} to {high:+.4f}"
    if low > 0:
        return _answer("rise", asks, True, f"Yes: {finding}.", value=low, limit=0.0)
    return _answer("rise", asks, False, f"No: {finding}.", value=low, limit=0.0, reason=reason,
                   remedy=f"smaller budgets, from about {max(1, budget // 4):,} labels; or a test set and seeds that tell more")  # fmt: skip


def _seeds(cells: ByCell, arms: list[str], both: TwoSources | None, alpha: float, margin: float, costs: _Costs) -> Row:
    asks = "Are the seeds enough?"
    fewest = min((len(trained.values) for trained in cells.values()), default=0)
    tests = max((sum(1 for a, _ in cells if a == arm) for arm in arms), default=1)
    floor = min(1.0, tests * smallest_p(fewest, fewest)) if fewest else math.nan
    share = both.share_of_seeds if both is not None else math.nan
    is_wide = both is not None and both.half_width() > margin
    reaches = bool(floor <= alpha)
    of_variance = f"; seeds make {100 * share:.0f} % of the variance of a difference" if math.isfinite(share) else ""
    finding = (
        f"{_n(fewest, 'seed')}, exact test over seeds can reach p = {floor:.2g} at {_n(tests, 'budget')}{of_variance}"
    )
    if reaches and not (is_wide and share > HALF):
        return _answer("seeds", asks, True, f"Yes: {finding}.", value=share, limit=HALF)
    wanted = seeds_needed(tests, alpha)
    if both is not None and is_wide and share > HALF:
        times = _to_reach(both, margin)[1]
        wanted = max(wanted, math.ceil(fewest * (times if times is not None and times > 1 else _times_for_half(both))))
    return _answer("seeds", asks, False, f"No: {finding}.", value=share, limit=HALF, reason=f"{_n(fewest, 'seed')} are too few"
                   if fewest != 1 else "one seed is too few", remedy=f"about {wanted:,} seeds",
                   cost_seconds=costs.seeds(wanted - fewest))  # fmt: skip


def _sites(association: float) -> Row:
    asks = "Are class and site apart?"
    finding = f"Cramér's V of class and site is {association:.2f}" if association else "no more than chance explains"
    if association < STRONG:
        return _answer("sites", asks, True, f"Yes: {finding}.", value=association, limit=STRONG)
    return _answer("sites", asks, False, f"No: {finding}: a model may tell the site and not the class.", value=association,
                   limit=STRONG, reason="class and site go together", remedy="test patients of another site, of every class")  # fmt: skip


# ----------------------------------------------------------------------------------------------------- what it rests on


def _typical(differences: list[TwoSources]) -> TwoSources | None:
    """Of the arms at their largest budget the one with the middle (upper) width; None where none could be judged."""
    known = sorted((d for d in differences if math.isfinite(d.half_width())), key=lambda d: d.half_width())
    return known[len(known) // 2] if known else None


def _smallest(cells: ByCell, arm: str) -> tuple[int, Trainings]:
    """The smallest budget of an arm."""
    budget = min(budget for name, budget in cells if name == arm)
    return budget, cells[arm, budget]


def _times(is_enough: Callable[[float], bool]) -> float | None:
    """The least factor, in steps of 5 %, that is enough; None where not even the greatest is."""
    for factor in np.geomspace(1, MOST_TIMES, 110):
        if is_enough(float(factor)):
            return float(factor)
    return None


def _to_reach(both: TwoSources, margin: float) -> tuple[float | None, float | None]:
    """So many times the patients, and the seeds, that bring the interval to the margin: one alone where that does, else both.

    Where neither does alone, each part of the variance is brought to half of what the margin allows.
    """
    patients = _times(lambda more: both.half_width(more_patients=more) <= margin)
    if patients is not None:
        return patients, 1.0
    seeds = _times(lambda more: both.half_width(more_seeds=more) <= margin)
    if seeds is not None:
        return 1.0, seeds
    allowed = (margin / 1.96) ** 2 / 2
    factors = (both.of_patients / allowed, sum(both.of_seeds) / allowed)
    return tuple(max(1.0, factor) if factor <= MOST_TIMES else None for factor in factors)  # type: ignore[return-value]


def _times_for_half(both: TwoSources) -> float:
    """So many times the seeds that they make half of the variance."""
    return sum(both.of_seeds) / both.of_patients if both.of_patients > 0 else 2.0


def _n(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class _Costs:
    """What would help, and what it takes: estimates from the variance components and from what the trainings took."""

    def __init__(self, evaluations: pd.DataFrame, facts: Facts) -> None:
        seconds = evaluations["train_seconds"] if "train_seconds" in evaluations else pd.Series(dtype=float)
        self._training = float(seconds.sum()) if len(seconds) else math.nan
        self._n_seeds = int(evaluations["seed"].nunique()) if len(evaluations) else 0
        self._facts = facts

    def seeds(self, more: int) -> float:
        """Of a machine, for more seeds at every budget."""
        return self._training / self._n_seeds * max(0, more) if self._n_seeds else math.nan

    def twice_as_long(self) -> float:
        """Of a machine, for all trainings from scratch, twice as long."""
        return 2 * self._training

    def full_set(self, of_full: pd.DataFrame) -> float:
        """Of a machine, for the trainings on everything."""
        return float(of_full["train_seconds"].sum()) if "train_seconds" in of_full else math.nan

    def to_reach(self, both: TwoSources | None, margin: float, fewest: int) -> tuple[str, float]:
        """In words, and seconds of an expert or a machine: the patients (and seeds) that bring the interval to the margin."""
        n = self._facts.n_test_patients
        of_each = math.ceil(n * FEWEST_PATIENTS / max(1, fewest)) if fewest < FEWEST_PATIENTS else n
        at_least = f", at least {FEWEST_PATIENTS} of each class" if len(self._facts.test_patients) > 1 else ""
        if both is None:
            return f"more test patients{at_least}", self._labelling(max(of_each, n + 1))
        patients, seeds = _to_reach(both, margin)
        if patients is None or seeds is None:
            return f"a wider margin: {both.half_width():.2g} is what can be seen here", math.nan
        wanted, more = max(of_each, math.ceil(n * patients)), math.ceil(max(both.seeds) * seeds) - max(both.seeds)
        cost = self._labelling(wanted) + (self.seeds(more) if more else 0.0)
        of_seeds = f"about {more + max(both.seeds):,} seeds" if more else ""
        of_patients = f"about {wanted:,} test patients{at_least}" if wanted > n else ""
        or_wider = (
            f"; or a wider margin ({both.half_width():.2g} is what can be seen now)"
            if patients * seeds > MANY_TIMES
            else ""
        )
        return " and ".join(filter(None, (of_patients, of_seeds))) + or_wider, cost

    def _labelling(self, patients: int) -> float:
        """Of an expert, for test frames of so many patients in all, as many of each as now."""
        n = self._facts.n_test_patients
        if not n:
            return math.nan
        return self._facts.n_test_frames / n * max(0, patients - n) * self._facts.seconds_per_label
