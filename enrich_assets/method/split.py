"""Train or test, by quota: of a batch's patients a share goes to test, class by class, lowest hash first. Growth moves nobody.

Patients, their classes and what came before go in; sides come out. Whose classes are known, and from where, is asked elsewhere.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

TRAIN, TEST = "train", "test"
NO_CLASS = ""  # the stratum of patients of whom no class is known

Unit = tuple[str, ...]  # patients that stand on one side together


@dataclass(frozen=True)
class Placed:
    """Where a patient was put when first seen.

    Parameters
    ----------
    side
        train or test.
    classes
        Those known of the patient then.
    stratum
        The one whose quota the patient counts for; `NO_CLASS` where none is known, None where no quota was asked.
    """

    side: str
    classes: frozenset[str] = frozenset()
    stratum: str | None = NO_CLASS


Before = Sequence[Mapping[str, Placed]]  # of each earlier batch, oldest first: patient -> where it was put


def hash_of(name: str, salt: str) -> int:
    """The place of a patient (or group) in the draw: the first 64 bits of sha256("salt:name"). Low ones go to test first."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8], "big")


def draw_split(
    classes: Mapping[str, Collection[str]],
    *,
    test_share: float,
    salt: str,
    given: Mapping[str, str] | None = None,
    before: Before = (),
    groups: Mapping[str, str] | None = None,
) -> dict[str, Placed]:
    """Put the patients of a batch on their sides.

    Parameters
    ----------
    classes
        Patient -> the classes known of that patient; empty for one who is not labelled.
    test_share
        Of the patients, in [0, 1].
    salt
        Another one draws another split.
    given
        Patient -> train or test, where the side is given. Such patients count: they fill the quota of their class.
    before
        Of each earlier batch, oldest first: patient -> where it was put. Who stands there keeps that side.
    groups
        Patient -> name of a group that must stand on one side (a hospital, near-duplicates). Others stand alone.

    Returns
    -------
    dict
        Patient -> Placed, of all patients of `classes`, in the order of their names.

    Raises
    ------
    ValueError
        For a share outside [0, 1], or a side that is neither train nor test.

    Notes
    -----
    **Strata.** A patient counts for one class: the rarest of its own among those that at least two patients of the batch carry
    (else the rarest of all), ties by name, because a draw would miss the rare class. That is the first step of iterative
    stratification (Sechidis, Tsoumakas and Vlahavas 2011, ECML PKDD, LNCS 6913:145). A group counts for the rarest class in it.

    **Quota.** Of a stratum `share * patients + owed` are due on test, `owed` being what rounding left over from the earlier batches.
    It gets the floor or the ceiling of that; which strata get the ceiling is decided by largest remainders (Hamilton's
    method), so that the whole is rounded once, too. Where two patients of a stratum were seen, now or before, at least one is
    on test and, for a share below 1, at least one on train. So without groups every stratum is within one patient of its share,
    and the whole within one unless these minima ask for more.

    **Draw.** In each stratum the lowest hashes go to test; of groups, each whose patients bring it nearer to the quota. Last, where
    a class of two patients or more would have none on a side (its patients counting for other classes), one open patient of
    it changes side.

    What a manifest gives beyond its share, or short of it, is not made up for by later batches: only rounding is carried.
    """
    share, given, groups = Fraction(str(test_share)), given or {}, groups or {}
    if not 0 <= share <= 1:
        raise ValueError(f"test_share {test_share} is no share: it lies from 0 to 1")
    if wrong := sorted(set(given.values()) - {TRAIN, TEST}):
        raise ValueError(f"{wrong[0]!r} is no side: train or test")
    batches = _first_seen(before)
    decided = {patient: placed for batch in batches for patient, placed in sorted(batch.items())}
    new = sorted(set(classes) - decided.keys())
    stratum_of = _strata(new, classes, groups)
    side_of = _given_sides(new, given, decided, groups)
    units = _units([patient for patient in new if patient not in side_of], groups, salt)
    strata = {name: _Stratum(name) for name in sorted(set(stratum_of.values()))}
    for patient, side in side_of.items():
        strata[stratum_of[patient]].given[side] += 1
    for unit in units:
        strata[stratum_of[unit[0]]].units.append(unit)
    _set_quotas(list(strata.values()), batches, share)
    for stratum in strata.values():
        on_test = stratum.draw()
        side_of |= {patient: TEST if unit in on_test else TRAIN for unit in stratum.units for patient in unit}
    if 0 < share < 1:
        _mend(side_of, units, {patient: frozenset(classes[patient]) for patient in new}, decided)
    return {
        patient: decided.get(patient) or Placed(side_of[patient], frozenset(classes[patient]), stratum_of[patient])
        for patient in sorted(classes)
    }


# ---------------------------------------------------------------------------------------------------- strata and groups


def _first_seen(before: Before) -> list[dict[str, Placed]]:
    """Each earlier batch with the patients that it was the first to bring."""
    seen: set[str] = set()
    batches = []
    for batch in before:
        batches.append({patient: placed for patient, placed in batch.items() if patient not in seen})
        seen |= batch.keys()
    return batches


def _strata(new: Sequence[str], classes: Mapping[str, Collection[str]], groups: Mapping[str, str]) -> dict[str, str]:
    """Patient -> the class it counts for."""
    n_patients = Counter(name for patient in new for name in set(classes[patient]))
    of_group: dict[str, set[str]] = {}
    for patient in new:
        of_group.setdefault(groups.get(patient, patient), set()).update(classes[patient])

    def rarest(names: set[str]) -> str:
        return min(names, key=lambda name: (n_patients[name] < 2, n_patients[name], name), default=NO_CLASS)

    return {patient: rarest(of_group[groups.get(patient, patient)]) for patient in new}


def _given_sides(
    new: Sequence[str], given: Mapping[str, str], decided: Mapping[str, Placed], groups: Mapping[str, str]
) -> dict[str, str]:
    """Patient -> side: as given, else that of its group, by the patient of it that came first, else those given."""
    known = {patient: given[patient] for patient in new if patient in given}
    side_of_group: dict[str, str] = {}
    for sides in ({patient: placed.side for patient, placed in decided.items()}, known):
        for patient, side in sides.items():
            if patient in groups:
                side_of_group.setdefault(groups[patient], side)
    follow = {p: side_of_group[groups[p]] for p in new if p in groups and groups[p] in side_of_group}
    return {**follow, **known}


def _units(patients: Sequence[str], groups: Mapping[str, str], salt: str) -> list[Unit]:
    """Patients that are drawn together, lowest hash first."""
    units: dict[str, list[str]] = {}
    for patient in patients:
        units.setdefault(groups.get(patient, patient), []).append(patient)
    return [tuple(units[name]) for name in sorted(units, key=lambda name: (hash_of(name, salt), name))]


# --------------------------------------------------------------------------------------------------------------- quotas


@dataclass
class _Stratum:
    """A class's patients of a batch, and how many of the open ones are to go to test."""

    name: str
    given: Counter[str] = field(default_factory=Counter)  # side -> patients
    units: list[Unit] = field(default_factory=list)  # open ones, lowest hash first
    due: Fraction = Fraction(0)  # open patients due on test, not rounded
    quota: int = 0  # the same, rounded
    most: int = 0  # that may be taken
    needs: frozenset[str] = frozenset()  # sides that have nobody of this class yet, and must get one

    @property
    def n_open(self) -> int:
        return sum(map(len, self.units))

    def draw(self) -> set[Unit]:
        """The units that go to test."""
        taken: list[Unit] = []
        n = 0
        for unit in self.units:
            if abs(n + len(unit) - self.quota) < abs(n - self.quota):
                taken.append(unit)
                n += len(unit)
        if not taken and TEST in self.needs:
            taken = self.units[:1]
        if TRAIN in self.needs and len(taken) == len(self.units) > 1:
            taken.pop()
        return set(taken)


def _set_quotas(strata: Sequence[_Stratum], batches: Before, share: Fraction) -> None:
    """Round what is due of each stratum so that the whole is rounded once."""
    for stratum in strata:
        owed, seen = _carried(stratum.name, batches, share)
        n_new = stratum.n_open + stratum.given.total()
        stratum.due = owed + share * n_new - stratum.given[TEST]
        has = seen + stratum.given
        if has.total() + stratum.n_open >= 2:
            wanted = {TEST: share > 0, TRAIN: share < 1}
            stratum.needs = frozenset(side for side in wanted if wanted[side] and not has[side])
        stratum.most = min(max(math.ceil(stratum.due), 0), max(stratum.n_open - (TRAIN in stratum.needs), 0))
        least = min(TEST in stratum.needs, stratum.most) if stratum.n_open else 0
        stratum.quota = min(max(math.floor(stratum.due), least), stratum.most)
    whole = math.floor(sum((stratum.due for stratum in strata), Fraction(1, 2)))
    left = whole - sum(stratum.quota for stratum in strata)
    for stratum in sorted(strata, key=lambda stratum: (stratum.quota - stratum.due, stratum.name)):
        if left > 0 and stratum.quota < stratum.most:
            stratum.quota, left = stratum.quota + 1, left - 1


def _carried(name: str, batches: Before, share: Fraction) -> tuple[Fraction, Counter[str]]:
    """What rounding still owes the test side of a stratum, in patients; and its patients by side so far."""
    owed, seen = Fraction(0), Counter[str]()
    for batch in batches:
        sides = Counter(placed.side for placed in batch.values() if placed.stratum == name)
        owed = min(max(owed + share * sides.total() - sides[TEST], Fraction(-1)), Fraction(1))
        seen += sides
    return owed, seen


def _mend(
    side_of: dict[str, str],
    units: Sequence[Unit],
    classes: Mapping[str, frozenset[str]],
    decided: Mapping[str, Placed],
) -> None:
    """Where a class of two patients or more has none on a side, move one open unit that carries it there, in place."""
    counts: dict[str, Counter[str]] = {}
    known = [(placed.side, placed.classes) for placed in decided.values()]
    for side, names in [*known, *((side_of[patient], names) for patient, names in classes.items())]:
        for name in names:
            counts.setdefault(name, Counter())[side] += 1

    def carried(unit: Unit) -> Counter[str]:
        return Counter(name for patient in unit for name in classes[patient])

    def would_empty(unit: Unit, side: str) -> bool:
        return any(counts[name].total() >= 2 and counts[name][side] <= n for name, n in carried(unit).items())

    rarest_first = sorted(counts, key=lambda name: (counts[name].total(), name))
    for wanted, other, order in ((TEST, TRAIN, units), (TRAIN, TEST, units[::-1])):
        for name in rarest_first:
            if counts[name].total() < 2 or counts[name][wanted]:
                continue
            candidates = [unit for unit in order if side_of[unit[0]] == other and carried(unit)[name]]
            harmless = [unit for unit in candidates if not would_empty(unit, other)]
            for unit in (harmless or (candidates if wanted == TEST else []))[:1]:
                side_of |= dict.fromkeys(unit, wanted)
                for class_name, n in carried(unit).items():
                    counts[class_name].update({wanted: n, other: -n})
