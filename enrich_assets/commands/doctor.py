"""`enrich doctor`: what a bug report needs to know of a machine and a home, and nothing of a patient."""

from __future__ import annotations

import sys

import click

from enrich_assets.commands.opening import Refusal, open_archive


@click.command()
def doctor() -> None:
    """Say what a bug report needs: versions, home, disk, GPU, ports and rights. It names no patient, file or label."""
    from enrich_assets.profiles import home
    from enrich_assets.running.upkeep.health import findings

    try:
        archive, refusal = open_archive(), ""
    except Refusal as error:
        archive, refusal = None, error.message
    troubles = [refusal] if refusal else []
    for line in findings(home(), archive):
        if line.is_trouble:
            troubles.append(f"{line.name}: {line.value}")
        click.echo(f"{line.name:<14} {line.value}")
    for trouble in troubles:
        click.echo(f"trouble: {trouble}")
    sys.exit(1 if troubles else 0)
