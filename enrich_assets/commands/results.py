"""Commands that read what was published: `enrich sql`, `lineage`."""

from __future__ import annotations

import sys

import click

from enrich_assets.commands.opening import Refusal, open_archive


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
