"""Other ways to choose, each against its definition written out slowly."""

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from enrich_assets.method.embeddings.fixed_point import to_cosine
from enrich_assets.method.ranking.greedy import rank_by_max_similarity_matrix
from enrich_assets.method.ranking.measures import MAX_SSIM_FRAMES, SSIM_UNIT, pixel_embeddings, ssim_matrix
from enrich_assets.method.ranking.order import NOT_COMPARED, Ranking, similarity_to_earlier
from enrich_assets.method.ranking.rules import (
    Candidates,
    SimilarityRule,
    random_order,
    rank_by_facility_location,
    rank_by_mean_similarity,
    rank_frames,
    rule_named,
    rule_names,
)
from enrich_assets.method.ranking.rules.base import RULES
from enrich_assets_tests.method import slow_reference as slow

few = settings(max_examples=15, derandomize=True, deadline=None)
kinds = st.sampled_from(slow.KINDS)
frames = np.random.default_rng(0).integers(0, 256, (25, 12, 14)).astype(np.uint8)


def least_mean(similarity: np.ndarray, start: list[int], budget: int) -> list[int]:
    order = list(start)
    while len(order) < budget:
        left = [i for i in range(len(similarity)) if i not in order]
        order.append(min(left, key=lambda i: (sum(int(similarity[i, c]) for c in order), i)))
    return order


def greatest_gain(similarity: np.ndarray, start: list[int], budget: int) -> list[int]:
    """Facility location over all frames: the greatest growth of sum_i max_c max(0, s(i, c)), while anything grows."""

    def value(chosen: list[int]) -> int:
        return int(np.maximum(similarity[:, chosen], 0).max(axis=1, initial=0).sum())

    order = list(start)
    while len(order) < budget:
        left = [i for i in range(len(similarity)) if i not in order]
        gains = {i: value([*order, i]) - value(order) for i in left}
        best = min(left, key=lambda i: (-gains[i], i))
        if not gains[best]:
            break
        order.append(best)
    return order


@few
@given(kinds, st.integers(0, 10**6))
def test_the_mean_rule_takes_the_least_mean_similarity(kind: str, seed: int) -> None:
    q = slow.pool(kind, 40, 8, seed)
    found = rank_by_mean_similarity(q, [5, 1], 40)
    assert found.order.tolist() == least_mean(slow.products(q), [5, 1], 40)
    s, order = slow.products(q), found.order
    assert found.similarity_to_chosen[2:].tolist() == [s[order[t], order[:t]].max() for t in range(2, 40)]


@few
@given(kinds, st.integers(0, 10**6))
def test_facility_location_takes_the_greatest_gain(kind: str, seed: int) -> None:
    q = slow.pool(kind, 30, 8, seed)
    known = greatest_gain(slow.products(q), [4], 20)
    found = rank_by_facility_location(q, [4], 20, neighbours=29)
    assert found.order[: len(known)].tolist() == known
    rest = slow.k_centre(slow.products(q), np.array(known), 20)[0]  # when nothing is gained: the max rule
    assert found.order.tolist() == rest


def test_facility_location_over_few_neighbours_serves_those_alone() -> None:
    q = slow.pool("clips", 60, 8, 0)
    s = slow.products(q)
    near = np.zeros_like(s)
    for i, neighbours in enumerate(slow.neighbours(q, 5, 0)):
        near[i, i] = s[i, i]
        for j, _ in neighbours:
            near[i, j] = near[j, i] = s[i, j]
    found = rank_by_facility_location(q, [10], 12, neighbours=5)
    assert found.order.tolist() == greatest_gain(near, [10], 12)


def test_similarity_to_earlier_frames_of_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enrich_assets.method.ranking.order._BLOCK", 7)
    q, order = slow.pool("clips", 40, 8, 0), np.random.default_rng(0).permutation(40)
    s = slow.products(q)
    known = [s[order[t], order[:t]].max() for t in range(5, 40)]
    assert similarity_to_earlier(q, order, 5).tolist() == [*[NOT_COMPARED] * 5, *known]


def test_chance_is_a_hash_of_seed_and_frame_and_growth_never_reshuffles() -> None:
    ids = [f"s{i // 9}/c{i // 3}/{i}" for i in range(60)]
    by_hash = sorted(range(60), key=lambda i: hashlib.sha256(f"7:{ids[i]}".encode()).digest())
    assert random_order(ids, 7).tolist() == by_hash
    before = [ids[i] for i in random_order(ids[:40], 7)]
    after = [ids[i] for i in random_order(ids, 7) if i < 40]
    assert before == after
    assert random_order(ids, 8).tolist() != by_hash


def test_a_random_ranking_keeps_its_start_and_needs_no_pictures() -> None:
    ids = [f"a/b/{i}" for i in range(30)]
    ranked = rank_frames("random", "cosine", Candidates(frame_ids=ids), [9, 4], 20, seed=3)
    assert ranked.order[:2].tolist() == [9, 4]
    assert ranked.order[2:].tolist() == [i for i in random_order(ids, 3) if i not in (9, 4)][:18]
    assert (ranked.similarity_to_chosen == NOT_COMPARED).all()


def test_ssim_is_scikit_images() -> None:
    drawn = np.concatenate([frames[:8], (frames[:2] // 2 + 60).astype(np.uint8), np.full((1, 12, 14), 90, np.uint8)])
    matrix = ssim_matrix(drawn)
    for i in range(len(drawn)):
        for j in range(len(drawn)):
            assert abs(matrix[i, j] / SSIM_UNIT - structural_similarity(drawn[i], drawn[j])) <= 0.5001 / SSIM_UNIT


def test_ssim_of_a_large_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 3000"):
        ssim_matrix(np.zeros((MAX_SSIM_FRAMES + 1, 8, 8), np.uint8))


def test_pixels_compare_by_correlation() -> None:
    q = pixel_embeddings(frames)
    known = np.corrcoef(frames.reshape(len(frames), -1).astype(float))
    assert np.abs(to_cosine(slow.products(q)) - known).max() < 1e-3
    with pytest.raises(ValueError, match=r"frame 1 .* one brightness"):
        pixel_embeddings(np.stack([frames[0], np.full_like(frames[0], 7)]))


@pytest.mark.parametrize("rule", ["k-center-greedy", "mean", "facility-location"])
def test_a_rule_on_a_matrix_is_its_definition(rule: str) -> None:
    matrix = ssim_matrix(frames)
    found = rank_frames(rule, "ssim", Candidates(frames=frames), [3], 25)
    known = {
        "k-center-greedy": rank_by_max_similarity_matrix(matrix, [3], 25).tolist(),
        "mean": least_mean(matrix, [3], 25),
        "facility-location": slow.k_centre(matrix, np.array(greatest_gain(matrix, [3], 25)), 25)[0],
    }[rule]
    assert found.order.tolist() == known
    assert found.cosine_to_chosen()[1] == matrix[3, found.order[1]] / SSIM_UNIT


@pytest.mark.parametrize("rule", ["max", "mean", "facility-location"])
@pytest.mark.parametrize("similarity", ["cosine", "ssim", "pixels"])
def test_one_door_to_every_rule_and_similarity(rule: str, similarity: Any) -> None:
    candidates = Candidates(embeddings=slow.pool("clips", 25, 8, 0), frames=frames)
    ranked = rank_frames(rule, similarity, candidates, [2, 7], 25)
    assert sorted(ranked.order) == list(range(25))
    assert ranked.order[:2].tolist() == [2, 7]
    assert np.isfinite(ranked.cosine_to_chosen()[2:]).all()


@pytest.mark.parametrize(
    ("rule", "similarity", "reason"),
    [
        ("max", "cosine", "needs embeddings"),
        ("max", "ssim", "needs frames"),
        ("random", "cosine", "frame_ids"),
        ("least", "cosine", "no rule 'least'"),
        ("max", "smell", "no similarity 'smell'"),
    ],
)
def test_a_missing_input_or_unknown_name_is_named(rule: str, similarity: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        rank_frames(rule, similarity, Candidates(), [], 1)


def test_max_is_another_name_of_k_center_greedy() -> None:
    assert rule_named("max").name == "k-center-greedy"
    blind = [name for name in rule_names() if not rule_named(name).sees_labels]
    named = "facility-location k-center-greedy k-medoids maxherding mean probcover random typiclust"
    assert blind == named.split()
    assert [name for name in blind if not rule_named(name).compares_frames] == ["random"]


def test_a_new_rule_is_known_from_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class with a name is all it takes; a name that is taken is refused."""
    rule_names()
    monkeypatch.setattr("enrich_assets.method.ranking.rules.base.RULES", copy := dict(RULES))
    monkeypatch.setattr("enrich_assets.method.ranking.rules.RULES", copy)

    class LastFirst(SimilarityRule):
        name = "last-first"

        def by_vectors(self, embeddings: Any, start: Any, budget: int, **_: Any) -> Ranking:
            return Ranking(np.arange(len(embeddings))[::-1][:budget], np.full(budget, NOT_COMPARED))

        def by_matrix(self, similarity: Any, start: Any, budget: int, **_: Any) -> Ranking:
            return self.by_vectors(similarity, start, budget)

    q = slow.pool("gauss", 5, 4, 0)
    assert rank_frames("last-first", "cosine", Candidates(embeddings=q), [], 3).order.tolist() == [4, 3, 2]
    assert "last-first" in rule_names()
    with pytest.raises(TypeError, match="a rule 'mean' already"):
        type("Other", (LastFirst,), {"name": "mean"})
    assert "last-first" not in RULES


def test_the_door_brings_nothing_heavier_than_numpy() -> None:
    code = (
        "import sys, enrich_assets.method.ranking as door; door.rule_names();"
        "print([m for m in ('torch', 'numba', 'scipy', 'pandas', 'dagster', 'duckdb', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
