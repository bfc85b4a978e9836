"""`enrich league`: ways to choose, held against each other on several archives."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from enrich_assets.commands.opening import Refusal, say


@click.command()
@click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE...")
@click.option(
    "--design", required=True, type=click.Path(exists=True, dir_okay=False), help="What is fixed beforehand: YAML."
)
@click.option(
    "--out", type=click.Path(dir_okay=False), help="Write the results there (Markdown); without it they are printed."
)
@click.option("--see-labels", is_flag=True, help="With the rules that see labels.")
@click.option("--only-read", is_flag=True, help="Run nothing; write down what the homes hold.")
def league(archives: tuple[str, ...], design: str, out: str | None, see_labels: bool, only_read: bool) -> None:
    """Hold embeddings x rules against each other at small budgets, on every ARCHIVE (as `enrich ingest` takes it, or `phantom`).

    Each archive has a home of its own, ENRICH_HOME/league/NAME. What is there is not trained again.
    """
    from enrich_assets.profiles import home
    from enrich_assets.running.league import league_text, read_design, run_league

    try:
        fixed = read_design(design)
        found = run_league(fixed, archives, home() / "league", say, see_labels=see_labels, only_read=only_read)
    except (FileNotFoundError, ValueError) as error:
        raise Refusal(str(error)) from error
    text = league_text(fixed, found, heading=_heading(Path(design)))
    if out is None:
        click.echo(text, nl=False)
    else:
        Path(out).write_text(text, encoding="utf-8")
        click.echo(f"{len(found)} archives: {out}")
    sys.exit(0 if all(one.is_whole for one in found) else 1)


def _heading(design: Path) -> str:
    fixed = "\n".join(line.rstrip() for line in design.read_text(encoding="utf-8").splitlines())
    load = f"{os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else "not known"
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"# Results of the league\n\nWritten by `enrich league`, {now}, on {os.cpu_count()} cores ({platform.machine()}, "
        f"{platform.system()}), load {load}, Python "
        f"{platform.python_version()}. Do not edit: run it again.\n\n"
        f"Scores are means over the budgets, by seed; differences carry 95 % intervals over test patients and seeds; p is corrected (Holm) "
        f"over the arms of a task.\n\n## Fixed beforehand\n\n`{design.name}`:\n\n```yaml\n{fixed}\n```"
    )
