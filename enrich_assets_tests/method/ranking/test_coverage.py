"""Coverage: how similar each left-out frame is to its nearest chosen one."""

import numpy as np
import pytest

from enrich_assets.method.ranking import coverage as module
from enrich_assets.method.ranking.coverage import coverage_at, coverage_of
from enrich_assets_tests.method import slow_reference as slow


@pytest.mark.parametrize("kind", slow.KINDS)
def test_each_left_out_frame_has_its_nearest_chosen_one(kind: str) -> None:
    q, chosen = slow.pool(kind, 80, 10, 0), np.array([50, 3, 17, 66])
    found = coverage_of(q, chosen)
    s = slow.products(q)[:, chosen]
    left = [i for i in range(80) if i not in chosen]
    assert found.left_out.tolist() == left
    assert found.nearest.tolist() == [int(chosen[s[i].argmax()]) for i in left]
    assert found.similarity.tolist() == [int(s[i].max()) for i in left]


@pytest.mark.parametrize("worth", [0, 10**12])
def test_nested_budgets_are_covered_as_each_by_itself(worth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTH_COMPILING", worth)
    q = slow.pool("clips", 300, 20, 1)
    order = np.random.default_rng(0).permutation(300)
    found = coverage_at(q, order, [300, 7, 120, 120])
    assert sorted(found) == [7, 120, 300]
    for budget in (7, 120):
        np.testing.assert_array_equal(found[budget], coverage_of(q, order[:budget]).cosines())
    assert not len(found[300])


def test_nothing_chosen_or_too_much_is_refused() -> None:
    q = slow.pool("gauss", 10, 4, 0)
    with pytest.raises(ValueError, match="nothing is chosen"):
        coverage_of(q, [])
    with pytest.raises(ValueError, match="budgets"):
        coverage_at(q, [1, 2, 3], [4])
