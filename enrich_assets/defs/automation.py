"""Automation conditions: what follows by itself when a batch was ingested, and what never does.

By itself: embedding, pools and panels of the batches concerned; redundancy, worklists, comparisons, results and report.
Never: the VAE, rankings, subsets, models and scores; they are trained by schedule or by hand (`schedules.py`).

`AutomationCondition.eager()` asks for everything again after a re-run that changed nothing. Here a cell is asked for when the
content (data version) of something it is made from changed, once, and not while that is still being made.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from enrich_assets.defs.mount import Mount

Condition = dg.AutomationCondition[Any]
Automation = Callable[[Mount], Condition]

_changed = dg.AutomationCondition.data_version_changed()
_asked = dg.AutomationCondition.will_be_requested()
_busy = dg.AutomationCondition.in_progress()


def by_batch(*, healthy: str | None = None) -> Automation:
    """A cell of a batch: when it is missing, or what it is made from changed, and all of that is there.

    Parameters
    ----------
    healthy
        Key of an asset upstream whose blocking checks must have passed.
    """
    return lambda mount: _by_batch(mount, healthy)


def _by_batch(mount: Mount, healthy: str | None) -> Condition:
    condition = (
        _once(dg.AutomationCondition.newly_missing() | _upstream_changed())
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
    )
    if healthy is not None:
        passed = dg.AutomationCondition.all_checks_match(dg.AutomationCondition.check_passed(), blocking_only=True)
        condition &= dg.AutomationCondition.all_deps_match(passed).allow(
            dg.AssetSelection.assets(mount.asset_key(healthy))
        )
    return condition


def summary() -> Automation:
    """A sum over batches: when any of them changed, and every batch that was ingested is there and at rest.

    Of a worklist, what was concluded from scores may be missing: frames are labelled before anything is trained.
    """
    missing = dg.AutomationCondition.any_deps_missing().ignore(dg.AssetSelection.key_substring("/comparison"))
    return lambda mount: _once(_upstream_changed()) & ~missing & ~_upstream_moves()


def publication() -> Automation:
    """What is published: when anything in it changed and all of it is at rest. It waits for nothing that is missing.

    While a grid is being trained it rests; what the schedule publishes is not held up.
    """
    return lambda mount: _once(_upstream_changed()) & ~_upstream_moves()


def conclusion() -> Automation:
    """What follows from scores: when any of them changed, and all of it is at rest. Test frames that arrive change no score."""
    scores = dg.AssetSelection.key_substring("/evaluation")
    return lambda mount: _once(_upstream_changed().allow(scores)) & ~_upstream_moves()


def _once(trigger: Condition) -> Condition:
    """True from the trigger on, until the cell is asked for or made by anyone."""
    return trigger.since_last_handled() & ~_busy


def _upstream_changed() -> Any:
    """Other content upstream; or upstream is asked for now: then both go into one run, because starting one costs most."""
    return dg.AutomationCondition.any_deps_match(_changed | _asked)


def _upstream_moves() -> Condition:
    """Something it is made from is being made; or will be, because what *that* is made from moves or has just changed."""
    soon = dg.AutomationCondition.any_deps_match(_busy | _changed) & ~_changed & ~_asked
    return dg.AutomationCondition.any_deps_match(_busy | soon)
