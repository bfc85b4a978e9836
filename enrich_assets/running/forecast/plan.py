"""The plan of a run: its stages with what they make and cost, and the same as text."""

from __future__ import annotations

from dataclasses import dataclass, field

from enrich_assets.archive.home import Archive
from enrich_assets.archive.sides.summary import side_report
from enrich_assets.core.planner import Planner
from enrich_assets.core.stages import Goal, stages
from enrich_assets.core.step import Declared
from enrich_assets.core.uncollected import uncollected
from enrich_assets.defs.assets import graph_of
from enrich_assets.running.forecast.expected import Expected
from enrich_assets.running.forecast.prices import PlannedStage, priced
from enrich_assets.store.receipts import Cell


@dataclass
class Plan:
    """What a run would do.

    Parameters
    ----------
    stages
        Those in which something is made.
    notes
        Sentences for the user.
    blocked
        What cannot be made at all -> why.
    """

    stages: list[PlannedStage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    blocked: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Estimate over all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def cells(self) -> set[Cell]:
        """Every cell that a run would make."""
        return {cell for stage in self.stages for cell in stage.cells}


@uncollected()
def make_plan(archive: Archive, goal: Goal = Goal()) -> Plan:  # noqa: B008  (frozen)
    """What a run with this goal would make, stage by stage, and what it would cost.

    Some costs are measured here: a few training steps, a few blocks of pairs. Nothing is written.
    """
    expected = Expected(Planner(archive, graph_of(archive.profile)))
    plan = Plan()
    for stage in stages(expected, goal):
        by_task: dict[str, list[tuple[Declared, str]]] = {}
        for group in stage.groups:
            work = expected.work(group)
            for declared, verdict in work:  # at once: the panel of a batch reads what is pending of the batch before
                if not verdict.keeps:
                    expected.pending[declared.cell(group.partition)] = verdict.why
            if work:
                by_task.setdefault(group.task, []).extend((declared, group.partition) for declared, _ in work)
        plan.stages += [priced(expected, stage, task, members) for task, members in by_task.items()]
    plan.notes, plan.blocked = list(expected.notes), dict(expected.blocked)
    return plan


def plan_text(archive: Archive, goal: Goal = Goal()) -> str:  # noqa: B008  (frozen)
    """The plan as lines for a terminal."""
    if not archive.batches:
        return "no studies were ingested yet: `enrich ingest PATH`, or `enrich demo` for the built-in archive"
    plan = make_plan(archive, goal)
    sides = side_report(archive)
    notes = [f"  {note}" for note in plan.notes] + [f"  blocked: {what}: {why}" for what, why in plan.blocked.items()]
    if not plan.stages:
        return "\n".join(["everything is up to date: a run would do nothing", *notes, *sides])
    lines = [f"{'stage':34} {'assets':>7} {'seconds':>9}"]
    for stage in plan.stages:
        guess = "" if stage.is_measured or not stage.seconds else "  (a guess)"
        lines.append(f"{stage.name:34} {len(stage.cells):>7,} {stage.seconds:>9,.0f}  {stage.note}{guess}".rstrip())
    lines.append(f"{'in all about':34} {len(plan.cells):>7,} {plan.seconds:>9,.0f}")
    return "\n".join([*lines, *notes, *sides])
