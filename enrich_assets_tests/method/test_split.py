"""The split by quota: shares within a patient, nobody moved by growth or by the order of anything, a class never without test
patients. The reference tries every way to round and keeps the best."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.method.split import NO_CLASS, Placed, draw_split

SHARES = st.sampled_from([0.1, 0.2, 0.25, 0.3, 1 / 3, 0.5, 0.7, 0.9])


@st.composite
def patients(draw: st.DrawFn, most: int = 40, classes: str = "abc", at_most: int = 1) -> dict[str, frozenset[str]]:
    """Patient -> classes."""
    n = draw(st.integers(1, most))
    some = st.frozensets(st.sampled_from(list(classes)), min_size=0, max_size=at_most)
    return {f"P{i:03d}": draw(some) for i in range(n)}


def strata(placed: Mapping[str, Placed]) -> dict[str, Counter[str]]:
    """Stratum -> side -> patients."""
    counts: dict[str, Counter[str]] = {}
    for one in placed.values():
        counts.setdefault(str(one.stratum), Counter())[one.side] += 1
    return counts


def reference(classes: Mapping[str, frozenset[str]], share: float, salt: str) -> dict[str, str]:
    """For patients of one class each: every way to round, the whole nearest to its share, then the largest remainders."""
    exact = Fraction(str(share))
    members: dict[str, list[str]] = {}
    for patient, names in classes.items():
        members.setdefault(next(iter(names), NO_CLASS), []).append(patient)
    names = sorted(members)
    due = [exact * len(members[name]) for name in names]

    def allowed(name: str, n_test: int) -> bool:
        n = len(members[name])
        return abs(n_test - exact * n) < 1 and (n < 2 or (n_test >= 1 and n - n_test >= 1))

    ways = [
        way
        for way in itertools.product(*(range(len(members[name]) + 1) for name in names))
        if all(allowed(name, n_test) for name, n_test in zip(names, way, strict=True))
    ]
    whole = (2 * exact * len(classes) + 1) // 2  # half a patient goes to test
    nearest = min(abs(sum(way) - whole) for way in ways)

    def rank(way: tuple[int, ...]) -> list[Fraction]:
        """Who got more than the least it may have, by how much of a patient it was short: the first ones must be served."""
        least = [min(w[i] for w in ways) for i in range(len(names))]
        short = sorted(range(len(names)), key=lambda i: (least[i] - due[i], names[i]))
        return [Fraction(-(way[i] - least[i])) for i in short]

    best = min((way for way in ways if abs(sum(way) - whole) == nearest), key=rank)
    sides = {}
    for name, n_test in zip(names, best, strict=True):
        in_order = sorted(members[name], key=lambda p: hashlib.sha256(f"{salt}:{p}".encode()).hexdigest()[:16])
        sides |= {patient: "test" if at < n_test else "train" for at, patient in enumerate(in_order)}
    return sides


@settings(deadline=None)
@given(patients(most=14), SHARES, st.sampled_from(["enrich", "x"]))
def test_it_is_what_trying_every_way_to_round_gives(classes: dict, share: float, salt: str) -> None:
    drawn = draw_split(classes, test_share=share, salt=salt)
    assert {patient: placed.side for patient, placed in drawn.items()} == reference(classes, share, salt)


@given(patients(), SHARES)
def test_every_class_is_within_a_patient_of_its_share_and_so_is_the_whole(classes: dict, share: float) -> None:
    drawn = draw_split(classes, test_share=share, salt="s")
    exact, forced = Fraction(str(share)), 0
    for counts in strata(drawn).values():
        n = counts.total()
        assert abs(counts["test"] - exact * n) < 1
        forced += n >= 2 and (exact * n < 1 or n - exact * n < 1)
        assert n < 2 or (counts["test"] and counts["train"])
    n_test = sum(placed.side == "test" for placed in drawn.values())
    assert abs(n_test - exact * len(drawn)) <= (forced or Fraction(1, 2))


@given(patients(at_most=3), SHARES, st.randoms(use_true_random=False))
def test_the_order_of_patients_changes_nothing(classes: dict, share: float, random: object) -> None:
    shuffled = list(classes.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert draw_split(dict(shuffled), test_share=share, salt="s") == draw_split(classes, test_share=share, salt="s")


@given(patients(at_most=3), SHARES, st.integers(1, 5))
def test_growth_moves_nobody_and_the_share_is_kept_over_all_batches(classes: dict, share: float, n: int) -> None:
    names = list(classes)
    batches = [
        {p: classes[p] for p in names[: max(1, len(names) * (i + 1) // n)]} for i in range(n)
    ]  # each repeats those before
    before: list[dict[str, Placed]] = []
    for batch in batches:
        drawn = draw_split(batch, test_share=share, salt="s", before=before)
        for earlier in before:
            assert all(drawn[patient] == placed for patient, placed in earlier.items())
        before.append(drawn)
    for name in {name for names in classes.values() for name in names}:
        sides = Counter(placed.side for placed in drawn.values() if name in placed.classes)
        assert sides.total() < 2 or sides["test"], name


@given(st.lists(patients(classes="ab"), min_size=1, max_size=6), SHARES)
def test_what_rounding_left_over_is_carried_from_batch_to_batch(batches: list, share: float) -> None:
    """However many batches: each class, and the whole, as if its patients had come at once."""
    before: list[dict[str, Placed]] = []
    for number, batch in enumerate(batches):
        of_batch = {f"{number}-{patient}": names for patient, names in batch.items()}
        before.append(draw_split(of_batch, test_share=share, salt="s", before=before))
    exact = Fraction(str(share))
    for counts in strata({p: placed for drawn in before for p, placed in drawn.items()}).values():
        assert abs(counts["test"] - exact * counts.total()) <= 1
        assert counts.total() < 2 or counts["test"]


@given(patients(at_most=3, classes="abcdef"), SHARES)
def test_a_class_of_two_patients_is_never_without_test_patients(classes: dict, share: float) -> None:
    drawn = draw_split(classes, test_share=share, salt="s")
    for name in "abcdef":
        sides = Counter(placed.side for placed in drawn.values() if name in placed.classes)
        assert sides.total() < 2 or sides["test"], (name, drawn)


def test_another_salt_draws_another_split() -> None:
    classes = {f"P{i}": {"a"} for i in range(40)}
    one, other = (draw_split(classes, test_share=0.25, salt=salt) for salt in ("enrich", "another"))
    assert one != other
    assert strata(one) == strata(other), "as many, but others"


@given(patients(), SHARES, st.data())
def test_sides_that_are_given_hold_and_fill_the_quota(classes: dict, share: float, data: st.DataObject) -> None:
    sides = st.sampled_from(["train", "test"])
    wished = data.draw(st.dictionaries(st.sampled_from(sorted(classes)), sides))
    drawn = draw_split(classes, test_share=share, salt="s", given=wished)
    assert {patient: drawn[patient].side for patient in wished} == wished
    for name, counts in strata(drawn).items():
        asked = Counter(side for patient, side in wished.items() if drawn[patient].stratum == name)
        due = Fraction(str(share)) * counts.total()
        assert counts["test"] < due + 1 or counts["test"] == asked["test"], "open patients fill it, and no more"
        assert counts["test"] > due - 1 or counts["train"] == asked["train"] or counts["train"] == 1


def test_a_manifest_that_names_the_test_patients_leaves_the_others_to_train() -> None:
    classes = {f"P{i:02d}": {"a"} for i in range(40)}
    wished = {f"P{i:02d}": "test" for i in range(10)}
    drawn = draw_split(classes, test_share=0.25, salt="s", given=wished)
    assert {patient for patient, placed in drawn.items() if placed.side == "test"} == set(wished)


def test_what_a_manifest_gave_too_much_is_not_taken_from_the_next_batch() -> None:
    everyone = {f"P{i:02d}": {"a"} for i in range(40)}
    first = draw_split(everyone, test_share=0.25, salt="s", given=dict.fromkeys(everyone, "test"))
    second = draw_split({f"Q{i:02d}": {"a"} for i in range(40)}, test_share=0.25, salt="s", before=[first])
    assert strata(second)["a"]["test"] in (9, 10)


def test_patients_drawn_by_an_earlier_rule_are_neither_moved_nor_made_up_for() -> None:
    by_hash = {f"P{i:02d}": Placed("test" if i < 6 else "train", stratum=None) for i in range(47)}
    drawn = draw_split(
        {"P00": {"a"}, **{f"Q{i}": {"a"} for i in range(8)}}, test_share=0.25, salt="s", before=[by_hash]
    )
    assert drawn["P00"] == by_hash["P00"]
    assert sum(placed.side == "test" for patient, placed in drawn.items() if patient != "P00") == 2


def test_a_patient_of_several_classes_counts_for_the_rarest() -> None:
    classes = {f"P{i}": {"common"} for i in range(8)} | {"Q0": {"common", "rare"}, "Q1": {"common", "rare"}}
    drawn = draw_split(classes | {"R": {"common", "once"}}, test_share=0.25, salt="s")
    assert {drawn[p].stratum for p in ("Q0", "Q1")} == {"rare"}
    assert drawn["R"].stratum == "common", "a class of one patient cannot be on both sides"
    assert sorted(drawn[p].side for p in ("Q0", "Q1")) == ["test", "train"]


@given(patients(at_most=2), SHARES, st.integers(1, 6))
def test_a_group_stands_on_one_side(classes: dict, share: float, n_groups: int) -> None:
    groups = {patient: f"G{int(patient[1:]) % n_groups}" for patient in classes}
    drawn = draw_split(classes, test_share=share, salt="s", groups=groups)
    sides = {(groups[patient], placed.side) for patient, placed in drawn.items()}
    assert len(sides) == len(set(groups.values()))
    later = draw_split({"new": frozenset()}, test_share=share, salt="s", before=[drawn], groups={**groups, "new": "G0"})
    assert later["new"].side == drawn["P000"].side, "and a later patient joins its group"


def test_groups_come_as_near_to_the_quota_as_whole_groups_can() -> None:
    sizes = {"A": 2, "B": 3, "C": 4, "D": 11}
    groups = {f"{name}{i}": name for name, size in sizes.items() for i in range(size)}
    for salt in map(str, range(20)):
        drawn = draw_split({p: frozenset() for p in groups}, test_share=0.25, salt=salt, groups=groups)
        assert 2 <= sum(placed.side == "test" for placed in drawn.values()) <= 9, "five were due"


def test_twelve_patients_of_two_classes() -> None:
    """Where a hash of each patient alone put one on test."""
    classes = {f"P{i:03d}": {"ab"[i % 3 == 2]} for i in range(12)}
    assert {
        name: counts["test"] for name, counts in strata(draw_split(classes, test_share=0.25, salt="e")).items()
    } == {
        "a": 2,
        "b": 1,
    }


@pytest.mark.parametrize(("share", "sides"), [(1, {"test"}), (0, {"train"})])
def test_a_share_of_all_or_nothing_is_meant(share: float, sides: set[str]) -> None:
    drawn = draw_split({f"P{i}": {"ab"[i % 2]} for i in range(6)}, test_share=share, salt="s")
    assert {placed.side for placed in drawn.values()} == sides


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.2 is no share"):
        draw_split({"P": set()}, test_share=1.2, salt="s")
    with pytest.raises(ValueError, match="'val' is no side"):
        draw_split({"P": set()}, test_share=0.2, salt="s", given={"P": "val"})
