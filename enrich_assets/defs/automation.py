"""Automation conditions: what follows by itself when a batch has arrived, and what never does.

By itself: embedding, pools and panels of the batches concerned; redundancy, worklists, comparisons, results and report.
Never: the VAE, rankings, subsets, models and scores; they are trained by schedule or by hand (`schedules.py`).

`AutomationCondition.eager()` asks for everything again after a re-run that changed nothing. Here a cell is asked for when the
content (data version) of something it is made from changed, once, and not while that is still being made.
"""

import dagster as dg

Condition = dg.AutomationCondition[dg.AssetKey]

_changed = dg.AutomationCondition.data_version_changed()
_busy = dg.AutomationCondition.in_progress()


def _followed(trigger: Condition) -> Condition:
    """True from the trigger on, until the cell is asked for or made by anyone."""
    return trigger.since_last_handled() & ~dg.AutomationCondition.in_progress()


def by_batch(*, healthy: dg.AssetKey | None = None) -> Condition:
    """A cell of a batch: when it is missing, or what it is made from changed, and all of that is there.

    What is asked for together goes into one run (`will_be_requested`): starting a run costs more than a panel.
    healthy: an asset upstream whose blocking checks must have passed.
    """
    trigger = dg.AutomationCondition.newly_missing() | dg.AutomationCondition.any_deps_match(
        _changed | dg.AutomationCondition.will_be_requested()
    )
    condition = (
        _followed(trigger)
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
    )
    if healthy is not None:
        passed = dg.AutomationCondition.all_checks_match(
            dg.AutomationCondition.check_passed(), blocking_only=True
        )
        condition &= dg.AutomationCondition.all_deps_match(passed).allow(dg.AssetSelection.assets(healthy))
    return condition


def summary() -> Condition:
    """A sum over batches: when any of them changed, and every batch that has arrived is there."""
    return (
        _followed(dg.AutomationCondition.any_deps_match(_changed))
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~_deps_will_change()
    )


def publication() -> Condition:
    """What is published: when anything in it changed and nothing of it is on its way; it waits for nothing that is missing."""
    return (
        _followed(dg.AutomationCondition.any_deps_match(_changed))
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~_deps_will_change()
    )


def _deps_will_change() -> Condition:
    """Something upstream is asked for in this very moment, or made from what is being made."""
    soon = dg.AutomationCondition.will_be_requested() | dg.AutomationCondition.any_deps_match(
        _busy | dg.AutomationCondition.will_be_requested()
    )
    return dg.AutomationCondition.any_deps_match(soon)
