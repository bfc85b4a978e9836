"""The league: embeddings x rules on several archives. The door: `run_league` runs what is missing, `league_text` writes the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from enrich_assets.running.league.homes import Design, archive_name, home_of, prepare, read_design, run_home
from enrich_assets.running.league.scores import Found, collect
from enrich_assets.running.league.text import league_text

__all__ = ["Design", "Found", "league_text", "read_design", "run_league"]


def run_league(
    design: Design,
    archives: Sequence[str],
    folder: Path,
    say: Callable[[str], None],
    *,
    see_labels: bool = False,
    only_read: bool = False,
) -> list[Found]:
    """Run every archive's home, and read what it holds then.

    Parameters
    ----------
    archives : sequence of str
        Whatever `enrich ingest` takes; `phantom` is the built-in one.
    folder : Path
        Where the homes lie, one for each archive.
    say : callable
        Gets lines while it works.
    see_labels : bool
        With the rules that see labels.
    only_read : bool
        Run nothing.

    Returns
    -------
    list of Found
        In the order of `archives`. An archive that failed does not stop the others.

    Raises
    ------
    ValueError
        When two archives have one name, or a home is not there; and as `enrich ingest`.
    """
    names = [archive_name(archive) for archive in archives]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two archives are called {twice[0]}: give them folders of different names")
    found = []
    for number, (name, archive) in enumerate(zip(names, archives, strict=True), 1):
        home = folder / name
        if not only_read:
            say(f"{name} ({number} of {len(names)})")
            prepare(design, archive, folder, see_labels=see_labels)
            if trouble := run_home(home, say):
                say(f"  {name}: {trouble}")
        if not (home / "enrich.yaml").exists():
            raise ValueError(f"{home} is not there: without --only-read it is made and run")
        found.append(collect(home_of(folder, name), design.sighted))
    return found
