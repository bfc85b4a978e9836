"""The statistics of replicate trainings: worked by hand, against slow references, and by simulation."""

from itertools import combinations
from math import comb, isnan, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from enrich_assets.method.statistics.comparison import COMPARISON_COLUMNS, compare
from enrich_assets.method.statistics.resampling import Bootstrap
from enrich_assets.method.statistics.significance import (
    equivalence,
    holm,
    mann_whitney_exact,
    rank_biserial,
    smallest_p,
)
from enrich_assets.method.statistics.sufficient import SUFFICIENT_COLUMNS, smallest_sufficient_budget
from enrich_assets_tests.method.statistics.by_patients import by_patients


def curve(arm, budgets, seeds, mean, sd, rng):
    """Runs of one arm whose mean is a function of the budget."""
    return [(arm, b, s, mean(b) + rng.normal(0, sd)) for b in budgets for s in range(seeds)]


def evaluations(rows):
    return pd.DataFrame(rows, columns=["arm", "budget", "seed", "value"])


def compared(data, margin=0.01, **patients):
    """The comparison with scores by patient that spread little."""
    return compare(data, by_patients(data, **patients), margin=margin)


def sufficient(data, margin=0.01, seconds_per_label=1, draws=2000, **patients):
    """The smallest sufficient budgets, with scores by patient that spread little."""
    tested = by_patients(data, **patients)
    table = compare(data, tested, margin=margin)
    return smallest_sufficient_budget(
        data, table, tested, seconds_per_label=seconds_per_label, bootstrap=Bootstrap(draws)
    )


def permutation_p(a, b):
    """Every way to deal the pooled values into two hands, U counted pair by pair."""
    pooled = list(a) + list(b)

    def u_of(chosen):
        hand = [pooled[i] for i in chosen]
        rest = [pooled[i] for i in range(len(pooled)) if i not in chosen]
        return sum((x > y) + 0.5 * (x == y) for x in hand for y in rest)

    observed = u_of(range(len(a)))
    every = [u_of(c) for c in combinations(range(len(pooled)), len(a))]
    lower = sum(u <= observed for u in every) / len(every)
    upper = sum(u >= observed for u in every) / len(every)
    return observed, min(1.0, 2 * min(lower, upper))


def test_three_against_three_wholly_apart_give_one_tenth():
    assert mann_whitney_exact([7, 8, 9], [1, 2, 3]) == (9, pytest.approx(0.1))


def test_the_exact_floor_for_ten_against_ten_is_one_in_ninety_two_thousand():
    assert smallest_p(10, 10) == pytest.approx(2 / comb(20, 10)) == pytest.approx(1.0825e-5, rel=1e-4)
    assert smallest_p(3, 3) == pytest.approx(0.1)
    assert smallest_p(1, 1) == 1
    assert mann_whitney_exact(range(10, 20), range(10))[1] == pytest.approx(smallest_p(10, 10))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(*[st.lists(st.integers(0, 4), min_size=1, max_size=5)] * 2)
def test_with_ties_the_p_value_counts_every_permutation(a, b):
    u, p = mann_whitney_exact(a, b)
    slow_u, slow_p = permutation_p(a, b)
    assert u == slow_u
    assert p == pytest.approx(slow_p, abs=1e-12)


def test_without_ties_the_p_value_is_scipys():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.5, 1, 8), rng.normal(0, 1, 10)
    assert mann_whitney_exact(a, b)[1] == stats.mannwhitneyu(a, b, method="exact").pvalue


def test_identical_runs_do_not_differ():
    assert mann_whitney_exact([1.0] * 10, [1.0] * 10) == (50, 1.0)


def test_a_run_without_a_value_is_refused_not_ranked():
    with pytest.raises(ValueError, match="finite"):
        mann_whitney_exact([0.9, nan], [0.8, 0.7])


def test_holm_by_hand():
    # .01 * 3 = .03; .02 * 2 = .04; .03 * 1 = .03, raised to .04 because corrected p never falls
    np.testing.assert_allclose(holm([0.02, 0.01, 0.03]), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    np.testing.assert_allclose(holm([0.02, nan, 0.03]), [0.04, nan, 0.04])
    assert holm([]).shape == (0,)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(p):
    corrected = holm(p)
    assert (corrected >= np.array(p)).all()
    assert (corrected <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def test_rank_biserial_is_the_share_of_pairs_won_less_the_share_lost():
    assert rank_biserial([3, 4], [1, 2]) == 1
    assert rank_biserial([1, 4], [2, 3]) == 0
    assert rank_biserial([2], [2, 1]) == 0.5  # one pair won, one tied
    u, _ = mann_whitney_exact([2, 2, 5], [1, 2, 3, 9])
    assert rank_biserial([2, 2, 5], [1, 2, 3, 9]) == pytest.approx(2 * u / 12 - 1)


def test_equivalence_by_hand():
    # means .5 and .4, variance 1, n = 2 each: error 1, Welch df 2; the nearer edge of 3 is 2.9 errors away
    a, b = 0.5 + np.array([-1, 1]) / np.sqrt(2), 0.4 + np.array([-1, 1]) / np.sqrt(2)
    assert equivalence(a, b, 3) == pytest.approx(stats.t.sf(2.9, 2))


def test_equivalence_is_the_greater_of_two_one_sided_welch_tests():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 7), rng.normal(0.3, 2, 9)
    above = stats.ttest_ind(a + 1.5, b, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(a - 1.5, b, equal_var=False, alternative="less").pvalue
    assert equivalence(a, b, 1.5) == pytest.approx(max(above, below))


def test_equivalence_is_defined_where_there_is_no_spread_and_silent_where_there_is_one_run():
    assert equivalence([0.95] * 3, [0.955] * 3, 0.01) == 0
    assert equivalence([0.95] * 3, [0.97] * 3, 0.01) == 1
    assert isnan(equivalence([0.95], [0.95, 0.95], 0.01))
    with pytest.raises(ValueError, match="margin"):
        equivalence([1, 2], [1, 2], 0)


def simulated(difference, runs=10, rounds=150):
    """Share of experiments in which one budget is called different from, and equivalent to, the full set."""
    rng = np.random.default_rng(4)
    different = equal = 0
    for _ in range(rounds):
        a, b = rng.normal(0.95 - difference, 0.005, runs), rng.normal(0.95, 0.005, runs)
        different += mann_whitney_exact(a, b)[1] <= 0.05
        equal += equivalence(a, b, 0.01) <= 0.05
    return different / rounds, equal / rounds


def test_planted_equality_is_found_equivalent_and_rarely_called_different():
    different, equal = simulated(0.0)
    assert different <= 0.09  # nominal 0.05, exact test below it
    assert equal >= 0.95


def test_a_planted_difference_is_found_and_not_called_equivalent():
    different, equal = simulated(0.015)
    assert different >= 0.99
    assert equal == 0


def test_at_the_margin_itself_equivalence_is_claimed_no_oftener_than_alpha():
    _, equal = simulated(0.01)
    assert equal <= 0.09


def two_arms(seeds=10, seed=5):
    rng = np.random.default_rng(seed)
    budgets = (100, 200, 400, 800)
    rows = curve("enrich", budgets, seeds, lambda b: 0.97 - 4 / b**1.1, 0.002, rng)
    rows += curve("random", budgets, seeds, lambda b: 0.97 - 10 / b, 0.002, rng)
    rows += curve("all", [2000], seeds, lambda b: 0.97, 0.002, rng)
    return evaluations(rows)


def test_the_table_holds_each_arm_against_random_and_against_everything():
    table = compared(two_arms(), margin=0.01)
    assert tuple(table.columns) == COMPARISON_COLUMNS
    assert sorted(set(zip(table.arm, table.reference, strict=True))) == [
        ("enrich", "all"), ("enrich", "random"), ("random", "all")]  # fmt: skip
    assert len(table) == 12
    against_random = table[(table.reference == "random") & (table.budget == 100)].iloc[0]
    of_enrich, of_random = (
        two_arms().query(f"arm == '{arm}' and budget == 100").value.to_numpy() for arm in ("enrich", "random")
    )
    assert against_random["mean"] == of_enrich.mean()
    assert against_random["sd"] == of_enrich.std(ddof=1)
    assert against_random.difference == of_enrich.mean() - of_random.mean()
    assert against_random.ci_low < against_random.difference < against_random.ci_high
    assert isnan(against_random.p_equivalence)
    assert against_random.can_reach_alpha
    assert against_random.note == ""


def test_holm_runs_over_the_budgets_of_one_arm_and_one_reference():
    table = compared(two_arms(), margin=0.01)
    for _, family in table.groupby(["arm", "reference"]):
        np.testing.assert_allclose(family.p_holm, holm(family.p))
        np.testing.assert_allclose(family.p_equivalence_holm, holm(family.p_equivalence))
    full = table[table.reference == "all"]
    assert (full.equivalent == (full.p_equivalence_holm <= 0.05)).all()


def test_three_runs_say_that_alpha_is_out_of_reach_and_how_many_would_do():
    table = compared(two_arms(seeds=3), margin=0.01)
    assert not table.can_reach_alpha.any()
    # floor .1 times 4 budgets; 5 against 5 reach 4 * 2 / 252 = .032
    assert "3 against 3 cannot give p below 0.4 after correction over 4 budgets" in table.note[0]
    assert "5 of each would do" in table.note[0]


def test_one_run_each_gives_a_table_without_claims():
    table = compared(two_arms(seeds=1), margin=0.01)
    assert not table.equivalent.any()
    assert table.sd.isna().all()
    assert table[table.reference == "all"].note.str.contains("equivalence needs at least 2 runs").all()
    assert sufficient(two_arms(seeds=1), 0.01, 1).budget.isna().all()


def test_a_row_does_not_change_when_another_arm_joins():
    alone = two_arms()
    rng = np.random.default_rng(6)
    joined = pd.concat([alone, evaluations(curve("mean", (100, 200), 10, lambda b: 0.9, 0.002, rng))])
    before = compared(alone, margin=0.01)
    after = compared(joined.sample(frac=1, random_state=0), margin=0.01)
    pd.testing.assert_frame_equal(before, after[after.arm != "mean"].reset_index(drop=True))


def test_runs_without_a_value_are_left_out_and_counted():
    data = two_arms()
    data.loc[(data.arm == "enrich") & (data.budget == 100) & (data.seed < 2), "value"] = nan
    table = compared(data, margin=0.01)
    row = table[(table.arm == "enrich") & (table.budget == 100) & (table.reference == "all")].iloc[0]
    assert row.n == 8
    assert row.note == "2 runs without a value left out"


def test_the_same_training_twice_is_refused():
    data = two_arms()
    with pytest.raises(ValueError, match="stands twice"):
        compared(pd.concat([data, data.iloc[:1]]))


def test_no_evaluations_give_empty_tables_of_the_same_types():
    some = compared(two_arms(), margin=0.01)
    none = compared(two_arms().iloc[:0], margin=0.01)
    assert (some.dtypes == none.dtypes).all()
    nothing = sufficient(two_arms().iloc[:0])
    assert tuple(nothing.columns) == SUFFICIENT_COLUMNS
    assert len(nothing) == 0


def test_the_smallest_sufficient_budget_and_what_it_saves():
    table = sufficient(two_arms(), 0.02, 300).set_index("arm")
    enrich, random = table.loc["enrich"], table.loc["random"]
    # true shortfalls: enrich .025 .012 .005 .003, random .10 .05 .025 .0125 (margin .02)
    assert enrich.budget == 200
    assert random.budget == 800
    assert enrich.budget_low <= 200 <= enrich.budget_high
    assert enrich.share_of_pool == 0.1
    assert enrich.labels_saved_vs_all == 1800
    assert enrich.hours_saved_vs_all == 150
    assert enrich.labels_saved_vs_random == 600
    assert enrich.hours_saved_vs_random == 50
    assert pd.isna(random.labels_saved_vs_random)


def test_a_lucky_dip_into_the_margin_does_not_suffice():
    rng = np.random.default_rng(7)
    level = {100: 0.97, 200: 0.90, 400: 0.97, 800: 0.97}
    rows = curve("enrich", level, 10, level.get, 0.002, rng)
    rows += curve("all", [2000], 10, lambda b: 0.97, 0.002, rng)
    assert sufficient(evaluations(rows), 0.01, 1).budget[0] == 400


def test_no_budget_is_named_where_none_suffices():
    rng = np.random.default_rng(8)
    rows = curve("enrich", (100, 200), 5, lambda b: 0.8, 0.002, rng)
    rows += curve("all", [2000], 5, lambda b: 0.97, 0.002, rng)
    row = sufficient(evaluations(rows), 0.01, 1).iloc[0]
    assert pd.isna(row.budget)
    assert pd.isna(row.budget_high)
    assert pd.isna(row.labels_saved_vs_all)
    assert row.note == "no tested budget suffices; the answer lies above 200 of 2,000 labels"


def test_where_random_never_suffices_the_saving_is_a_bound_in_words_not_a_number():
    rng = np.random.default_rng(9)
    rows = curve("enrich", (100, 200), 8, lambda b: 0.97, 0.002, rng)
    rows += curve("random", (100, 200), 8, lambda b: 0.9, 0.002, rng)
    rows += curve("all", [2000], 8, lambda b: 0.97, 0.002, rng)
    row = sufficient(evaluations(rows), 0.01, 1).iloc[0]
    assert row.budget == 100
    assert pd.isna(row.labels_saved_vs_random)
    assert "more than 100 labels saved" in row.note


def test_without_the_full_set_nothing_can_suffice():
    rng = np.random.default_rng(10)
    data = evaluations(curve("enrich", (100, 200), 5, lambda b: 0.9, 0.01, rng))
    assert len(compared(data, margin=0.01)) == 0
    row = sufficient(data, 0.01, 1).iloc[0]
    assert "full set was not trained" in row.note


def test_the_interval_of_the_sufficient_budget_holds_the_truth_in_most_experiments():
    held = found = 0
    for experiment in range(20):
        rng = np.random.default_rng(experiment)
        level = {100: 0.93, 200: 0.955, 400: 0.97, 800: 0.97}  # full set .97, margin .01: truth is 400
        rows = curve("enrich", level, 6, level.get, 0.004, rng)
        rows += curve("all", [2000], 6, lambda b: 0.97, 0.004, rng)
        data = evaluations(rows)
        row = sufficient(data, 0.01, 1, draws=300).iloc[0]
        found += not pd.isna(row.budget) and row.budget == 400
        held += row.budget_low <= 400 <= (np.inf if pd.isna(row.budget_high) else row.budget_high)
    assert held >= 18
    assert found >= 14
