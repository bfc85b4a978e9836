"""`enrich repair`: find what is missing or damaged, mend what can be mended, make the rest again, and say what cannot be had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from enrich_assets.archive.home import Archive
from enrich_assets.core.planner import Planner
from enrich_assets.core.stages import Goal
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.instance import open_instance
from enrich_assets.defs.mount import Mount
from enrich_assets.running.driver import Driver, Outcome
from enrich_assets.running.execution import fail_dead_runs
from enrich_assets.running.interrupts import Interrupts
from enrich_assets.running.upkeep.findings import (
    Finding,
    in_the_home,
    in_the_records,
    in_the_registers,
    in_the_store,
    of_the_key,
)

Say = Callable[[str], None]
MOST_ALIKE = 5  # named one by one of those with the same harm


@dataclass
class Repaired:
    """What a repair found and did.

    Parameters
    ----------
    found
        Everything that was missing or damaged.
    left
        What is so still: it cannot be mended here.
    outcome
        Of the run that made things again; None where none was needed.
    """

    found: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    outcome: Outcome | None = None


def repair(archive: Archive, say: Say, *, only_look: bool, interrupts: Interrupts | None = None) -> Repaired:
    """Bring a home back to what its receipts say. Call it under the home's run lock.

    Parameters
    ----------
    archive
        Of the profile that the home is run with.
    say
        Gets a line for each finding, and those of the run.
    only_look
        Change nothing.
    interrupts
        As of `Driver`.
    """
    repaired = Repaired()
    for stage in (in_the_home, in_the_registers, of_the_key):
        _deal(stage(archive), repaired, say, only_look)
    if any(finding.mend is None for finding in repaired.found if "batch.json" in finding.what):
        return repaired  # without the register nobody knows what should be there
    if only_look and repaired.found and not _may_open(archive):
        return repaired
    archive.look_again()
    planner = Planner(archive, graph_of(archive.profile))
    trains = any(key.endswith("/evaluation") and planner.held(key) for key in planner.graph.steps)
    _deal(in_the_store(archive, planner), repaired, say, only_look)
    with open_instance(archive) as instance:
        if not only_look:
            fail_dead_runs(instance, archive.mark)
        archive.store.receipts.refresh()
        _deal(in_the_records(archive, planner, instance, Mount()), repaired, say, only_look)
        if not only_look and any(finding.mend is not None for finding in repaired.found):
            archive.look_again()
            repaired.outcome = Driver(archive, instance, say, Goal(train=trains), interrupts=interrupts).run()
    return repaired


def _deal(findings: Iterator[Finding], repaired: Repaired, say: Say, only_look: bool) -> None:
    alike: Counter[tuple[str, str]] = Counter()
    for finding in list(findings):
        repaired.found.append(finding)
        alike[finding.harm, finding.remedy] += 1
        if alike[finding.harm, finding.remedy] <= MOST_ALIKE:
            say(f"  {finding}")
        if finding.mend is None:
            repaired.left.append(finding)
        elif not only_look:
            finding.mend()
    for (harm, _), count in alike.items():
        if count > MOST_ALIKE:
            say(f"  and {count - MOST_ALIKE} more: {harm}")


def _may_open(archive: Archive) -> bool:
    """Whether the databases can be opened as they are."""
    from enrich_assets.running.upkeep.databases import database_files, why_damaged

    return all(why_damaged(file) is None for file in database_files(archive))
