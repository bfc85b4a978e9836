"""What a run says of a group it made: where it stands, the one number a reader waits for, and how long the rest will take."""

from __future__ import annotations

from dataclasses import dataclass

from enrich_assets.core.planner import Planner
from enrich_assets.core.stages import Group, Work
from enrich_assets.core.step import Check, Declared
from enrich_assets.method.kinds import kind_of
from enrich_assets.running.execution import Executed
from enrich_assets.store.receipts import Cell, Receipt


@dataclass(frozen=True)
class Standing:
    """How far a stage is.

    Parameters
    ----------
    number, total
        The group that was just made, of how many.
    running
        Groups that somebody is at.
    left
        Seconds that the rest will take.
    """

    number: int
    total: int
    running: int
    left: float


def group_line(planner: Planner, group: Group, work: Work, executed: Executed, standing: Standing) -> str:
    """What a run says of a group it made.

    `[3/29] view training 100 frames, seed 0: enrich AUC 0.873  4.3 s, about 2 min left in this stage`

    Parameters
    ----------
    planner
        Knows the receipts.
    group, work
        The group, and which of its members were made.
    executed
        What came of it.
    standing
        How far the stage is.
    """
    partition = group.partition.replace("|", " frames, seed ")
    where = " ".join(part for part in (group.task, group.stage, partition) if part)
    headlines = [headline(planner, declared, group.partition) for declared, _ in work]
    line = f"[{standing.number}/{standing.total}] {where}: {', '.join(filter(None, headlines)) or 'done'}  {executed.seconds:.1f} s"
    if executed.node:
        line += f" on {executed.node}"
    if standing.number != standing.total:
        line += f", about {duration(standing.left)} left in this stage"
        if executed.node:
            line += f" ({standing.running} running, {standing.total - standing.number - standing.running} waiting)"
    return line + "".join(f"\n    failed: {cell}: {why}" for cell, why in executed.failed.items())


def headline(planner: Planner, declared: Declared, partition: str) -> str:
    """The one number of a cell that a reader waits for; '' where there is none."""
    receipt = planner.receipts.current(Cell(declared.key, partition))
    writer = HEADLINES.get(declared.name)
    if receipt is None or writer is None or isinstance(declared, Check):
        return ""
    return writer(planner, declared, receipt)


def _evaluation(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    label = kind_of(receipt.metrics["kind"]).metric_label
    return f"{declared.where.arm} {label} {receipt.metrics['value']:.3f}"


def _frames(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    metrics = receipt.metrics
    names = {"files_refused": "files refused", "files_with_warnings": "files read with a warning"}
    odd = [f", {metrics[key]:,} {words}" for key, words in names.items() if metrics.get(key)]
    return f"{metrics['frames']:,} frames of {metrics['clips']:,} clips" + "".join(odd)


def _labels(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    sentences = []
    for task in planner.archive.profile.tasks:
        count = receipt.metrics.get(f"problems_{task}", 0)
        if count:
            first = planner.archive.store.table(receipt, f"{task}_problems").iloc[0]
            sentences.append(
                f"{count:,} labels not usable for {task} ({first['item']}: {first['reason']}; table label_problems)"
            )
    return ", ".join(sentences)


def _vae(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    health = planner.receipts.current(Cell("vae_weights@health"))
    state = "" if health is None else ", healthy" if health.metrics["passed"] else ", NOT healthy"
    return f"trained on {receipt.metrics['train_frames']:,} frames{state}"


def _embedding_health(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    return ", ".join(f"{name} {verdict}" for name, verdict in receipt.metrics["verdicts"].items())


def _similarity(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    by = f" by {declared.where.embedding}" if len(planner.archive.profile.embeddings) > 1 else ""
    return f"{declared.where.task or 'archive'} {receipt.metrics['pairs']:,} pairs{by}"


def _redundancy(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    estimated = " (estimated)" if receipt.metrics["is_estimate"] else ""
    by = f" by {declared.where.embedding}" if len(planner.archive.profile.embeddings) > 1 else ""
    return f"{receipt.metrics['share_over_0.9']:.1%} of pairs over 0.9{by}{estimated}"


def _leaks(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    metrics = receipt.metrics
    return (
        f"{metrics['across_split']:,} pairs across the split, {metrics['labels_conflict']:,} with contradicting labels"
    )


def _ranking(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    return f"{declared.where.arm} {receipt.metrics['frames']:,} frames"


def _length(planner: Planner, declared: Declared, receipt: Receipt) -> str:
    end = "" if receipt.metrics["stopped"] else " (the bound: still improving)"
    return f"{receipt.metrics['steps']:,} steps for every model{end}"


HEADLINES = {
    "training_length": _length,
    "evaluation": _evaluation,
    "frames": _frames,
    "labels": _labels,
    "vae_weights": _vae,
    "embedding_health": _embedding_health,
    "similarity": _similarity,
    "redundancy": _redundancy,
    "leaks": _leaks,
    "ranking": _ranking,
}


def duration(seconds: float) -> str:
    """Seconds, minutes or hours in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
