"""Partitions: batches as they arrive; seeds; budgets x seeds. And how assets of different partitions hang together."""

import dagster as dg

from enrich_assets.settings import ALL, TaskSettings

BATCH = "batch"
batches = dg.DynamicPartitionsDefinition(name=BATCH)

every_partition = dg.AllPartitionMapping()
seed_of_cell = dg.MultiToSingleDimensionPartitionMapping("seed")
# Shown in the graph, but never a reason to call the downstream stale: the VAE is retrained on purpose only, and a model's
# labels and pixels are compared by digest when it runs (ARCHITECTURE.md, "Edges that carry no staleness").
for_lineage_only = dg.SpecificPartitionsPartitionMapping([])


def seeds(task: TaskSettings) -> dg.StaticPartitionsDefinition:
    return dg.StaticPartitionsDefinition([str(seed) for seed in task.seed_list])


def grid(task: TaskSettings, arm: str) -> dg.MultiPartitionsDefinition:
    budgets = [ALL] if arm == ALL else list(task.budgets)
    return dg.MultiPartitionsDefinition({"budget": dg.StaticPartitionsDefinition(budgets), "seed": seeds(task)})


def cell_keys(task: TaskSettings, arm: str) -> list[str]:
    """Partition keys of an arm's grid, the cheapest budget first."""
    budgets = [ALL] if arm == ALL else list(task.budgets)
    return [f"{budget}|{seed}" for budget in budgets for seed in task.seed_list]


def budget_and_seed(partition: str) -> tuple[str, int]:
    budget, _, seed = partition.partition("|")
    return budget, int(seed)
