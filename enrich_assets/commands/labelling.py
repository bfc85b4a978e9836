"""Frames handed out to be labelled, and labels that come back: `enrich worklist`, `enrich labels`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from enrich_assets.commands.completion import task_names
from enrich_assets.commands.opening import Refusal, open_archive, require_task

if TYPE_CHECKING:
    from enrich_assets.archive import Archive


@click.command()
@click.argument("task", shell_complete=task_names)
@click.option("--budget", type=click.IntRange(1), required=True, help="How many frames to label.")
@click.option("--format", "form", type=click.Choice(["csv", "coco", "label-studio", "cvat"]), default="csv")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What to write; needed without --push.",
)
@click.option("--force", is_flag=True, help="Replace FILE where it is there already.")
@click.option("--test-set", is_flag=True, help="From the test patients: which test frames to label.")
@click.option(
    "--classes", metavar="A,B", help="The classes to choose from, where neither profile nor labels name them."
)
@click.option(
    "--push",
    metavar="URL",
    help="Put them into a project of this Label Studio server; its token is in LABEL_STUDIO_API_KEY.",
)
@click.option(
    "--project",
    type=int,
    metavar="NUMBER",
    help="With --push: an existing project, instead of one called after the task.",
)
@click.option(
    "--files-root",
    metavar="DIR",
    envvar="LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --push: the folder from where the server shows local files; by default that of FILE.",
)
@click.option(
    "--no-predictions", is_flag=True, help="With --push: lay no proposals of the latest model before the labeller."
)
def worklist(
    task: str,
    budget: int,
    form: str,
    out: Path | None,
    force: bool,
    test_set: bool,
    classes: str | None,
    **live: Any,
) -> None:
    """Write which unlabelled frames of TASK to label next, as a FILE with their pictures beside it, or push them to Label Studio.

    What was imported since the last run counts as labelled. A model is only judged on labelled frames of test patients: `--test-set`
    says which of them to label.
    """
    from enrich_assets.archive.sides.summary import side_report
    from enrich_assets.running.labelling import NothingToLabel, hand_out
    from enrich_assets.store.receipts import MissingArtefact

    archive = open_archive()
    require_task(archive, task)
    side = "test" if test_set else "train"
    if out is None and live["push"] is None:
        raise click.UsageError("name the file with --out, or a server with --push")
    if out is not None and out.exists() and not force:
        raise Refusal(f"{out} is there already, and may hold labels: name another file, or replace it with --force")
    named = [name.strip() for name in (classes or "").split(",") if name.strip()]
    try:
        if live["push"] is not None:
            lines = _pushed(archive, task, budget, side, out, named, **live)
        else:
            assert out is not None
            lines = list(hand_out(archive, task, budget, form, out, side=side, classes=named).lines)
    except (MissingArtefact, NothingToLabel) as error:
        raise Refusal(str(error)) from error
    for line in (*lines, *side_report(archive)):
        click.echo(line)


def _pushed(
    archive: Archive, task: str, budget: int, side: str, out: Path | None, classes: list[str], **live: Any
) -> list[str]:
    from enrich_assets.running.labelling.live import PULLED, push
    from enrich_assets.studies.labels.label_studio_server import LabelStudioServer, ServerTrouble

    if out is None:
        out = (live["files_root"] or archive.home / PULLED) / f"{task}-{side}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    try:
        server = LabelStudioServer(live["push"])
        handed_out, pushed = push(
            archive,
            server,
            task,
            budget,
            out,
            side=side,
            classes=classes,
            files_root=live["files_root"],
            project=live["project"],
            propose=not live["no_predictions"],
        )
    except ServerTrouble as error:
        raise Refusal(str(error)) from error
    known = f", {pushed.n_known} were there" if pushed.n_known else ""
    return [
        f"{pushed.n_new} frames to label in project {pushed.project}{known}: {pushed.page}",
        f"  their pictures are shown from {handed_out.images}",
        f"  afterwards: `enrich labels pull {live['push']} --task {task}{' --test-set' if side == 'test' else ''}`",
        handed_out.lines[-1],
    ]


@click.group()
def labels() -> None:
    """Labels that came after the studies did."""


@labels.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--task", required=True, shell_complete=task_names)
def import_labels(file: str, task: str) -> None:
    """Import labels from a CSV, COCO, Label Studio, CVAT or LightlyStudio export. Nothing is overwritten; the latest label counts.

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


@labels.command("pull")
@click.argument("url")
@click.option("--task", required=True, shell_complete=task_names)
@click.option("--project", type=int, metavar="NUMBER", help="Instead of the one called after the task.")
@click.option("--test-set", is_flag=True, help="From the project of the test frames.")
def pull_labels(url: str, task: str, project: int | None, test_set: bool) -> None:
    """Import what was labelled in a project of the Label Studio server at URL; its token is in LABEL_STUDIO_API_KEY."""
    from enrich_assets.running.labelling import imported_lines
    from enrich_assets.running.labelling.live import pull
    from enrich_assets.studies.labels.label_studio_server import LabelStudioServer, ServerTrouble

    archive = open_archive()
    require_task(archive, task)
    try:
        file, found = pull(archive, LabelStudioServer(url), task, "test" if test_set else "train", project)
    except (ServerTrouble, ValueError, LookupError) as error:
        raise Refusal(str(error)) from error
    for line in imported_lines(archive, task, found):
        click.echo(line)
    if found.n_imported:
        click.echo(f"  (kept: {file})")
    sys.exit(1 if len(found.refused) else 0)
