"""What follows by itself, event by event, on an ephemeral instance: exactly the affected cells, nothing of the training grid.

What is made is only reported here (a materialization with its data version), so that each event stands alone.
"""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import dagster as dg

from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.build import build_definitions
from enrich_assets.defs.mount import BATCH, Mount
from enrich_assets.profiles import load_profile

SMALL = Path(__file__).parents[1] / "small.yaml"
WHOLE = load_profile(str(SMALL))
PROFILE = WHOLE.model_copy(update={"tasks": {"view": WHOLE.tasks["view"]}})
GRAPH, MOUNT = graph_of(PROFILE), Mount()
TASKS = sorted(PROFILE.tasks)
DEFINITIONS = build_definitions(PROFILE)
BY_BATCH = [
    "embeddings/vae",
    "archive/similarity/vae",
    *(f"{task}/{what}" for task in TASKS for what in ("pool", "similarity/vae")),
]


class Daemon:
    """An instance, and the automation sensor's view of it from tick to tick."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor = None
        self.rounds = 0
        self.checked: set[tuple[str, str]] = set()
        self.tick()

    def ingest(self, batch: str) -> None:
        self.instance.add_dynamic_partitions(BATCH, [batch])

    def made(self, asset: str, partition: str = "", version: str = "1", passed: bool = True) -> None:
        """As if a run had made the cell with this content."""
        key = MOUNT.asset_key(asset)
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(key, partition=partition or None, tags={"dagster/data_version": version})
        )
        for check in GRAPH.checks_of(asset):
            if partition and (check.key, partition) in self.checked:
                continue  # without a run, Dagster takes one evaluation of a check's partition; it passed
            self.checked.add((check.key, partition))
            self.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    check_name=check.check_name,
                    passed=passed,
                    asset_key=key,
                    blocking=check.blocking,
                    partition=partition or None,
                )
            )

    def decode(self, batch: str, version: str = "1") -> None:
        for asset in BATCH_ASSETS:
            self.made(asset, batch, version)

    def tick(self) -> set[tuple[str, str]]:
        # As the daemon does, and the function for tests does not: ask for the batches once a tick, not for each condition.
        known = self.instance.get_dynamic_partitions(BATCH)
        with mock.patch.object(self.instance, "get_dynamic_partitions", return_value=known):
            result = dg.evaluate_automation_conditions(DEFINITIONS, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return {
            (asset, p or "") for asset in GRAPH.steps for p in result.get_requested_partitions(MOUNT.asset_key(asset))
        }

    def settle(self, most: int = 12) -> list[set[tuple[str, str]]]:
        """Make whatever is asked for, with new content, until nothing is at two ticks in a row; what was asked for at each.

        Two, because a publication rests for one more tick after something upstream that may follow has changed.
        """
        asked: list[set[tuple[str, str]]] = []
        self.rounds += 1
        version, quiet = f"round {self.rounds}", 0
        for _ in range(most):
            wanted = self.tick()
            quiet = 0 if wanted else quiet + 1
            if quiet == 2:
                return asked
            if wanted:
                asked.append(wanted)
            for asset, partition in sorted(wanted, key=lambda cell: list(GRAPH.steps).index(cell[0])):
                self.made(asset, partition, version)
        raise AssertionError(f"never settles: {asked[-3:]}")


def cells(*assets: str, batch: str = "") -> set[tuple[str, str]]:
    return {(asset, batch) for asset in assets}


SUMS = (
    "embedding_health",
    "archive/redundancy/vae",
    "leaks",
    "view/redundancy/vae",
    "view/test_set",
    "view/worklist",
    "results",
    "report",
)


def once(asked: list[set[tuple[str, str]]]) -> set[tuple[str, str]]:
    """All cells of the ticks, each of which must have been asked for once."""
    in_turn = [cell for wanted in asked for cell in sorted(wanted)]
    assert len(in_turn) == len(set(in_turn)), in_turn
    return set(in_turn)


def test_event_by_event_exactly_the_affected_cells_are_asked_for() -> None:
    daemon = Daemon()

    # The first batch, before there is a VAE: its pool, and what is known is published.
    daemon.ingest("first")
    assert daemon.tick() == set(), "nothing before the batch is read"
    daemon.decode("first")
    assert once(daemon.settle()) == cells("view/pool", batch="first") | cells("view/test_set", "results", "report")

    # The VAE is trained: the batch is embedded and compared in one run, then summed up and published in another.
    daemon.made("vae_weights")
    asked = daemon.settle()
    assert asked[0] == cells("embeddings/vae", "archive/similarity/vae", "view/similarity/vae", batch="first")
    assert once(asked) == asked[0] | cells(*set(SUMS) - {"view/test_set"}), (
        "the test set has nothing to do with vectors"
    )

    # The batch is decoded again, and nothing is different.
    daemon.decode("first")
    assert daemon.settle() == []

    # A second batch: its own cells, the frames to be scored on, and no others; then the sums.
    daemon.ingest("second")
    daemon.decode("second")
    asked = daemon.settle()
    assert asked[0] == cells(*BY_BATCH, batch="second") | cells("view/test_set")
    assert once(asked) == asked[0] | cells(*SUMS)

    # A changed drop: the cells of its batch, then the sums.
    daemon.decode("first", version="changed")
    asked = daemon.settle()
    assert asked[0] == cells(*BY_BATCH, batch="first") | cells("view/test_set")
    assert once(asked) == asked[0] | cells(*SUMS)

    # Somebody trained a cell of the grid: comparison and publication, while all other cells are missing.
    daemon.made("view/enrich/evaluation", dg.MultiPartitionKey({"budget": "10", "seed": "0"}))
    assert once(daemon.settle()) == cells("view/comparison", "results", "report")

    # The VAE was trained again, on purpose: every batch is embedded and compared again.
    daemon.made("vae_weights", version="retrained")
    both = {
        cell
        for batch in ("first", "second")
        for cell in cells("embeddings/vae", "archive/similarity/vae", "view/similarity/vae", batch=batch)
    }
    assert once(daemon.settle()) == both | cells(*set(SUMS) - {"view/test_set"})


def test_a_vae_that_is_not_healthy_embeds_nothing() -> None:
    daemon = Daemon()
    daemon.ingest("first")
    daemon.decode("first")
    daemon.settle()
    daemon.made("vae_weights", version="collapsed", passed=False)
    assert not once(daemon.settle()) & cells("embeddings/vae", batch="first")


def test_nothing_of_the_training_grid_ever_follows_by_itself() -> None:
    by_hand = {asset for asset, step in GRAPH.steps.items() if step.automation is None}
    assert by_hand == {
        *BATCH_ASSETS,
        "vae_weights",
        *(
            f"{task}/{arm}/{what}"
            for task in TASKS
            for arm in ("enrich", "random", "all")
            for what in ("ranking", "subset", "model", "evaluation")
        ),
    }
