"""Commands that keep a home whole: `enrich repair`, `enrich migrate`, the copies of its key, and what the key opens."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from enrich_assets.commands.opening import Refusal, open_archive, say

KEY_ADVICE = (
    "keep it away from the home: whoever holds both can name the patients, and a home without it cannot be gone on with"
)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what is missing or damaged.")
def repair(dry_run: bool) -> None:
    """Find what is missing or damaged in this home, make it again, and say what cannot be."""
    from filelock import FileLock, Timeout

    from enrich_assets.archive.profile_kept import ProfileKept
    from enrich_assets.profiles import home
    from enrich_assets.running.interrupts import listening
    from enrich_assets.running.upkeep.repair import repair as mend

    kept = ProfileKept(home())
    if kept.lost_text is not None and not dry_run and not os.environ.get("ENRICH_PROFILE"):
        kept.restore()
        say(f"  {home() / 'enrich.yaml'}: was gone; its last state was kept and is put back")
    archive = open_archive(of_any_layout=True)
    if not archive.home.is_dir():
        raise Refusal(f"{archive.home} is not there: nothing to repair")
    with listening(say) as interrupts:
        try:
            with FileLock(str(archive.home / ".run.lock")).acquire(timeout=0):
                repaired = mend(archive, say, only_look=dry_run, interrupts=interrupts)
        except Timeout as error:
            raise Refusal(f"an `enrich run` is at work in {archive.home}; repair when it is done") from error
        except BaseException as error:
            if not (interrupts.heard() or isinstance(error, KeyboardInterrupt)):
                raise
            say("enrich: stopped; `enrich repair` continues")
            sys.exit(interrupts.status)
    mended = len(repaired.found) - len(repaired.left)
    if not repaired.found:
        say("nothing is missing or damaged")
    else:
        say(f"{mended} {'can be' if dry_run else 'were'} mended, {len(repaired.left)} cannot be here")
    troubles = {**repaired.outcome.failed, **repaired.outcome.blocked} if repaired.outcome is not None else {}
    for cell, why in troubles.items():
        say(f"  not made: {cell}: {why}")
    sys.exit(1 if troubles or repaired.left or (dry_run and repaired.found) else 0)


@click.group()
def key() -> None:
    """The key under which patients and paths of DICOM folders are known. Without it they cannot be known again."""


@key.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Copy the key to FILE, which must not be there yet."""
    try:
        seen = open_archive().key.backup(file)
    except FileExistsError as error:
        raise Refusal(f"{file} is there already and holds something else: name another file") from error
    except FileNotFoundError as error:
        raise Refusal(str(error)) from error
    click.echo(f"key {seen} copied to {file}; {KEY_ADVICE}")


@key.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Put the key back from FILE. It must be the one that batches of this home were ingested with."""
    try:
        seen = open_archive().key.restore(file)
    except ValueError as error:
        raise Refusal(f"{file} holds no key") from error
    click.echo(f"key {seen} is in place")


@key.command("show-fingerprint")
def show_fingerprint() -> None:
    """Which key this home has: a few digits that tell keys apart, and say nothing of them."""
    try:
        click.echo(open_archive().key.fingerprint())
    except FileNotFoundError as error:
        raise Refusal(str(error)) from error


@click.command("open-name")
@click.argument("name")
def open_name(name: str) -> None:
    """Where a file of a DICOM folder lies, by the NAME (F...) that stands for its own. Needs the key of this home."""
    from enrich_assets.archive.sources import addresses_called

    try:
        click.echo("\n".join(addresses_called(open_archive(), name)))
    except LookupError as error:
        raise Refusal(str(error.args[0])) from error


@click.command()
@click.argument("before", metavar="FROM")
@click.argument("after", metavar="TO")
def relocate(before: str, after: str) -> None:
    """Look for source files below TO that were ingested below FROM: for an archive, or a home, that moved to another place.

    Nothing is made again; tables keep the paths of old. The files are looked for, and some of them compared.
    """
    from enrich_assets.archive.sources import relocate as look_elsewhere

    old, new = (place if "://" in place else str(Path(place).resolve()) for place in (before, after))
    try:
        found = look_elsewhere(open_archive(), old, new)
    except LookupError as error:
        raise Refusal(str(error.args[0])) from error
    click.echo(
        f"{found.n_there:,} of {found.n_files:,} files are there; {found.n_compared:,} were compared, all as they were ingested"
    )
    if found.n_there < found.n_files:
        click.echo(
            f"  {found.n_files - found.n_there:,} are not there: copy them, too (`enrich lineage --all` names what is gone)"
        )


@click.command()
def migrate() -> None:
    """Bring a home that an earlier version wrote to this one's layout. What can be computed again is set aside."""
    from enrich_assets.archive.migrate import migrate as bring

    archive = open_archive(of_any_layout=True)
    try:
        found = bring(archive)
    except ValueError as error:
        raise Refusal(str(error)) from error
    click.echo(f"{found.n_batches} batches and {found.n_drops} drops kept; next: `enrich run` computes the rest again")


@click.command()
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
