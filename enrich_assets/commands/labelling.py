"""Frames handed out to be labelled, and labels that come back: `enrich worklist`, `enrich labels`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from enrich_assets.commands.completion import task_names
from enrich_assets.commands.opening import Refusal, open_archive, require_task


@click.command()
@click.argument("task", shell_complete=task_names)
@click.option("--budget", type=click.IntRange(1), required=True, help="How many frames to label.")
@click.option("--format", "form", type=click.Choice(["csv", "coco", "label-studio", "cvat"]), default="csv")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--force", is_flag=True, help="Replace FILE where it is there already.")
@click.option("--test-set", is_flag=True, help="From the test patients: which test frames to label.")
@click.option(
    "--classes", metavar="A,B", help="The classes to choose from, where neither profile nor labels name them."
)
def worklist(task: str, budget: int, form: str, out: Path, force: bool, test_set: bool, classes: str | None) -> None:
    """Write which unlabelled frames of TASK to label next, as a FILE with the frames' pictures beside it.

    What was imported since the last run counts as labelled. A model is only judged on labelled frames of test patients: `--test-set`
    says which of them to label.
    """
    from enrich_assets.archive.sides.summary import side_report
    from enrich_assets.running.labelling import NothingToLabel, hand_out
    from enrich_assets.store.receipts import MissingArtefact

    archive = open_archive()
    require_task(archive, task)
    if out.exists() and not force:
        raise Refusal(f"{out} is there already, and may hold labels: name another file, or replace it with --force")
    named = [name.strip() for name in (classes or "").split(",") if name.strip()]
    try:
        handed_out = hand_out(archive, task, budget, form, out, side="test" if test_set else "train", classes=named)
    except (MissingArtefact, NothingToLabel) as error:
        raise Refusal(str(error)) from error
    for line in (*handed_out.lines, *side_report(archive)):
        click.echo(line)


@click.group()
def labels() -> None:
    """Labels that came after the studies did."""


@labels.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--task", required=True, shell_complete=task_names)
def import_labels(file: str, task: str) -> None:
    """Import labels from a CSV, COCO, Label Studio or CVAT export. Nothing is overwritten; the latest label counts.

    Exit status 1 where any label could not be used: each is named, the others are imported.
    """
    from enrich_assets.archive.labelling.importing import import_labels as import_file
    from enrich_assets.running.labelling import imported_lines

    archive = open_archive()
    require_task(archive, task)
    try:
        found = import_file(archive, file, task)
    except (ValueError, LookupError) as error:
        raise Refusal(str(error)) from error
    for line in imported_lines(archive, task, found):
        click.echo(line)
    sys.exit(1 if len(found.refused) else 0)
