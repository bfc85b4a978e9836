"""`enrich completion`: what a shell needs to complete commands, options, and the tasks of a profile."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which bash, zsh or fish complete `enrich`.

    For bash, put `eval "$(enrich completion bash)"` into ~/.bashrc; for zsh, the same with zsh into ~/.zshrc.
    """
    of_shell = get_completion_class(shell)
    assert of_shell is not None
    click.echo(of_shell(ctx.find_root().command, {}, "enrich", "_ENRICH_COMPLETE").source())


def task_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The tasks of the profile at work that begin as typed; none where the profile cannot be read."""
    from enrich_assets.profiles import ProfileError, home, load_profile, profile_source

    try:
        tasks = load_profile(profile_source(home())).tasks
    except (ProfileError, OSError):
        return []
    return [CompletionItem(name) for name in tasks if name.startswith(incomplete)]
