"""Class and site: Cramer's V against scipy's and by hand, and what chance alone gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats.contingency import association as scipy_association

from enrich_assets.method.statistics.association import _cramers_v, class_by_site


def test_a_class_that_follows_from_the_site_has_v_of_1() -> None:
    found = class_by_site(["A"] * 8 + ["B"] * 8, ["healthy"] * 8 + ["ill"] * 8)
    assert found.cramers_v == pytest.approx(1)
    assert found.counts.tolist() == [[8, 0], [0, 8]]
    assert (found.sites, found.classes) == (("A", "B"), ("healthy", "ill"))
    assert found.is_confounded()


def test_independent_ones_have_v_of_0() -> None:
    found = class_by_site(["A", "A", "B", "B"] * 5, ["healthy", "ill"] * 10)
    assert found.cramers_v == pytest.approx(0)
    assert found.p == 1
    assert not found.is_confounded()


def test_many_sites_of_few_patients_look_associated_by_chance_and_are_not_called_so() -> None:
    """Twenty sites of two patients: V is high whatever the truth, so it is held against what chance gives."""
    rng = np.random.default_rng(3)
    sites = [f"S{i // 2}" for i in range(40)]
    found = class_by_site(sites, list(rng.permutation(["a", "b"] * 20)))
    assert found.cramers_v > 0.4
    assert abs(found.cramers_v - found.by_chance) < 0.2
    assert not found.is_confounded()


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=2, max_size=5).filter(
        lambda rows: all(map(sum, rows)) and all(map(sum, zip(*rows, strict=True)))
    )
)
def test_it_is_scipys_and_as_computed_for_the_deals(rows: list[list[int]]) -> None:
    pairs = [(f"S{i}", f"C{j}") for i, row in enumerate(rows) for j, n in enumerate(row) for _ in range(n)]
    found = class_by_site(*zip(*pairs, strict=True), permutations=5)
    assert found.counts.tolist() == rows
    assert found.cramers_v == pytest.approx(scipy_association(np.array(rows), method="cramer"), abs=1e-12)
    assert _cramers_v(np.array(rows)) == pytest.approx(found.cramers_v, abs=1e-12)


def test_p_is_uniform_where_nothing_goes_together() -> None:
    rng = np.random.default_rng(0)
    ps = [
        class_by_site(list(rng.choice(["A", "B", "C"], 30)), list(rng.choice(["a", "b"], 30)), permutations=99).p
        for _ in range(300)
    ]
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_one_site_or_one_class_says_nothing() -> None:
    for sites, classes in ((["A", "A"], ["a", "b"]), (["A", "B"], ["a", "a"]), ([], [])):
        found = class_by_site(sites, classes)
        assert np.isnan(found.cramers_v)
        assert not found.is_confounded()


def test_one_of_each_for_each_patient() -> None:
    with pytest.raises(ValueError, match="2 sites and 1 classes"):
        class_by_site(["A", "B"], ["a"])
