"""Commands that read what was published: `enrich sql`, `lineage`, `frames`, `export`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from enrich_assets.commands.completion import task_names
from enrich_assets.commands.opening import Refusal, open_archive, require_task


@click.command()
@click.argument("statement")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table")
def sql(statement: str, form: str) -> None:
    """Query the published database."""
    from enrich_assets.store.published import format_rows, query

    archive = open_archive()
    if not archive.published.exists() and not archive.products.fetch(archive.published.name):
        raise Refusal(f"{archive.published} is not there yet: `enrich run` publishes it")
    try:
        click.echo(format_rows(query(str(archive.published), statement), form))
    except Exception as error:  # whatever DuckDB has to say about the statement
        raise Refusal(str(error)) from error


@click.command()
@click.argument("evaluation_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every evaluation, current or not.")
def lineage(evaluation_id: str | None, everything: bool) -> None:
    """Walk from a number back to its frames and files, computing each digest again."""
    from enrich_assets.running.lineage import report_lineage

    if (evaluation_id is None) == (not everything):
        raise Refusal('name one EVALUATION_ID (see `enrich sql "SELECT evaluation_id FROM evaluations"`), or --all')
    try:
        whole = report_lineage(open_archive(), evaluation_id, click.echo)
    except LookupError as error:
        raise Refusal(str(error.args[0])) from error
    sys.exit(0 if whole else 1)


@click.command()
@click.argument("name", metavar="EVALUATION_ID|SUBSET_ID")
@click.option(
    "--out",
    metavar="DIR|FILE",
    type=click.Path(path_type=Path),
    help="A page (.html), a table (.csv, .parquet), or a new folder of pictures; without it they are listed.",
)
def frames(name: str, out: Path | None) -> None:
    """Show exactly the frames behind a number: of an evaluation, or of a subset. The first letters of its id will do."""
    from enrich_assets.running.frames import UnknownFrames, chosen_by, show
    from enrich_assets.store.published import format_rows

    archive = open_archive()
    try:
        chosen = chosen_by(archive, name)
        written = show(archive, chosen, out) if out is not None else ""
    except (UnknownFrames, FileExistsError, LookupError) as error:
        raise Refusal(str(error.args[0])) from error
    click.echo(chosen.title)
    for note in chosen.notes:
        click.echo(f"  {note}")
    if written:
        click.echo(written)
    else:
        click.echo(format_rows(chosen.table[["position", "frame_id", "patient_id", "label"]], "table"))


@click.command()
@click.argument("name", metavar="EVALUATION_ID|SUBSET_ID|worklist")
@click.option(
    "--format", "form", type=click.Choice(["folder", "coco", "yolo", "csv", "parquet", "monai"]), default="folder"
)
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--task", shell_complete=task_names, help="With `worklist`: whose.")
@click.option("--with-test-set", is_flag=True, help="With the labelled test frames of the task, as split `test`.")
@click.option("--whole", is_flag=True, help="Whole pictures from the source files, instead of what the model sees.")
@click.option(
    "--drop-near-duplicates",
    type=float,
    metavar="COSINE",
    help="Leave out what is nearly the same as a frame before it: 0.98.",
)
@click.option("--licence", default="", metavar="TEXT", help="Under which they may be used; goes into LICENCE.txt.")
def export(
    name: str,
    form: str,
    out: Path,
    task: str | None,
    with_test_set: bool,
    whole: bool,
    drop_near_duplicates: float | None,
    licence: str,
) -> None:
    """Take frames away as a dataset: class folders, COCO, YOLO, MONAI or a plain table, with notes of where they came from."""
    from enrich_assets.running import frames as of_frames

    archive = open_archive()
    if (name == "worklist") != (task is not None):
        raise click.UsageError("--task goes with `worklist`, and `worklist` with --task")
    try:
        if task is not None:
            require_task(archive, task)
            chosen = of_frames.of_worklist(archive, task)
        else:
            chosen = of_frames.chosen_by(archive, name)
        if drop_near_duplicates is not None:
            chosen = of_frames.without_near_duplicates(archive, chosen, drop_near_duplicates)
        if with_test_set:
            chosen = of_frames.with_test_set(archive, chosen)
        written = of_frames.export(archive, chosen, form, out, whole=whole, licence=licence)
    except (of_frames.UnknownFrames, FileExistsError, LookupError) as error:
        raise Refusal(str(error.args[0])) from error
    click.echo(chosen.title)
    for note in chosen.notes:
        click.echo(f"  {note}")
    click.echo(written)
