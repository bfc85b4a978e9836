"""What some cells are called where people read it: of which task and arm, how many labels, which seed or batch."""

from __future__ import annotations

from collections.abc import Sequence

from enrich_assets.core.partitions import Partitions, budget_and_seed
from enrich_assets.core.step import Check, Declared
from enrich_assets.settings import ALL

MOST_NAMES = 4


def title_of(members: Sequence[Declared], partition: str) -> str:
    """`view, 25 labels, seed 3: subset, model, evaluation (enrich, random)`.

    Parameters
    ----------
    members
        Steps and checks of one run; checks are named only where there is no step.
    partition
        Of all of them; "" for assets without partitions.

    Returns
    -------
    str
        One line; "" for no members.
    """
    steps = [declared for declared in members if not isinstance(declared, Check)]
    names = list(dict.fromkeys(declared.name for declared in steps or members))
    tasks = list(dict.fromkeys(declared.where.task for declared in members if declared.where.task))
    arms = list(dict.fromkeys(declared.where.arm for declared in members if declared.where.arm))
    kinds = {declared.partitions for declared in members} - {Partitions.NONE}
    where = [*tasks, *_of_partition(kinds.pop() if kinds else Partitions.NONE, partition)]
    what = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
    what = f"checks of {what}" if names and not steps else what
    return ": ".join(part for part in (", ".join(where), what) if part) + (f" ({', '.join(arms)})" if arms else "")


def labels_of(budget: str) -> str:
    """A budget in words: `25 labels`, `20% of the labels`, `all labels`."""
    if budget == ALL:
        return "all labels"
    return f"{budget} of the labels" if budget.endswith("%") else f"{budget} labels"


def _of_partition(kind: Partitions, partition: str) -> list[str]:
    if not partition or kind is Partitions.NONE:
        return []
    if kind is Partitions.BATCH:
        return [f"batch {partition}"]
    if kind is Partitions.SEED:
        return [f"seed {partition}"]
    budget, seed = budget_and_seed(partition)
    return [labels_of(budget), f"seed {seed}"]
