"""Steps: one declaration per asset, from which follow its Dagster asset, its freshness and its place in `enrich run`.

A step says what it is made from (`inputs`), by which settings, and how (`make`). `make` gets a `Work` (the archive, the
cell, a draft to write into) and returns what is worth showing. It reads inputs, calls the method, writes the draft.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg

from enrich_assets.archive import Archive
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.progress import Advance, progress
from enrich_assets.store.artefacts import Draft
from enrich_assets.store.receipts import Cell, MissingArtefact, Receipt, digest_of

ONLY_STALE = "enrich/only_stale"  # run tag: a cell that is fresh hands out what it has
SECONDS = "seconds"


@dataclass
class Work:
    """What a step's body works with."""

    archive: Archive
    cell: Cell
    draft: Draft
    run_id: str
    previous: Receipt | None

    @property
    def partition(self) -> str:
        return self.cell.partition

    def receipt(self, asset: str, partition: str = "") -> Receipt:
        return self.archive.store.receipts.require(Cell(asset, partition))

    def saw(self, *assets: str) -> None:
        """Note for lineage that all batches of these assets were read, though only a part of them counts as an input."""
        self.draft.seen.update(per_batch(self.archive, *assets))

    def progress(self, what: str, unit: str = "") -> AbstractContextManager[Advance]:
        return progress(f"{self.cell}: {what}", unit)


@dataclass
class Made:
    """What came of it: figures for the receipt, metadata for the UI, results of checks, and the content's own name if it has one."""

    figures: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    checks: list[dg.AssetCheckResult] = field(default_factory=list)
    digest: str | None = None


@dataclass(frozen=True)
class Step:
    """One asset of the graph."""

    key: str
    partitions: dg.PartitionsDefinition | None
    inputs: Callable[[Archive, str], Mapping[str, str]]  # raises MissingArtefact while something upstream is missing
    make: Callable[[Work], Made]
    settings: Any  # JSON-able: what of the profile goes into it
    group: str
    kinds: tuple[str, ...]
    description: str
    deps: tuple[dg.AssetDep, ...] = ()
    checks: tuple[dg.AssetCheckSpec, ...] = ()
    version: int = 1  # of the code: raise it when the same inputs come to give something else
    renewed_by_inputs: bool = True  # False: made anew only when its settings change, or on purpose
    automation: dg.AutomationCondition | None = None
    pool: Literal["gpu"] | None = None

    @property
    def asset_key(self) -> dg.AssetKey:
        return dg.AssetKey(self.key.split("/"))

    @property
    def settings_digest(self) -> str:
        return digest_of([self.version, self.settings])

    def why_stale(self, archive: Archive, partition: str = "") -> str | None:
        """Why the cell must be made (again); None if it is fresh. Raises MissingArtefact if its inputs are not there."""
        inputs = dict(self.inputs(archive, partition))
        receipt = archive.store.receipts.current(Cell(self.key, partition))
        if receipt is None:
            return "never made"
        if receipt.settings != self.settings_digest:
            return "its settings changed"
        if self.renewed_by_inputs and receipt.inputs != inputs:
            changed = [k for k in inputs.keys() | receipt.inputs.keys() if inputs.get(k) != receipt.inputs.get(k)]
            return f"changed: {', '.join(sorted(changed)[:3])}"
        return None

    def materialise(
        self, archive: Archive, partition: str = "", *, run_id: str = "", only_stale: bool = False
    ) -> tuple[Receipt, Made]:
        """Make the cell and write its receipt."""
        cell = Cell(self.key, partition)
        previous = archive.store.receipts.current(cell)
        if only_stale and previous is not None and self.why_stale(archive, partition) is None:
            return previous, Made(checks=[_again(check) for check in previous.figures.get("checks", [])])
        draft = archive.store.draft(cell, settings=self.settings_digest, inputs=self.inputs(archive, partition))
        start = time.perf_counter()
        made = self.make(Work(archive, cell, draft, run_id, previous))
        made.figures.setdefault(SECONDS, round(time.perf_counter() - start, 3))
        if made.checks:
            made.figures["checks"] = [_kept(check) for check in made.checks]
        return draft.commit(run_id=run_id, digest=made.digest, **made.figures), made

    def definition(self) -> dg.AssetsDefinition:
        """The Dagster asset."""

        @dg.asset(
            key=self.asset_key,
            partitions_def=self.partitions,
            deps=list(self.deps),
            group_name=self.group,
            kinds=set(self.kinds),
            description=self.description,
            code_version=self.settings_digest[:12],
            check_specs=list(self.checks),
            automation_condition=self.automation,
            pool=self.pool,
        )
        def asset(context: dg.AssetExecutionContext, archive: ArchiveResource) -> dg.MaterializeResult:
            partition = context.partition_key if context.has_partition_key else ""
            only_stale = context.run.tags.get(ONLY_STALE) == "true"
            receipt, made = self.materialise(
                archive.open(), partition, run_id=context.run.run_id, only_stale=only_stale
            )
            return dg.MaterializeResult(
                data_version=dg.DataVersion(receipt.digest),
                metadata={**shown(receipt), **made.metadata},
                check_results=made.checks,
            )

        return asset


def _kept(check: dg.AssetCheckResult) -> dict[str, Any]:
    """A check's result as the receipt keeps it (and the table `checks` shows it)."""
    return {
        "name": check.check_name,
        "passed": check.passed,
        "severity": check.severity.value,
        "description": check.description or "",
    }


def _again(kept: Mapping[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=kept["name"],
        passed=kept["passed"],
        severity=dg.AssetCheckSeverity(kept["severity"]),
        description=kept["description"],
    )


def shown(receipt: Receipt) -> dict[str, Any]:
    """Metadata every asset has: how much it holds, what it weighs, what it is called by content."""
    figures = {name: value for name, value in receipt.figures.items() if isinstance(value, (int, float, str, bool))}
    return {**figures, "digest": receipt.digest, "files": len(receipt.files)}


def dep(key: str, mapping: dg.PartitionMapping | None = None) -> dg.AssetDep:
    return dg.AssetDep(dg.AssetKey(key.split("/")), partition_mapping=mapping)


def digests(archive: Archive, *cells: tuple[str, str]) -> dict[str, str]:
    """Inputs: str(cell) -> digest of what the cell holds now.

    Raises MissingArtefact for a cell that was never made, or that did not pass a blocking check: Dagster stops at such a
    check only within the run that made the cell, we stop in every later one too.
    """
    found = [archive.store.receipts.require(Cell(asset, partition)) for asset, partition in cells]
    for receipt in found:
        for check in receipt.figures.get("checks", []):
            if not check["passed"] and check["severity"] == dg.AssetCheckSeverity.ERROR.value:
                raise MissingArtefact(
                    f"{receipt.cell} did not pass its check {check['name']} ({check['description']}), so nothing is made of it"
                )
    return {str(receipt.cell): receipt.digest for receipt in found}


def per_batch(archive: Archive, *assets: str, upto: str | None = None) -> dict[str, str]:
    """Digests of assets over all batches, or the batches up to and including one."""
    names = archive.batches
    if upto is not None:
        names = names[: names.index(upto) + 1]
    return digests(archive, *((asset, batch) for asset in assets for batch in names))
