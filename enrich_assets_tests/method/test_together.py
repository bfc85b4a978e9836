"""Patients that go together: whoever is linked is of one group, whatever the order; and what links them is the picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method import together
from enrich_assets.method.together import TooManyPairs, groups_together, linked_patients, pixel_vectors

few = settings(max_examples=60, derandomize=True, deadline=None)
NAMES = "abcdefghij"
LINKS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12)


def slow_groups(links: list[tuple[str, str]]) -> dict[str, str]:
    """The name of a group spreads along links until nothing changes."""
    group = {name: name for name in NAMES}
    for _ in NAMES:
        for one, other in links:
            group[one] = group[other] = min(group[one], group[other])
    return group


@few
@given(LINKS, st.randoms(use_true_random=False))
def test_groups_are_what_links_reach_in_any_order(links: list[tuple[str, str]], shuffle: object) -> None:
    found = groups_together(list(NAMES), links)
    assert found == slow_groups(links)
    patients = list(NAMES)
    shuffle.shuffle(patients)  # type: ignore[attr-defined]
    assert groups_together(patients, [(b, a) for a, b in reversed(links)]) == found


def test_nobody_linked_is_a_group_each_and_nobody_none() -> None:
    assert groups_together(["b", "a"], []) == {"a": "a", "b": "b"}
    assert groups_together([], []) == {}
    with pytest.raises(KeyError):
        groups_together(["a"], [("a", "b")])


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 64, 64)).astype(np.uint8)


def test_the_cosine_of_pixel_vectors_is_the_correlation_of_the_blocks() -> None:
    pixels = pictures(6)
    means = pixels.reshape(6, 32, 2, 32, 2).mean(axis=(2, 4)).reshape(6, -1)
    q = pixel_vectors(pixels).astype(np.float64)
    np.testing.assert_allclose(q @ q.T / 4000**2, np.corrcoef(means), atol=5e-4)
    brighter = (pixels // 2 + 20).astype(np.uint8)
    products = (pixel_vectors(brighter) * q).sum(axis=1) / 4000**2
    assert (products > 0.999).all(), "brightness and contrast are no other picture"


def test_patients_are_linked_by_one_pair_of_pictures_and_not_by_black_frames() -> None:
    pixels = pictures(8)
    pixels[5] = pixels[1]  # of patients 2 and 0
    pixels[3] = pixels[7] = 0
    patients = np.arange(8) // 2
    assert linked_patients(pixels, patients, n_earlier=0, near_duplicate=0.98).tolist() == [[0, 2]]
    assert linked_patients(pixels, patients, n_earlier=5, near_duplicate=0.98).tolist() == [[0, 2]]
    assert linked_patients(pixels, patients, n_earlier=6, near_duplicate=0.98).tolist() == [], (
        "linked by an earlier batch"
    )
    assert linked_patients(pixels[:0], patients[:0], n_earlier=0, near_duplicate=0.98).shape == (0, 2)


@few
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_links_are_what_a_slow_look_at_each_pair_finds(seed: int, n_earlier: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = pictures(4, seed)[rng.integers(0, 4, 12)]
    noisy = np.clip(pixels + rng.integers(-60, 61, pixels.shape), 0, 255).astype(np.uint8)
    patients = rng.integers(0, 6, 12)
    q = pixel_vectors(noisy).astype(np.int64)
    slow = {
        tuple(sorted((int(patients[i]), int(patients[j]))))
        for i, j in itertools.combinations(range(12), 2)
        if j >= n_earlier and patients[i] != patients[j] and q[i] @ q[j] >= 0.9 * 4000**2
    }
    found = linked_patients(noisy, patients, n_earlier=n_earlier, near_duplicate=0.9)
    assert [tuple(link) for link in found.tolist()] == sorted(slow)


def test_where_not_all_pairs_can_be_listed_no_link_is_missed_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MOST_PAIRS", 3)
    pixels = np.repeat(pictures(1), 4, axis=0)
    with pytest.raises(TooManyPairs, match="6 pairs of frames of different patients correlate"):
        linked_patients(pixels, np.arange(4), n_earlier=0, near_duplicate=0.98)


def test_pictures_that_do_not_divide_into_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32, not 48 x 48"):
        pixel_vectors(np.zeros((1, 48, 48), np.uint8))
