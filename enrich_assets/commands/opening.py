"""A home opened for a command, and errors shown as sentences: a traceback helps nobody who ran out of disk."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from enrich_assets.archive import Archive


EXIT_STATUS = (
    "Exit status: 0 done; 1 something could not be done, and was named; 2 the command line is wrong; 130 stopped by Ctrl-C, "
    "143 by SIGTERM."
)


class Refusal(click.ClickException):
    """An error the user can mend: said in one line, without a traceback."""

    def show(self, file: Any = None) -> None:
        click.echo(f"enrich: {self.message}", err=True)


class Commands(click.Group):
    """The commands of `enrich`: what a user can mend is said in a sentence, whichever command meets it.

    Parameters
    ----------
    story
        Heading -> the commands below it, in the order in which `--help` lists them; the first paragraph of each, whole.
    """

    def __init__(self, *args: Any, story: Mapping[str, Sequence[click.Command]] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.story = story or {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their headings."""
        for heading, commands in self.story.items():
            with formatter.section(heading):
                formatter.write_dl([(str(command.name), first_paragraph(command)) for command in commands], col_max=14)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException:
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            say("enrich: stopped")
            sys.exit(130)
        except Exception as error:
            from enrich_assets.store.plain_errors import trouble

            sentence = trouble(error)
            if sentence is None or ctx.params.get("debug"):  # an error of ours: the traceback is what we need
                raise
            raise Refusal(sentence) from error


def first_paragraph(command: click.Command) -> str:
    """What a command does, as its help begins."""
    return " ".join((command.help or "").strip().partition("\n\n")[0].split())


def say(line: str) -> None:
    """A line for the user, beside the output."""
    click.echo(line, err=True)


def open_archive(*, of_any_layout: bool = False) -> Archive:
    """The archive of this environment. Raises Refusal."""
    from enrich_assets.archive import Archive, ForeignHome
    from enrich_assets.profiles import ProfileError, home, load_profile, profile_source

    try:
        if of_any_layout:
            return Archive(home(), load_profile(profile_source(home())))
        return Archive.open()
    except (ProfileError, ForeignHome) as error:
        raise Refusal(str(error)) from error


def require_profile(archive: Archive) -> None:
    """Say which profile is at work where it is another one than before; refuse where nobody chose it."""
    from enrich_assets.profiles import profile_source

    source = profile_source(archive.home)
    note = archive.profile_kept.require(source)
    if note is not None:
        say(note)
    archive.profile_kept.keep(archive.profile, source)


def require_task(archive: Archive, task: str) -> None:
    """Raises Refusal for a task that the profile does not have."""
    if task not in archive.profile.tasks:
        raise Refusal(f"{task!r} is no task of the profile; there are: {', '.join(archive.profile.tasks)}")
