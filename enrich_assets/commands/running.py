"""Commands that compute: `enrich plan`, `run`, `demo`, `leave-out`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from enrich_assets.commands.ingesting import ingest_into
from enrich_assets.commands.opening import Refusal, open_archive, require_profile, say

if TYPE_CHECKING:
    from enrich_assets.archive import Archive
    from enrich_assets.running.driver import Outcome


MOST_CELLS = 3  # cells named of those with the same reason
DEMO_PROFILE = "# This home's profile. Say here what shall differ from the demo's.\nextends: demo\n"


@click.command()
def plan() -> None:
    """What `enrich run` would do, and what it would cost: cells, pairs, bytes, seconds."""
    from enrich_assets.running.forecast import plan_text

    click.echo(plan_text(open_archive()))


@click.command()
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
                require_profile(archive)
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


def _conclude(archive: Archive, outcome: Outcome) -> None:
    if not outcome.runs and not outcome.blocked:
        say("everything is up to date")
    elif outcome.runs:
        say(f"{outcome.made} assets made in {outcome.runs} runs, {outcome.seconds:.0f} s")
        if archive.published.exists():
            from enrich_assets.report.findings import FINDING_TABLES, closing_lines
            from enrich_assets.store.published import read_tables

            say("\n".join([*closing_lines(read_tables(str(archive.published), FINDING_TABLES)), *_to_look_at(archive)]))
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


def _to_look_at(archive: Archive) -> list[str]:
    """Where a reader goes from here."""
    from enrich_assets.store.published import query

    question = "SELECT path, reason FROM files WHERE status = 'refused'"
    refused = len(query(str(archive.published), question))
    lines = [f'{refused:,} files are refused: enrich sql "{question}"'] if refused else []
    return [*lines, f"the report: {archive.report}"]


def _arms(archive: Archive) -> list[str]:
    from enrich_assets.core.where import arms_of

    return sorted({arm for task in archive.profile.tasks.values() for arm in arms_of(task)})


@click.command()
def demo() -> None:
    """Write the built-in phantom archive, ingest it, and do everything: six to ten minutes on two cores."""
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
    ingest_into(archive, str(phantom), "phantom")
    _run(archive)
    _show_results(archive)


def _show_results(archive: Archive) -> None:
    from enrich_assets.report.numbers import results_text
    from enrich_assets.store.published import query

    click.echo(results_text(query(str(archive.published), "SELECT * FROM evaluations WHERE current")))
    click.echo(
        "\nwhere to look next\n"  # nosec B608: words for the user
        f"  {archive.report}   what was found, figures and tables; pictures, frames and checks beside it\n"
        '  enrich sql "SELECT * FROM curves"   the database, in SQL\n'
        "  enrich lineage --all                from each number back to its frames\n"
        "  enrich ui                           Dagster and MLflow on localhost"
    )


@click.command("leave-out")
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
