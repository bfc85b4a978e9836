"""The `enrich` command: what all its commands share. Each of them stands in `commands`, and none holds logic of its own."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, NoReturn

import click

from enrich_assets.commands import COMMANDS, STORY
from enrich_assets.commands.opening import EXIT_STATUS, Commands, say

SELDOM = 50_000  # objects more than before, until Python looks for cycles: a sixth of the time that Dagster takes to load went there
_warned: set[str] = set()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Each once, on one line: where in our code it was noticed tells the user nothing."""
    if str(message) in _warned:
        return
    _warned.add(str(message))
    say(f"{'note' if category.__module__.startswith('enrich_assets') else category.__name__}: {message}")


@click.group(
    cls=Commands,
    story=STORY,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=EXIT_STATUS,
)
@click.option(
    "--profile", metavar="NAME|FILE", help="demo, paper, archive, or a YAML file; without it home's enrich.yaml."
)
@click.option("--debug", is_flag=True, help="Show where in the program an error arose.")
@click.version_option(package_name="enrich-assets")
def main(profile: str | None, debug: bool) -> None:
    """Curate medical-image training sets: measure redundancy, rank frames, prove how few labels suffice.

    Home is ENRICH_HOME, or data/ where you stand.
    """
    from enrich_assets.profiles import RenamedSetting, is_file

    warnings.filterwarnings("ignore", module="dagster|mlflow|alembic|numba")
    warnings.filterwarnings("always", category=RenamedSetting)
    warnings.showwarning = _show_warning
    if profile:
        os.environ["ENRICH_PROFILE"] = str(Path(profile).resolve()) if is_file(profile) else profile


for _command in COMMANDS:
    main.add_command(_command)


def enrich() -> NoReturn:
    """The command as a shell starts it. What was promised at exit is done; then the process ends at once.

    Python would take all modules and objects apart before, more than a second of it after a look at a large home, and the
    threads of Arrow and DuckDB that still run meanwhile have been seen to abort the process.
    """
    gc.set_threshold(SELDOM)
    status: Any = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    if status is None or isinstance(status, int):
        threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends its processes
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BrokenPipeError):  # whoever read has seen enough
                stream.flush()
        os._exit(status or 0)
    sys.exit(status)


if __name__ == "__main__":
    enrich()
