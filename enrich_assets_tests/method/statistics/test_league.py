"""The league's tables from a small archive worked by hand, and the rule for the default."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from enrich_assets.method.statistics.comparison import judged
from enrich_assets.method.statistics.league import (
    Contest,
    critical_difference,
    decide,
    friedman,
    mean_ranks,
    over_budgets,
    standings,
)
from enrich_assets_tests.method.statistics.made_contest import contest


def stand(of: Contest) -> pd.DataFrame:
    return standings(of, default="default", challengers=["best"], apart=["seer"])


def test_a_score_is_the_mean_over_budgets_of_one_seed() -> None:
    arms = over_budgets(contest())
    assert sorted(arms) == ["best", "default", "random", "seer"]  # the whole pool is no arm
    assert arms["best"].values == pytest.approx([0.75, 0.77, 0.79])
    assert arms["random"].values == pytest.approx([0.55, 0.60, 0.65])


def test_a_seed_without_one_of_the_budgets_is_left_out() -> None:
    whole = contest()
    rows = whole.evaluations
    gone = (rows["arm"] == "best") & (rows["budget"] == 20) & (rows["seed"] == 1)
    arms = over_budgets(Contest("a", "view", rows[~gone], whole.tested))
    assert arms["best"].values == pytest.approx([0.75, 0.79])
    assert len(arms["best"].left_out) == 2


def test_where_the_arms_stand() -> None:
    table = stand(contest()).set_index("arm")
    assert list(table.index) == ["seer", "best", "default", "random"]
    assert table["rank"].loc[["best", "default", "random"]].tolist() == [1, 2, 3]
    assert math.isnan(table["rank"]["seer"])  # it saw labels: shown, not ranked
    assert table["mean"].to_dict() == pytest.approx({"seer": 0.9, "best": 0.77, "default": 0.66, "random": 0.6})
    assert table["difference"].drop("random").to_dict() == pytest.approx({"seer": 0.3, "best": 0.17, "default": 0.06})
    assert math.isnan(table["difference"]["random"])
    assert table["to_default"]["best"] == pytest.approx(0.11)
    arms = over_budgets(contest())
    both = judged(arms["best"], arms["random"])
    assert (table["ci_low"]["best"], table["ci_high"]["best"]) == both.interval()
    assert table["p_holm"]["best"] == pytest.approx(2 * both.p_different())  # the smaller of two: best and default
    assert table["p_holm"]["seer"] == judged(arms["seer"], arms["random"]).p_different()  # a family of its own
    assert table["to_default_p_holm"]["best"] == judged(arms["best"], arms["default"]).p_different()
    assert math.isnan(table["to_default_p_holm"]["random"])  # no challenger


def test_without_scores_by_patient_nothing_is_claimed() -> None:
    table = stand(contest(with_patients=False)).set_index("arm")
    assert table["difference"]["best"] == pytest.approx(0.17)
    assert table[["ci_low", "ci_high", "p_holm", "to_default_p_holm"]].isna().all(axis=None)


def test_ranks_are_averaged_within_an_archive_first() -> None:
    rows = [("a", "view", "x", 1), ("a", "view", "y", 2), ("a", "masks", "x", 2), ("a", "masks", "y", 1),
            ("b", "view", "x", 1), ("b", "view", "y", 2), ("b", "view", "z", 3)]  # fmt: skip
    ranks = mean_ranks(pd.DataFrame(rows, columns=["archive", "task", "arm", "rank"]))
    assert list(ranks.index) == ["x", "y"]  # z was not ranked on every archive
    assert ranks.loc["x"].to_dict() == {"a": 1.5, "b": 1.0, "mean_rank": 1.25}
    assert ranks["mean_rank"]["y"] == 1.75


def test_friedman_is_the_share_of_all_permutations() -> None:
    ranks = np.array([[1, 2, 3], [1, 2, 3], [1, 3, 2]], dtype=float)
    every = list(itertools.permutations([1, 2, 3]))

    def statistic(given: np.ndarray) -> float:
        return 12 * 3 / (3 * 4) * ((given.mean(axis=0) - 2) ** 2).sum()

    reached = [statistic(np.array(drawn)) >= statistic(ranks) - 1e-9 for drawn in itertools.product(every, repeat=3)]
    found, p = friedman(ranks.T, draws=20_000)
    assert found == pytest.approx(statistic(ranks))
    assert p == pytest.approx(np.mean(reached), abs=0.01)
    assert all(math.isnan(value) for value in friedman(ranks[:1].T))


def test_the_critical_difference_is_that_of_the_literature() -> None:
    """Demsar 2006, section 3.2.2: 4 classifiers on 14 data sets, q 2.569, CD 1.25."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def decided(*contests: Contest) -> str:
    table = pd.concat([stand(of) for of in contests], ignore_index=True)
    return decide(table, mean_ranks(table), default="default", challengers=["best"]).default


def test_the_default_changes_only_where_two_archives_say_so_and_none_against() -> None:
    assert decided(contest("a"), contest("b")) == "best"
    assert decided(contest("a")) == "default"  # one archive is not two
    assert decided(contest("a"), contest("b"), contest("c", shift=-0.11)) == "best"  # alike on the third
    assert decided(contest("a"), contest("b"), contest("c", shift=-0.3)) == "default"  # worse on the third
    table = pd.concat([stand(contest("a")), stand(contest("b"))], ignore_index=True)
    assert decide(table, mean_ranks(table), default="default", challengers=[]).default == "default"


def test_a_training_that_stands_twice_is_refused() -> None:
    twice = pd.concat([contest().evaluations] * 2)
    with pytest.raises(ValueError, match="stands twice"):
        over_budgets(Contest("a", "view", twice))
