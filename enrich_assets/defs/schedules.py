"""Schedules: republish weekly; train the grid anew only where the profile asks for it."""

import dagster as dg

from enrich_assets.defs.graph import Graph


def schedules(graph: Graph) -> list[dg.ScheduleDefinition]:
    return []
