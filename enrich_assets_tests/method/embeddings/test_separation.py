"""Whether vectors tell frames apart: the rates of plain loops, what shows a collapse, and what only warns."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.embeddings.separation import (
    CLIP,
    LABEL_OUTSIDE,
    MAX_FRAMES,
    PATIENT,
    PATIENT_OUTSIDE,
    judge_separation,
    measure_separation,
)
from enrich_assets_tests.method.slow_reference import KINDS, pool, products


def slow_rate(q, group, outside, n_earlier):
    """Hits, frames asked and the sum of chances, frame by frame."""
    s, hits, asked, chance = products(q), 0, 0, Fraction(0)
    for i in range(n_earlier, len(q)):
        if group[i] is None:
            continue
        candidates = [
            j
            for j in range(len(q))
            if j != i and group[j] is not None and (outside is None or outside[j] != outside[i])
        ]
        right = [j for j in candidates if group[j] == group[i]]
        if not right:
            continue
        nearest = max(candidates, key=lambda j: (s[i, j], -j))
        hits, asked, chance = hits + (nearest in right), asked + 1, chance + Fraction(len(right), len(candidates))
    return hits, asked, chance


@given(
    st.sampled_from(KINDS),
    st.integers(2, 40),
    st.integers(0, 10_000),
    st.floats(0, 1),
    st.integers(1, 6),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_rates_are_those_of_plain_loops(kind, n, seed, share, n_clips, with_labels):
    rng = np.random.default_rng(seed)
    q = pool(kind, n, 8, seed)
    clips = rng.integers(0, n_clips, n).astype(str)
    patients = np.array([f"p{int(clip) // 2}" for clip in clips])
    labels = np.array([[None, "a", "b"][k] for k in rng.integers(0, 3, n)], dtype=object) if with_labels else None
    n_earlier = int(share * (n - 1))
    measures = measure_separation(q, clips, patients, n_earlier=n_earlier, labels=labels)
    asked = {CLIP: (clips, None), PATIENT: (patients, None), PATIENT_OUTSIDE: (patients, clips)}
    if with_labels:
        asked[LABEL_OUTSIDE] = (labels, clips)
    assert set(measures.retrieval) == set(asked)
    for name, (group, outside) in asked.items():
        hits, count, chance = slow_rate(q, group, outside, n_earlier)
        found = measures.retrieval[name]
        assert found.n == count, name
        if count:
            assert found.rank1 == hits / count, name
            assert found.chance == pytest.approx(float(chance / count)), name
        else:
            assert found.rank1 is None


def stacks(patients=12, levels=8, seed=0):
    """Two phases of a stack of different slices: the nearest slice is of the same level in the other phase, another clip."""
    rng = np.random.default_rng(seed)
    place, level = rng.standard_normal((patients, 1, 1, 64)), rng.standard_normal((patients, levels, 1, 64))
    phase = rng.standard_normal((patients, levels, 2, 64))
    x = (place + level + 0.05 * phase).transpose(0, 2, 1, 3).reshape(-1, 64)
    patient = np.repeat(np.arange(patients), 2 * levels)
    return to_fixed_point(x), np.repeat(np.arange(2 * patients), levels), patient


def test_a_stack_of_different_slices_passes_though_its_clips_are_never_found():
    """566 cine MRI slices were refused outright: of the same clip 0 % (chance 2 %), of the same patient 100 %."""
    measures = measure_separation(*stacks())
    assert measures.retrieval[CLIP].rank1 == 0
    assert measures.retrieval[PATIENT].rank1 == 1
    assert measures.retrieval[PATIENT_OUTSIDE].rank1 == 1
    verdict = judge_separation(measures)
    assert verdict.collapse == ()
    assert len(verdict.warnings) == 1
    assert "same clip in 0.0% of cases" in verdict.warnings[0]


def test_everything_in_one_place_is_a_collapse():
    q, clips, patients = stacks()
    centre = np.ones(64)
    together = to_fixed_point(centre + 0.05 * q / 4000)
    verdict = judge_separation(measure_separation(together, clips, patients))
    assert "everything lies in one place" in verdict.collapse[0]


def test_crowded_cosines_warn_and_do_not_block():
    q, clips, patients = stacks()
    crowded = to_fixed_point(np.ones(64) / 8 + 0.25 * q / 4000)
    verdict = judge_separation(measure_separation(crowded, clips, patients))
    assert verdict.collapse == ()
    assert any("thresholds of similarity say little" in warning for warning in verdict.warnings)


def test_worse_than_chance_on_the_same_patient_is_a_collapse():
    """The i-th frame of every patient is the same direction: the nearest is always of another patient."""
    patients = np.repeat(np.arange(20), 8)
    q = to_fixed_point(np.eye(8)[np.tile(np.arange(8), 20)] + 1e-9)
    verdict = judge_separation(measure_separation(q, np.arange(160), patients))
    assert len(verdict.collapse) == 1
    assert verdict.collapse[0].endswith("worse than chance")


def test_two_different_pictures_a_patient_are_too_few_to_call_it_worse_than_chance():
    patients = np.repeat(np.arange(6), 2)
    q = to_fixed_point(np.eye(2)[np.tile([0, 1], 6)] + 1e-9)
    verdict = judge_separation(measure_separation(q, np.arange(12), patients))
    assert verdict.collapse == ()
    assert verdict.warnings[0].endswith("no better than chance")


def test_vectors_of_the_wrong_frames_are_no_better_than_chance_and_say_so():
    q, clips, patients = stacks(patients=30)
    shuffled = q[np.random.default_rng(0).permutation(len(q))]
    measures = measure_separation(shuffled, clips, patients)
    assert measures.retrieval[PATIENT].rank1 < 3 * measures.retrieval[PATIENT].chance
    assert judge_separation(measures).warnings


def test_one_patient_and_still_frames_cannot_be_judged_and_pass():
    q, clips, _ = stacks(patients=1)
    alone = measure_separation(q, clips, np.zeros(len(q)))
    assert alone.cosines is None
    assert judge_separation(alone).collapse == ()
    stills = measure_separation(q, np.arange(len(q)), np.arange(len(q)))
    assert stills.retrieval[CLIP].rank1 is None
    assert judge_separation(stills).collapse == ()


def test_a_large_archive_is_sampled_evenly_and_the_new_frames_are_asked():
    n = 3 * MAX_FRAMES
    q = to_fixed_point(np.random.default_rng(0).standard_normal((n, 4)))
    measures = measure_separation(q, np.arange(n) // 2, np.arange(n) // 2, n_earlier=n - 100)
    assert measures.n_frames == MAX_FRAMES
    assert measures.retrieval[PATIENT].n == 100


def test_ids_that_do_not_fit_are_refused():
    q, clips, patients = stacks(2)
    with pytest.raises(ValueError, match="32 vectors but 31 clips"):
        measure_separation(q, clips[:-1], patients)
