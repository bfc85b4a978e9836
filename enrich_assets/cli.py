"""The `enrich` command. It reads options, calls the rest, and prints; it holds no logic of its own."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from enrich_assets.commands.league import league
from enrich_assets.commands.opening import Commands, Refusal, open_archive, say
from enrich_assets.commands.receiving import fetch, listen
from enrich_assets.commands.upkeep import key, migrate, open_name, repair

if TYPE_CHECKING:
    from enrich_assets.archive import Archive
    from enrich_assets.running.driver import Outcome


MOST_CELLS = 3  # cells named of those with the same reason
DEMO_PROFILE = "# This home's profile. Say here what shall differ from the demo's.\nextends: demo\n"
_warned: set[str] = set()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Each once, on one line: where in our code it was noticed tells the user nothing."""
    if str(message) in _warned:
        return
    _warned.add(str(message))
    say(f"{'note' if category.__module__.startswith('enrich_assets') else category.__name__}: {message}")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--profile", metavar="NAME|FILE", help="demo, paper, archive, or a YAML file; without it home's enrich.yaml."
)
@click.version_option(package_name="enrich-assets")
def main(profile: str | None) -> None:
    """Curate medical-image training sets: measure redundancy, rank frames, prove how few labels suffice.

    Home is ENRICH_HOME, or data/ where you stand.
    """
    from enrich_assets.profiles import RenamedSetting

    warnings.filterwarnings("ignore", module="dagster|mlflow|alembic|numba")
    warnings.filterwarnings("always", category=RenamedSetting)
    warnings.showwarning = _show_warning
    if profile:
        os.environ["ENRICH_PROFILE"] = str(Path(profile).resolve()) if Path(profile).suffix else profile


@main.command()
@click.argument("path", type=str)
@click.option("--batch", metavar="NAME", help="Name of the batch; without it batch-0001 and so on.")
def ingest(path: str, batch: str | None) -> None:
    """Ingest a manifest.csv or .parquet, a folder that holds one, or a folder of DICOM files."""
    _ingest(open_archive(), path, batch)
    click.echo("next: `enrich plan` says what it will cost, `enrich run` does it")


def _ingest(archive: Archive, path: str, batch: str | None) -> None:
    from enrich_assets.archive.ingest import ingest as ingest_studies
    from enrich_assets.running.ingested import ingested_lines
    from enrich_assets.studies.errors import ManifestError, UnreadableFile

    try:
        found = ingest_studies(archive, path if "://" in path else str(Path(path).resolve()), batch)
    except (ManifestError, UnreadableFile, FileNotFoundError, ValueError) as error:
        raise Refusal(str(error)) from error
    for line in ingested_lines(archive, found):
        click.echo(line)


@main.command()
@click.option("--task", help="Only this task's training grid.")
@click.option("--arm", help="Only this arm of it.")
@click.option("--no-training", is_flag=True, help="Decode, embed, compare, publish; leave rankings and models alone.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Trainings side by side (by default one on a GPU, else one per core, up to 8).",
)
@click.option("--retrain-vae", "refit", flag_value="vae", help="Train the VAE again on all that is there: --refit vae.")
@click.option(
    "--refit", metavar="EMBEDDING", help="Fit it (vae, pca) again on all that is there; what uses it follows."
)
@click.option(
    "--renew-length", is_flag=True, help="Find the number of training steps again; models follow if it moves."
)
def run(
    task: str | None, arm: str | None, no_training: bool, workers: int | None, refit: str | None, renew_length: bool
) -> None:
    """Bring everything that is missing or stale up to date. Interrupt it when you like: it continues where it stopped."""
    archive = open_archive()
    if workers is not None:
        archive.profile = archive.profile.model_copy(update={"workers": workers})
    _run(archive, task, arm, refit=refit, renew_length=renew_length, train=not no_training)


def _run(
    archive: Archive,
    task: str | None = None,
    arm: str | None = None,
    *,
    refit: str | None = None,
    renew_length: bool = False,
    train: bool = True,
) -> None:
    from filelock import FileLock, Timeout

    from enrich_assets.core.keys import fitted_assets
    from enrich_assets.core.stages import Goal
    from enrich_assets.defs.instance import open_instance
    from enrich_assets.running.driver import Driver
    from enrich_assets.running.interrupts import listening
    from enrich_assets.running.upkeep.databases import end_dead_runs
    from enrich_assets.running.upkeep.losses import losses
    from enrich_assets.store.receipts import Cell

    if not archive.batches:
        raise Refusal("no studies were ingested yet: `enrich ingest PATH`, or `enrich demo` for the built-in archive")
    fitted = [key.removesuffix("_weights") for key in fitted_assets(archive.profile)]
    for name, known in ((task, list(archive.profile.tasks)), (arm, _arms(archive)), (refit, fitted)):
        if name is not None and name not in known:
            raise Refusal(f"{name!r} is not in the profile; there are: {', '.join(known)}")
    lock = FileLock(str(archive.home / ".run.lock"))
    with listening(say) as interrupts:
        try:
            with lock.acquire(timeout=0), open_instance(archive) as instance:
                _require_profile(archive)
                end_dead_runs(archive, instance)
                again = [
                    f"{name}/training_length" for name in archive.profile.tasks if renew_length and task in (None, name)
                ]
                for key in [*again, *([f"{refit}_weights"] if refit is not None else [])]:
                    archive.store.receipts.forget(Cell(key))
                goal = Goal(task, arm, train)
                outcome = Driver(archive, instance, say, goal, interrupts=interrupts).run()
                outcome.blocked |= losses(archive, instance)
        except Timeout as error:
            raise Refusal(f"another `enrich run` is at work in {archive.home}; wait for it, or stop it") from error
        except BaseException as error:  # a second signal may end Dagster's own ending with another error
            if not (interrupts.heard() or isinstance(error, KeyboardInterrupt)):
                raise
            say("enrich: stopped; what is finished is kept, `enrich run` continues")
            sys.exit(interrupts.status)
    _conclude(archive, outcome)


def _require_profile(archive: Archive) -> None:
    """Say which profile is at work where it is another one than before; refuse where nobody chose it."""
    from enrich_assets.profiles import profile_source

    source = profile_source(archive.home)
    note = archive.profile_kept.require(source)
    if note is not None:
        say(note)
    archive.profile_kept.keep(archive.profile, source)


def _conclude(archive: Archive, outcome: Outcome) -> None:
    if not outcome.runs and not outcome.blocked:
        say("everything is up to date")
    elif outcome.runs:
        say(f"{outcome.made} assets made in {outcome.runs} runs, {outcome.seconds:.0f} s")
        if archive.published.exists():
            from enrich_assets.report.findings import FINDING_TABLES, closing_lines
            from enrich_assets.store.published import read_tables

            say("\n".join(closing_lines(read_tables(str(archive.published), FINDING_TABLES))))
    reasons: dict[str, list[str]] = {}
    for cell, why in {**outcome.blocked, **outcome.failed}.items():
        reasons.setdefault(why, []).append(cell)
    for why, cells in reasons.items():
        more = f" and {len(cells) - MOST_CELLS} more" if len(cells) > MOST_CELLS else ""
        say(f"  not made: {', '.join(cells[:MOST_CELLS])}{more}: {why}")
    if outcome.waiting:
        say(f"  and {outcome.waiting} cells that wait for these; `enrich run` continues once they are mended")
    if reasons:
        sys.exit(1)


def _arms(archive: Archive) -> list[str]:
    from enrich_assets.core.where import arms_of

    return sorted({arm for task in archive.profile.tasks.values() for arm in arms_of(task)})


@main.command()
def demo() -> None:
    """Write the built-in phantom archive, ingest it, and do everything: a few minutes on two cores."""
    from enrich_assets.profiles import home
    from enrich_assets.store.folder import Folder
    from enrich_assets.studies.phantom import write_phantom

    folder = home()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = folder / "enrich.yaml"
    if not own.exists() and os.environ.get("ENRICH_PROFILE", "demo") == "demo":
        Folder(str(folder)).write(own.name, DEMO_PROFILE.encode())
    archive = open_archive()
    phantom = folder / "phantom"
    if not (phantom / "manifest.csv").exists():
        say("writing the phantom archive (fetal echo, DICOM, video and stills) ...")
        settings = archive.profile.phantom
        write_phantom(str(phantom), seed=settings.seed, patients=settings.patients)
    _ingest(archive, str(phantom), "phantom")
    _run(archive)
    _show_results(archive)


def _show_results(archive: Archive) -> None:
    from enrich_assets.report.numbers import results_text
    from enrich_assets.store.published import query

    click.echo(results_text(query(str(archive.published), "SELECT * FROM evaluations WHERE current")))
    click.echo(
        "\nwhere to look next\n"  # nosec B608: words for the user
        f"  {archive.report}   figures and tables on one page\n"
        '  enrich sql "SELECT * FROM curves"   the database, in SQL\n'
        "  enrich lineage --all                from each number back to its frames\n"
        "  enrich ui                           Dagster and MLflow on localhost"
    )


@main.command()
@click.argument("statement")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table")
def sql(statement: str, form: str) -> None:
    """Query the published database."""
    from enrich_assets.store.published import format_rows, query

    archive = open_archive()
    if not archive.published.exists():
        raise Refusal(f"{archive.published} is not there yet: `enrich run` publishes it")
    try:
        click.echo(format_rows(query(str(archive.published), statement), form))
    except Exception as error:  # whatever DuckDB has to say about the statement
        raise Refusal(str(error)) from error


@main.command()
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


@main.command()
def plan() -> None:
    """What `enrich run` would do, and what it would cost: cells, pairs, bytes, seconds."""
    from enrich_assets.running.forecast import plan_text

    click.echo(plan_text(open_archive()))


@main.command()
@click.argument("task")
@click.option("--budget", type=click.IntRange(1), required=True, help="How many frames to label.")
@click.option("--format", "form", type=click.Choice(["csv", "coco", "label-studio", "cvat"]), default="csv")
@click.option("--out", type=click.Path(dir_okay=False), required=True)
@click.option("--test-set", is_flag=True, help="From the test patients: which test frames to label.")
def worklist(task: str, budget: int, form: str, out: str, test_set: bool) -> None:
    """Which unlabelled frames of TASK to label next; writes FILE and the frames' pictures beside it."""
    from enrich_assets.archive.catalogue import Catalogue
    from enrich_assets.archive.labelling.importing import Pictures
    from enrich_assets.archive.sides.summary import side_report
    from enrich_assets.method.kinds import kind_of
    from enrich_assets.running.labelling import label_next
    from enrich_assets.store.receipts import MissingArtefact
    from enrich_assets.studies.labels import export_worklist

    archive = open_archive()
    _require_task(archive, task)
    side = "test" if test_set else "train"
    try:
        rows, sentence = label_next(archive, task, budget, side)
        if rows.empty:
            raise Refusal(f"{task}: every {side} frame has a label already")
        classes = list(Catalogue(archive).classes(task))
        answers = kind_of(archive.profile.tasks[task].kind).answers
        export_worklist(rows, Pictures(archive, task, rows), form, out, classes, answers=answers)
    except MissingArtefact as error:
        raise Refusal(str(error)) from error
    click.echo(f"{len(rows)} frames to label: {out}")
    click.echo(sentence)
    for line in side_report(archive):
        click.echo(line)


@main.command("leave-out")
@click.argument("column")
@click.option("--site", "sites", multiple=True, help="Only this one; may be given several times.")
@click.option("--own-vae", is_flag=True, help="Train the VAE without the site, too.")
def leave_out(column: str, sites: tuple[str, ...], own_vae: bool) -> None:
    """Leave one site out: train without it and test on it, for each site that the manifests name in COLUMN."""
    from enrich_assets.running.leave_out import leave_out as run_each

    try:
        lines = run_each(open_archive(), column, sites, say, own_vae=own_vae)
    except ValueError as error:
        raise Refusal(str(error)) from error
    click.echo("\n".join(lines))


def _require_task(archive: Archive, task: str) -> None:
    if task not in archive.profile.tasks:
        raise Refusal(f"{task!r} is no task of the profile; there are: {', '.join(archive.profile.tasks)}")


@main.group()
def labels() -> None:
    """Labels that came after the studies did."""


@labels.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--task", required=True)
def import_labels(file: str, task: str) -> None:
    """Import labels from a CSV, COCO, Label Studio or CVAT export. Nothing is overwritten; the latest label counts."""
    from enrich_assets.archive.labelling.importing import import_labels as import_file

    archive = open_archive()
    _require_task(archive, task)
    try:
        found = import_file(archive, file, task)
    except (ValueError, LookupError) as error:
        raise Refusal(str(error)) from error
    click.echo(f"{found.n_imported} labels imported, {found.n_unchanged} as they were, {len(found.problems)} not used")
    for item, reason in found.problems.head(20).itertuples(index=False):
        click.echo(f"  {item}: {reason}")
    if found.n_imported:
        click.echo("next: `enrich run`")


@main.command()
@click.option("--yes", is_flag=True, help="Remove it; without this it is only listed.")
def prune(yes: bool) -> None:
    """Remove earlier versions that no current evaluation stands on, and what interrupted attempts left. Lists by default."""
    from filelock import FileLock, Timeout

    from enrich_assets.store.prune import prunable
    from enrich_assets.store.prune import prune as remove
    from enrich_assets.store.receipts import DamagedStore

    archive = open_archive()
    try:
        with FileLock(str(archive.home / ".run.lock")).acquire(timeout=0):
            found = prunable(archive.store)
            if yes:
                remove(archive.store, found)
    except Timeout as error:
        raise Refusal(f"an `enrich run` is at work in {archive.home}; prune when it is done") from error
    except DamagedStore as error:
        raise Refusal(str(error)) from error
    what = (
        f"{len(found.files):,} files, {found.n_bytes / 1e6:,.1f} MB, {found.n_receipts:,} receipts of earlier versions"
    )
    click.echo(f"removed: {what}" if yes else f"could be removed: {what}; `enrich prune --yes` does it")


@main.command()
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
    _require_profile(archive)
    with open_instance(archive) as instance, suppress(Timeout), FileLock(str(archive.home / ".run.lock"), timeout=0):
        end_dead_runs(archive, instance)
    sys.exit(serve(archive, port, mlflow_port, say))


for command in (listen, fetch, migrate, open_name, repair, key, league):
    main.add_command(command)


if __name__ == "__main__":
    main()
