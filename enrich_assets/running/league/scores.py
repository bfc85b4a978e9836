"""What the league's homes hold once they were run: scores by patient, facts and costs, from what each published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import pandas as pd

from enrich_assets.archive.home import Archive
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.statistics.league import Contest
from enrich_assets.store.published import query, read_tables
from enrich_assets.store.receipts import Cell

if TYPE_CHECKING:
    from enrich_assets.method.statistics.by_patient import LeftOut

TABLES = ("evaluations", "adequacy", "embedding_health")
SIDES = """
    SELECT f.split, count(DISTINCT f.frame_id) AS frames, count(DISTINCT f.patient_id) AS patients
    FROM frames f JOIN labels l USING (frame_id) WHERE l.current AND l.task = ? GROUP BY f.split
"""
TEST_CLASSES = """
    SELECT coalesce(l.label, 'with masks') AS label, count(DISTINCT f.patient_id) AS patients
    FROM frames f JOIN labels l USING (frame_id) WHERE l.current AND l.task = ? AND f.split = 'test' GROUP BY 1 ORDER BY 1
"""
PREDICTIONS = "SELECT p.* FROM predictions p JOIN evaluations e USING (evaluation_id) WHERE e.current AND e.task = ?"


@dataclass(frozen=True)
class Found:
    """What one archive's home holds.

    Attributes
    ----------
    name : str
    contests : dict
        Task -> its scores; tasks without any are left out.
    facts : DataFrame
        A row per task of the profile, trained or not: task, metric, frames and patients of either side, test_classes (patients,
        in words), trained, asked.
    adequacy : DataFrame
        As published.
    costs : DataFrame
        what (embedding, ranking), task, name, seconds: of 1,000 frames; of a ranking, the median over seeds.
    """

    name: str
    contests: Mapping[str, Contest]
    facts: pd.DataFrame
    adequacy: pd.DataFrame
    costs: pd.DataFrame

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked for was trained."""
        return bool(len(self.facts)) and bool((self.facts["trained"] == self.facts["asked"]).all())


def collect(archive: Archive, apart: Sequence[str] = ()) -> Found:
    """Scores, facts and costs of a home, from what is published in it.

    Parameters
    ----------
    archive : Archive
    apart : sequence of str
        Arms that do not count for `Found.is_whole`.
    """
    name = archive.home.name
    if not archive.published.exists():
        return Found(name, {}, pd.DataFrame(), pd.DataFrame(), pd.DataFrame())
    tables = read_tables(archive.published, TABLES)
    current = tables["evaluations"][tables["evaluations"]["current"].astype(bool)]
    patients = query(archive.published, "SELECT frame_id, patient_id FROM frames").set_index("frame_id")["patient_id"]
    contests = {
        str(task): Contest(name, str(task), rows, _by_patient(archive, str(task), rows, patients))
        for task, rows in current.groupby("task")
    }
    facts = pd.DataFrame(
        [_facts(archive, task, current[current["task"] == task], apart) for task in archive.profile.tasks]
    )
    return Found(name, contests, facts, tables["adequacy"], _costs(archive, tables["embedding_health"]))


def _by_patient(
    archive: Archive, task: str, evaluations: pd.DataFrame, patients: pd.Series
) -> dict[tuple[str, int, int], LeftOut]:
    kind = kind_of(archive.profile.tasks[task].kind)
    predictions = query(archive.published, PREDICTIONS, [task])
    by_evaluation = dict(list(predictions.groupby("evaluation_id", sort=False)))
    found = {}
    for row in evaluations.itertuples():
        own = by_evaluation[row.evaluation_id]
        owners = own["frame_id"].map(patients).to_numpy(dtype=object)
        found[str(row.arm), int(row.budget), int(row.seed)] = kind.left_out(own, owners)
    return found


def _facts(archive: Archive, task: str, evaluations: pd.DataFrame, apart: Sequence[str]) -> dict[str, Any]:
    settings = archive.profile.tasks[task]
    sides = query(archive.published, SIDES, [task]).set_index("split")
    by_class = query(archive.published, TEST_CLASSES, [task])
    arms = [arm for arm in settings.arms if arm not in apart]
    trained = evaluations[~evaluations["arm"].isin(apart)]
    return {
        "task": task,
        "metric": settings.metric,
        **{
            f"{side}_{what}": int(sides[what].get(side, 0))
            for side in ("train", "test")
            for what in ("frames", "patients")
        },
        "test_classes": ", ".join(f"{row.patients} {row.label}" for row in by_class.itertuples()),
        "trained": len(trained),
        "asked": len(settings.seed_list) * (len(arms) * len(settings.budgets) + 1),
    }


def _costs(archive: Archive, health: pd.DataFrame) -> pd.DataFrame:
    seconds = health[health["measure"] == "seconds for 1,000 frames"] if len(health) else health
    rows = [
        {"what": "embedding", "task": "", "name": row.embedding, "seconds": float(row.value)}
        for row in seconds.itertuples()
    ]
    for task, settings in archive.profile.tasks.items():
        for arm in settings.arms:
            receipts = [
                archive.store.receipts.current(Cell(f"{task}/{arm}/ranking", str(s))) for s in settings.seed_list
            ]
            took = [float(receipt.metrics["seconds"]) for receipt in receipts if receipt is not None]
            if took:
                rows.append({"what": "ranking", "task": task, "name": arm, "seconds": median(took)})
    return pd.DataFrame(rows, columns=["what", "task", "name", "seconds"])
