"""A task's frames in a dataset browser: `enrich explore`."""

from __future__ import annotations

import click

from enrich_assets.commands.completion import task_names
from enrich_assets.commands.opening import Refusal, open_archive, require_task, say


@click.command()
@click.argument("task", shell_complete=task_names)
@click.option(
    "--evaluation",
    metavar="ID",
    help="Whose errors to show; by default the model of most labels, chosen by the first arm.",
)
@click.option("--port", default=8001, show_default=True, help="On this machine alone.")
def explore(task: str, evaluation: str | None, port: int) -> None:
    """Open the frames of TASK in LightlyStudio: vectors plotted, rank, subsets, near-duplicates, and what a model got wrong.

    LightlyStudio has an environment of its own (`make explore`). Labels given there, and tags that are a class of the task, are written
    when it ends, for `enrich labels import`; other tags are shown again the next time.
    """
    from enrich_assets.running.exploring import BrowserTrouble, write_explorable
    from enrich_assets.running.exploring import explore as show
    from enrich_assets.running.exploring.browser import python_of_browser
    from enrich_assets.running.frames import UnknownFrames
    from enrich_assets.store.receipts import MissingArtefact

    archive = open_archive()
    require_task(archive, task)
    try:
        python_of_browser()
        shown = write_explorable(archive, task, evaluation)
        for line in (shown.title, *(f"  {line}" for line in shown.lines)):
            click.echo(line)
        given = show(shown, port, say)
    except (BrowserTrouble, UnknownFrames, MissingArtefact) as error:
        raise Refusal(str(error.args[0])) from error
    if given.n_labels:
        click.echo(f"{given.n_labels} labels were given: `enrich labels import {given.labels} --task {task}`")
    if given.tags:
        named = ", ".join(f"{name} ({n})" for name, n in given.tags.items())
        click.echo(f"tags, shown again the next time: {named}; in {given.labels.with_name('tags.json')}")
