"""The frames behind each point of figure 2: what every subset holds, as pictures in the order in which they were chosen.

Subsets of one arm and seed usually continue one another, so each is shown as what it adds to the one before. The whole pool (the arm `all`)
is no choice, and is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from enrich_assets.report import numbers
from enrich_assets.report.gallery import FramePicture, Pictures

MOST = 6000  # pictures on the page, shared alike among arms and seeds
LEAST = 12  # of each arm and seed, however many there are


@dataclass(frozen=True)
class Step:
    """What a subset adds to the next smaller one of its arm and seed.

    Attributes
    ----------
    anchor, of_mean : str
        Its place in the page; that of its arm and budget at the least seed, '' at others.
    evaluation : str
        Id of its evaluation; '' where it has none yet.
    title : str
    all_seeds : tuple of (int, str)
        At the least seed: every seed of its arm and budget, with its place.
    pictures : tuple of FramePicture
    n_before, n_left : int
        Frames of the next smaller subset, which this one begins with; frames added that the page has no room for.
    """

    anchor: str
    of_mean: str
    evaluation: str
    title: str
    all_seeds: tuple[tuple[int, str], ...]
    pictures: tuple[FramePicture, ...]
    n_before: int
    n_left: int


@dataclass(frozen=True)
class Choice:
    """The subsets of one arm and seed, the smallest first."""

    name: str
    steps: tuple[Step, ...]


def trained_on(task: str, tables: Mapping[str, pd.DataFrame], pictures: Pictures, most: int) -> list[Choice]:
    """The choices of a task, arm by arm and seed by seed.

    Parameters
    ----------
    task : str
    tables : mapping of str to pandas.DataFrame
        `subsets`, `subset_frames`, `evaluations`, `labels` and `frames`, of the columns that the report needs.
    pictures : Pictures
    most : int
        Greatest number of frames of one choice.
    """
    subsets = numbers.current(tables["subsets"])
    subsets = subsets[subsets["arm"] != "all"] if len(subsets) else subsets
    if subsets.empty:
        return []
    members = tables["subset_frames"]
    members = members[members["subset_id"].isin(subsets["subset_id"])].sort_values(["subset_id", "position"])
    frames_of = {str(name): list(rows) for name, rows in members.groupby("subset_id")["frame_id"]}
    runs = numbers.current(tables["evaluations"])
    runs = runs[runs["task"] == task].set_index(["arm", "budget", "seed"])
    captions = _captions(task, tables)
    places = {
        (row.arm, row.budget, row.seed): numbers.anchor(
            runs["evaluation_id"].get((row.arm, row.budget, row.seed), row.subset_id)
        )
        for row in subsets.itertuples()
    }
    least = subsets.groupby("arm")["seed"].min()
    choices = []
    for arm in sorted(subsets["arm"].unique(), key=numbers.arm_order):
        of_arm = subsets[subsets["arm"] == arm]
        for seed, rows in of_arm.groupby("seed", sort=True):
            steps: list[Step] = []
            before: list[str] = []
            room = most
            for row in rows.sort_values("budget").itertuples():
                chosen = frames_of.get(str(row.subset_id), [])
                known = len(before) if chosen[: len(before)] == before else 0
                shown = chosen[known : known + room]
                room -= len(shown)
                run = runs.loc[(arm, row.budget, seed)] if (arm, row.budget, seed) in runs.index else None
                evaluation = "" if run is None else str(run["evaluation_id"])
                score = "" if run is None else f", {numbers.metric_label(run['metric'])} {numbers.score(run['value'])}"
                steps.append(
                    Step(
                        places[arm, row.budget, seed],
                        numbers.group_anchor(task, arm, row.budget) if seed == least[arm] else "",
                        evaluation,
                        f"{numbers.arm_name(arm)}, {numbers.count(row.budget)} labels, seed {seed}{score}",
                        tuple((s, place) for (a, b, s), place in sorted(places.items()) if (a, b) == (arm, row.budget))
                        if seed == least[arm]
                        else (),
                        tuple(
                            FramePicture(one, pictures.uri(one), f"{place} {captions.get(one, '')}".rstrip())
                            for place, one in enumerate(shown, known + 1)
                        ),
                        known,
                        len(chosen) - known - len(shown),
                    )
                )
                before = chosen
            choices.append(Choice(f"{numbers.arm_name(arm)}, seed {seed}", tuple(steps)))
    return choices


def room_of_each(subsets: pd.DataFrame) -> int:
    """Greatest number of frames of one choice, so that the page of all tasks stays readable."""
    rows = numbers.current(subsets)
    choices = len(rows.loc[rows["arm"] != "all", ["task", "arm", "seed"]].drop_duplicates()) if len(rows) else 0
    return max(LEAST, MOST // max(1, choices))


def _captions(task: str, tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """What stands under a frame beside its place: its label of today if it has one, its patient."""
    labels = numbers.current(tables["labels"])
    labels = labels[(labels["task"] == task) & labels["label"].notna()]
    label_of = dict(zip(labels["frame_id"], labels["label"].astype(str), strict=True))
    return {
        str(frame_id): " · ".join(filter(None, (label_of.get(frame_id, ""), str(patient))))
        for frame_id, patient in zip(tables["frames"]["frame_id"], tables["frames"]["patient_id"], strict=True)
    }
