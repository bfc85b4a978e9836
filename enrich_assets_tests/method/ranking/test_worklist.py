"""The worklist against its slow definition: exact products, ties, quotas, classes, and nothing labelled twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.embeddings.fixed_point import SCALE, to_fixed_point
from enrich_assets.method.ranking import worklist
from enrich_assets.method.ranking.worklist import greatest_similarity, rank_with_quotas


def vectors(n: int, seed: int, *, coarse: bool = False) -> np.ndarray:
    """Unit vectors in fixed point; coarse ones hold many equal frames, hence ties."""
    rng = np.random.default_rng(seed)
    raw = rng.choice([-1.0, 1.0], (n, 3)) if coarse else rng.standard_normal((n, 8))
    return to_fixed_point(raw)


def slowly(
    embeddings: np.ndarray,
    labelled: list[int],
    n: int,
    patients: np.ndarray,
    clips: np.ndarray,
    per_patient: int | None,
    per_clip: int | None,
) -> list[int]:
    """The definition, one product at a time."""
    products = embeddings.astype(np.int64) @ embeddings.astype(np.int64).T
    chosen, order = list(labelled), []
    centre = np.round(embeddings.mean(axis=0)).astype(np.int64)
    for _ in range(n):
        best: tuple[int, int] | None = None
        for i in range(len(embeddings)):
            if i in chosen:
                continue
            if per_patient is not None and sum(patients[k] == patients[i] for k in order) >= per_patient:
                continue
            if per_clip is not None and sum(clips[k] == clips[i] for k in order) >= per_clip:
                continue
            value = max(int(products[i, k]) for k in chosen) if chosen else int(embeddings[i].astype(np.int64) @ centre)
            if best is None or value < best[0]:
                best = (value, i)
        if best is None:
            break
        order.append(best[1])
        chosen.append(best[1])
    return order


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 18),
    share=st.floats(0, 0.6),
    seed=st.integers(0, 10_000),
    coarse=st.booleans(),
    per_patient=st.none() | st.integers(1, 3),
    per_clip=st.none() | st.integers(1, 2),
)
def test_each_pick_is_the_least_alike_that_the_quotas_admit(
    n: int, share: float, seed: int, coarse: bool, per_patient: int | None, per_clip: int | None
) -> None:
    embeddings = vectors(n, seed, coarse=coarse)
    rng = np.random.default_rng(seed)
    labelled = np.flatnonzero(rng.random(n) < share)
    clips = rng.integers(0, 5, n)
    patients = clips // 2
    found = rank_with_quotas(
        embeddings,
        labelled=labelled,
        n=10,
        quotas=[(patients, per_patient), (clips, per_clip)],
    )
    assert list(found) == slowly(embeddings, list(labelled), 10, patients, clips, per_patient, per_clip)


@pytest.mark.parametrize("n_labelled", [0, 40])
def test_a_quota_that_never_binds_changes_nothing_in_a_large_pool(n_labelled: int) -> None:
    """Without a quota the lazy ranking is at work, with one a plain product for each pick."""
    embeddings = vectors(2500, 3)
    labelled, everybody = np.arange(n_labelled), np.zeros(2500, np.int64)
    lazily = rank_with_quotas(embeddings, labelled=labelled, n=300)
    plainly = rank_with_quotas(embeddings, labelled=labelled, n=300, quotas=[(everybody, 2500)])
    assert list(lazily) == list(plainly)


def test_the_nearest_of_equals_is_the_first_and_the_product_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = vectors(30, 1, coarse=True)
    products = embeddings.astype(np.int64) @ embeddings[:12].astype(np.int64).T
    monkeypatch.setattr(worklist, "BLOCK", 5)  # so that blocks meet
    nearest, greatest = greatest_similarity(embeddings, embeddings[:12])
    assert list(nearest) == list(products.argmax(axis=1))
    assert list(greatest) == list(products.max(axis=1))
    assert greatest[0] / SCALE**2 == pytest.approx(1, abs=1e-3)


def test_with_nothing_chosen_nothing_is_near() -> None:
    nearest, greatest = greatest_similarity(vectors(3, 0), np.empty((0, 8), np.int16))
    assert list(nearest) == [-1, -1, -1]
    assert (greatest == np.iinfo(np.int64).min).all()


def test_an_empty_archive_has_an_empty_worklist() -> None:
    nothing = np.empty(0, np.int64)
    found = rank_with_quotas(np.empty((0, 8), np.int16), labelled=nothing, n=5)
    assert list(found) == []


def test_class_aware_picks_serve_the_class_with_the_fewest_labels() -> None:
    """Two clusters; of the second only one frame is labelled, so the next picks come from there until they are even."""
    rng = np.random.default_rng(0)
    centres = np.zeros((2, 8))
    centres[0, 0] = centres[1, 1] = 10
    side = np.repeat([0, 1], 10)
    embeddings = to_fixed_point(centres[side] + rng.standard_normal((20, 8)))
    classes = np.full(20, None, object)
    classes[[0, 1, 2, 3]], classes[10] = "A", "B"
    labelled = np.array([0, 1, 2, 3, 10])
    found = rank_with_quotas(embeddings, labelled=labelled, n=6, classes=classes)
    assert list(side[found[:3]]) == [1, 1, 1]
    assert sorted(side[found]) == [0, 1, 1, 1, 1, 1] or sorted(side[found]) == [0, 0, 1, 1, 1, 1]
    assert not set(found) & set(labelled)


def test_a_class_that_has_no_frames_left_does_not_end_the_list() -> None:
    embeddings = vectors(6, 2)
    classes = np.array(["A", "B", None, None, None, None], object)
    found = rank_with_quotas(embeddings, labelled=np.array([0, 1]), n=10, classes=classes)
    assert sorted(found) == [2, 3, 4, 5]
