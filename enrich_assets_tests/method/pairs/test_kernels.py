"""The heap of near-duplicates keeps the nearest, whatever the order in which pairs come."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.pairs.kernels import take_near_duplicate

few = settings(max_examples=50, derandomize=True, deadline=None)
pairs = st.tuples(st.integers(0, 9), st.integers(10, 19), st.integers(60, 64))


def test_the_worked_example() -> None:
    heap, state = np.zeros((2, 3), np.int32), np.array([0, 50], np.int64)
    asked_for = []
    for pair in [(0, 1, 90), (0, 2, 70), (1, 2, 80), (3, 4, 70)]:
        take_near_duplicate(heap, state, *map(np.int32, pair))
        asked_for.append(int(state[1]))
    assert asked_for == [50, 70, 80, 80]
    assert heap.tolist() == [[1, 2, 80], [0, 1, 90]]


@few
@given(st.lists(pairs, unique_by=lambda pair: pair[:2], max_size=60), st.integers(0, 20))
def test_the_heap_holds_the_nearest_and_its_top_is_the_furthest(offered: list[tuple[int, int, int]], most: int) -> None:
    heap, state = np.zeros((most, 3), np.int32), np.array([0, 0], np.int64)
    for pair in offered:
        take_near_duplicate(heap, state, *map(np.int32, pair))
    nearest = sorted(offered, key=lambda pair: (-pair[2], pair[0], pair[1]))[:most]
    held = [tuple(map(int, row)) for row in heap[: state[0]]]
    assert sorted(held) == sorted(nearest)
    if held:
        assert held[0] == nearest[-1]
        assert state[1] == (nearest[-1][2] if len(held) == most else 0)
