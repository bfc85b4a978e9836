"""`enrich ingest`: studies brought into a home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from enrich_assets.commands.opening import Refusal, open_archive

if TYPE_CHECKING:
    from enrich_assets.archive import Archive


@click.command()
@click.argument("path", type=str)
@click.option("--batch", metavar="NAME", help="Name of the batch; without it batch-0001 and so on.")
@click.option(
    "--patient-from",
    metavar="folder|stem|REGEX",
    help="For a folder without a manifest: the patient is the first folder of a file's path, the file's name, or what a regular "
    "expression finds in the path (groups patient, study, clip, frame).",
)
@click.option(
    "--write-manifest",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Ingest nothing: write what --patient-from makes of the folder as a manifest, to be corrected.",
)
def ingest(path: str, batch: str | None, patient_from: str | None, write_manifest: Path | None) -> None:
    """Ingest studies as one batch: a manifest, a folder that holds one, a DICOM folder, or (--patient-from) any folder of media."""
    if write_manifest is not None:
        if patient_from is None:
            raise click.UsageError("--write-manifest goes with --patient-from")
        _write_manifest(path, patient_from, write_manifest)
        return
    ingest_into(open_archive(), path, batch, patient_from)
    click.echo("next: `enrich plan` says what it will cost, `enrich run` does it")


def ingest_into(archive: Archive, path: str, batch: str | None, patient_from: str | None = None) -> None:
    """Ingest and say what became of it. Raises Refusal."""
    from enrich_assets.archive.ingest import ingest as ingest_studies
    from enrich_assets.running.ingested import ingested_lines
    from enrich_assets.studies.errors import ManifestError, UnreadableFile
    from enrich_assets.studies.media_folder import PatientRule

    try:
        rule = PatientRule(patient_from) if patient_from is not None else None
        found = ingest_studies(archive, _place(path), batch, rule)
    except (ManifestError, UnreadableFile, FileNotFoundError, ValueError) as error:
        raise Refusal(str(error)) from error
    for line in ingested_lines(archive, found):
        click.echo(line)


def _write_manifest(path: str, patient_from: str, out: Path) -> None:
    from enrich_assets.archive.ingest import look_through
    from enrich_assets.method.kinds import kind_of
    from enrich_assets.studies.errors import ManifestError
    from enrich_assets.studies.media_folder import PatientRule, as_manifest, guess_lines

    if out.exists():
        raise Refusal(f"{out} is there already: name another file, or remove it")
    archive = open_archive()
    columns = {task.label: None for task in archive.profile.tasks.values() if kind_of(task.kind).answers == "class"}
    try:
        media = look_through(_place(path), PatientRule(patient_from))
        table = as_manifest(media, str(out.absolute().parent), tuple(columns))
    except (ManifestError, FileNotFoundError, ValueError) as error:
        raise Refusal(str(error)) from error
    table.to_csv(out, index=False)
    for line in guess_lines(media)[:-1]:
        click.echo(line)
    for refused, reason in media.refused.head(20).itertuples(index=False):
        click.echo(f"  left out {refused}: {reason}")
    click.echo(f"{len(table):,} rows: {out}\nnext: correct it, then `enrich ingest {out}`")


def _place(path: str) -> str:
    return path if "://" in path else str(Path(path).resolve())
