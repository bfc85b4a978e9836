"""The rules as scikit-learn estimators: scikit-learn's own checks, and the same order as `ea.rank`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import enrich_assets as ea

SELECTORS = [ea.KCenterSelector(), ea.MeanSelector(), ea.FacilityLocationSelector(), ea.RandomSelector()]


def refused(estimator: BaseEstimator) -> dict[str, str]:
    return {"check_estimators_dtypes": "its integers hold a row of zeros, which has no direction"}


@parametrize_with_checks(SELECTORS, expected_failed_checks=refused)
def test_scikit_learn_accepts_it(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(
    ("selector", "rule"),
    [
        (ea.KCenterSelector(12, start=[5]), "k-center-greedy"),
        (ea.MeanSelector(12, start=[5]), "mean"),
        (ea.FacilityLocationSelector(12, start=[5]), "facility-location"),
        (ea.RandomSelector(12, start=[5]), "random"),
    ],
)
def test_it_is_the_rule_of_its_name(selector: Any, rule: str) -> None:
    x = np.random.default_rng(0).standard_normal((40, 6))
    chosen = clone(selector).fit(x)
    assert chosen.ranking_.tolist() == ea.rank(x, 12, start=[5], rule=rule).tolist()
    assert np.isnan(chosen.similarity_[0])
    assert np.array_equal(selector.fit_select(x), x[chosen.ranking_])


def test_more_rows_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="n must lie between"):
        ea.KCenterSelector(5).fit(np.eye(3))
