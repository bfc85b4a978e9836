"""Which cells an asset has: batches as they are ingested, seeds, budgets x seeds."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from enrich_assets.settings import ALL, TaskSettings

if TYPE_CHECKING:
    from enrich_assets.core.where import Where


class Partitions(Enum):
    """How an asset is partitioned."""

    NONE = "none"
    BATCH = "batch"
    SEED = "seed"
    GRID = "budget x seed"

    def keys(self, where: Where, batches: Sequence[str]) -> list[str]:
        """All partition keys that the profile asks for, the cheapest budget first.

        Parameters
        ----------
        where
            Whose seeds and budgets.
        batches
            Names of the batches at hand, in the order of ingestion.

        Returns
        -------
        list of str
            [""] without partitions, else batches, seeds, or `budget|seed`.
        """
        if self is Partitions.NONE:
            return [""]
        if self is Partitions.BATCH:
            return list(batches)
        if self is Partitions.SEED:
            return [str(seed) for seed in where.task_settings.seed_list]
        return cell_keys(where.task_settings, where.arm)


def budget_keys(task: TaskSettings, arm: str) -> list[str]:
    """Budgets of an arm as the profile writes them; of the whole pool its one budget, `all`."""
    return [ALL] if arm == ALL else list(task.budgets)


def cell_keys(task: TaskSettings, arm: str) -> list[str]:
    """Partition keys of an arm's grid, the cheapest budget first."""
    return [f"{budget}|{seed}" for budget in budget_keys(task, arm) for seed in task.seed_list]


def budget_and_seed(partition: str) -> tuple[str, int]:
    """The two parts of a key `budget|seed`."""
    budget, _, seed = partition.partition("|")
    return budget, int(seed)
