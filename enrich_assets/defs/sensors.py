"""Sensors: what arrives in `incoming/` becomes a batch and a run; automation conditions carry it on."""

import dagster as dg

from enrich_assets.defs.graph import Graph


def sensors(graph: Graph) -> list[dg.SensorDefinition]:
    return []
