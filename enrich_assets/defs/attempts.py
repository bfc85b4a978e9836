"""What runs try: how often it was tried in vain, and which batches a run is at just now. Read from the runs' tags by the sensors."""

from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG

from enrich_assets.defs.mount import Mount

ATTEMPT_OF = "enrich/attempt_of"  # run tag: what a run tries; runs of the same are counted
# Run tags: a run that its maker began instead of that one; a run whose maker was given up, and whatever he may begin instead with it.
INSTEAD_OF, GIVEN_UP = "enrich/instead_of", "enrich/given_up"
MOST_ATTEMPTS = 3
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class RunEnded(RuntimeError):
    """Somebody has ended this run while we were at it."""


def require_alive(instance: dg.DagsterInstance, run_id: str) -> None:
    """The fence before a receipt is written: a process that was frozen, or cut off, may wake up when another has its work.

    Raises
    ------
    RunEnded
        If the run, or the one that its maker began before it for the same cells, was ended by somebody else.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.status not in UNFINISHED:
        state = "is gone" if run is None else f"was ended ({run.status.value.lower()})"
        raise RunEnded(
            f"run {run_id} {state} by somebody else meanwhile: nothing of it is kept, another run makes the cell"
        )
    first = instance.get_run_by_id(run.tags[INSTEAD_OF]) if INSTEAD_OF in run.tags else None
    if first is not None and GIVEN_UP in first.tags:
        raise RunEnded(f"the maker of run {run_id} was given up: nothing of it is kept, another run makes the cell")


@dataclass(frozen=True)
class Attempts:
    """How often something was tried by runs of the past."""

    going_on: bool
    ended: int  # in vain: had one of them done it, nobody would ask again

    @property
    def may_try(self) -> bool:
        """Nobody is at it, and the limit is not reached."""
        return not self.going_on and self.ended < MOST_ATTEMPTS

    @property
    def given_up(self) -> bool:
        """Nobody is at it, and nobody will be: the limit is reached."""
        return not self.going_on and self.ended >= MOST_ATTEMPTS


def attempts(instance: dg.DagsterInstance, what: str) -> Attempts:
    """How often something was tried.

    Parameters
    ----------
    instance
        Knows the runs.
    what
        A `Mount.tag`: value of the run tag `ATTEMPT_OF`.
    """
    runs = instance.get_runs(dg.RunsFilter(tags={ATTEMPT_OF: what}), limit=2 * MOST_ATTEMPTS)
    going_on = [run for run in runs if run.status in UNFINISHED]
    return Attempts(bool(going_on), len(runs) - len(going_on))


def batches_at_work(instance: dg.DagsterInstance, mount: Mount) -> set[str]:
    """Batches of which a run makes cells now. What is left to be made of them is known when it has ended: asked for
    before, the same cells would be made by two runs, under two names, because each cell that is made changes what is left.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    return {run.tags[PARTITION_NAME_TAG] for run in runs if PARTITION_NAME_TAG in run.tags and _is_of(run, mount)}


def _is_of(run: dg.DagsterRun, mount: Mount) -> bool:
    """Whether a run may be one of this archive's; without a prefix we cannot tell, and wait."""
    keys = run.asset_selection or ()
    return run.job_name.startswith(mount.name("")) or any(key.path[0] == mount.prefix for key in keys)


def run_key(what: str, tried: Attempts) -> str:
    """A run key of its own for each attempt: Dagster drops a request whose key it has seen."""
    return f"{what}-{tried.ended + 1}"
