"""Pages on this machine, until interrupted: `enrich ui`."""

from __future__ import annotations

import sys
from contextlib import suppress

import click

from enrich_assets.commands.opening import open_archive, require_profile, say


@click.command()
@click.option("--port", default=3000, show_default=True, help="Dagster's.")
@click.option("--mlflow-port", default=5000, show_default=True, help="MLflow's.")
def ui(port: int, mlflow_port: int) -> None:
    """Dagster and MLflow on localhost, until interrupted."""
    from filelock import FileLock, Timeout

    from enrich_assets.defs.instance import open_instance
    from enrich_assets.running.servers import serve
    from enrich_assets.running.upkeep.databases import end_dead_runs

    archive = open_archive()
    archive.make_home()
    require_profile(archive)
    with open_instance(archive) as instance, suppress(Timeout), FileLock(str(archive.home / ".run.lock"), timeout=0):
        end_dead_runs(archive, instance)
    sys.exit(serve(archive, port, mlflow_port, say))
