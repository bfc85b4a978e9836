"""Making a cell: under its lock, from what it declares to read, into a receipt. Whoever makes it, the same happens here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from enrich_assets.core.planner import Inputs, Planner
from enrich_assets.core.step import CellContext, Check, CheckOutcome, Declared, Step, StepOutput
from enrich_assets.store.artefacts import Draft
from enrich_assets.store.receipts import Receipt, digest_of

SECONDS = "seconds"
Alive = Callable[[], None]


@dataclass
class Made:
    """What a call of `make` came to.

    Parameters
    ----------
    receipt
        Of the cell, as it stands now.
    metadata
        For the UI, by title.
    was_fresh
        True: nothing was done, the cell holds what it held.
    """

    receipt: Receipt
    metadata: dict[str, Any] = field(default_factory=dict)
    was_fresh: bool = False


def make(
    planner: Planner,
    declared: Declared,
    partition: str = "",
    *,
    run_id: str = "",
    only_stale: bool = False,
    alive: Alive = lambda: None,
) -> Made:
    """Make the cell, unless it is fresh and only stale ones are asked for, or another maker has just made it.

    Parameters
    ----------
    planner
        Of the archive, and of the batches the run works on.
    declared, partition
        The cell; partition is "" for an asset without partitions.
    run_id
        Dagster run that makes it, kept in the receipt.
    only_stale
        Leave a fresh cell as it is.
    alive
        Raises where the run was ended by somebody else, who may have handed the cell to another maker since: asked before anything of it
        becomes current.

    Returns
    -------
    Made
        The receipt, and what the UI shows.

    Raises
    ------
    MissingArtefact
        If something it reads is not there.
    Unsound
        If something it reads did not pass a blocking check.
    DamagedStore
        If a stored file it reads is gone or changed.
    """
    archive = planner.archive
    with archive.making(declared.cell(partition), run_id) as waited:
        archive.store.receipts.refresh()
        if (only_stale or waited) and _stands(planner, declared, partition):
            return Made(archive.store.receipts.require(declared.cell(partition)), was_fresh=True)
        inputs = planner.inputs(declared, partition)
        if isinstance(declared, Check):
            return _run_check(planner, declared, partition, inputs, run_id, alive)
        assert isinstance(declared, Step)
        try:
            return _run_step(planner, declared, partition, inputs, run_id, alive)
        except FileNotFoundError:  # of a draft: another machine, which no lock of ours reaches, has committed it
            archive.store.receipts.refresh()
            if archive.store.folder.is_local or not planner.verdict(declared, partition).is_fresh:
                raise
            return Made(archive.store.receipts.require(declared.cell(partition)), was_fresh=True)


def _stands(planner: Planner, declared: Declared, partition: str) -> bool:
    """Whether the cell is fresh; products that only this home lacks are fetched from where another one has put them."""
    verdict = planner.verdict(declared, partition)
    receipt = planner.receipts.current(declared.cell(partition))
    if verdict.is_fresh or receipt is None or not isinstance(declared, Step) or declared.product is None:
        return verdict.is_fresh
    products = planner.archive.products
    is_all = verdict.why == products.why_not_all_here(declared.products, receipt.digest)
    return is_all and all(products.fetch(name, receipt.digest) for name in declared.products)


def _run_step(planner: Planner, step: Step, partition: str, inputs: Inputs, run_id: str, alive: Alive) -> Made:
    archive, cell = planner.archive, step.cell(partition)
    draft = archive.store.draft(cell, settings=step.settings_digest, inputs=inputs.counted)
    draft.alive = alive
    context = CellContext(
        cell=cell,
        where=step.where,
        settings=step.settings,
        draft=draft,
        run_id=run_id,
        device=archive.profile.device,
        tracking=archive.tracking,
        product=str(archive.products.path(step.product)) if step.product else "",
        spread=archive.spread,
    )
    start = time.perf_counter()
    output: StepOutput = step.function(context, **planner.values(step, partition, inputs))
    draft.done()
    write_output(draft, output)
    unused = {str(cell) for name in output.unused for cell in inputs.by_read[name]}
    draft.read_from = {name: origin for name, origin in inputs.read.items() if name not in unused}
    metrics = {SECONDS: round(time.perf_counter() - start, 3), **output.metrics}
    receipt = draft.commit(run_id=run_id, digest=output.digest, **metrics)
    for name in step.products:
        archive.products.record(name, receipt.digest)
    return Made(receipt, dict(output.metadata))


def write_output(draft: Draft, output: StepOutput) -> None:
    """All that a step gives, into its draft; nothing counts before that is committed."""
    for name, table in output.tables.items():
        draft.table(name, table)
    for name, array in output.arrays.items():
        draft.array(name, array)
    for name, tensors in output.weights.items():
        draft.weights(name, tensors)
    for name, content in output.notes.items():
        draft.write(name, content, note=True)
    for name, table in output.note_tables.items():
        draft.table(name, table, note=True)


def _run_check(planner: Planner, check: Check, partition: str, inputs: Inputs, run_id: str, alive: Alive) -> Made:
    archive, cell = planner.archive, check.cell(partition)
    draft = archive.store.draft(cell, settings=check.settings_digest, inputs=inputs.counted)
    draft.alive = alive
    context = CellContext(cell, check.where, check.settings, draft, run_id, archive.profile.device, archive.tracking)
    outcome: CheckOutcome = check.function(context, **planner.values(check, partition, inputs))
    draft.read_from = inputs.read
    draft.done()
    facts = {"passed": bool(outcome.passed), "description": outcome.description}
    if outcome.table is not None and len(outcome.table):
        draft.table("examples", outcome.table, note=True)
    receipt = draft.commit(run_id=run_id, digest=digest_of(facts), blocking=check.blocking, **facts)
    return Made(receipt, {} if outcome.table is None else {"examples": outcome.table})
