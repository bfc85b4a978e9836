"""A home opened for a command, and errors shown as sentences: a traceback helps nobody who ran out of disk."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from enrich_assets.archive import Archive


class Refusal(click.ClickException):
    """An error the user can mend: said in one line, without a traceback."""

    def show(self, file: Any = None) -> None:
        click.echo(f"enrich: {self.message}", err=True)


class Commands(click.Group):
    """The commands of `enrich`: what a user can mend is said in a sentence, whichever command meets it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            say("enrich: stopped")
            sys.exit(130)
        except Exception as error:
            from enrich_assets.store.plain_errors import trouble

            sentence = trouble(error)
            if sentence is None:  # an error of ours: the traceback is what we need
                raise
            raise Refusal(sentence) from error


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
