"""From a profile to the Definitions object: assets, jobs, sensors and schedules, with the resource they share."""

import dagster as dg

from enrich_assets.defs.graph import Graph
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.settings import Profile


def build_definitions(profile: Profile, archive: ArchiveResource | None = None) -> dg.Definitions:
    """Everything Dagster sees. `archive` swaps the world for a test."""
    from enrich_assets.defs.jobs import jobs
    from enrich_assets.defs.schedules import schedules
    from enrich_assets.defs.sensors import sensors

    graph = Graph(profile)
    return dg.Definitions(
        assets=[step.definition() for step in graph.steps.values()],
        jobs=jobs(graph),
        schedules=schedules(graph),
        sensors=sensors(graph),
        resources={"archive": archive or ArchiveResource()},
        executor=dg.in_process_executor,
    )
