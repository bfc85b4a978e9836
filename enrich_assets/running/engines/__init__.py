"""Engines: who executes groups of cells. This machine, or a Ray cluster; the profile's `engine` says which."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from enrich_assets.archive.home import Archive
from enrich_assets.defs.instance import cells_at_once
from enrich_assets.running.engines.local import InThisProcess, LocalEngine
from enrich_assets.running.engines.team import Engine, Lost, NoEngine, Team
from enrich_assets.settings import Profile, RayEngineSettings

__all__ = ["Engine", "InThisProcess", "LocalEngine", "Lost", "NoEngine", "Team", "engine_of", "slots_of"]


def engine_of(archive: Archive, instance: dg.DagsterInstance, say: Callable[[str], None]) -> Engine:
    """The engine that the archive's profile names. Nothing is started before its first team is asked for.

    Raises
    ------
    NoEngine
        If it cannot be had here.
    """
    settings = archive.profile.engine
    if isinstance(settings, RayEngineSettings):
        from enrich_assets.running.engines.on_ray import RayEngine  # an extra: `enrich-assets[ray]`

        return RayEngine(archive, instance, settings, say)
    return LocalEngine(archive, instance)


def slots_of(profile: Profile) -> int:
    """How many cells the profile's engine trains at once.

    Raises
    ------
    NoEngine
        If it cannot be asked: its cluster is not up.
    """
    if isinstance(profile.engine, RayEngineSettings):
        from enrich_assets.running.engines.on_ray import slots_of_cluster

        return slots_of_cluster(profile.engine, profile.workers)
    return cells_at_once(profile)
