"""What `enrich worklist` asks for: the next frames of any number, and what their labels are expected to add."""

from __future__ import annotations

import pandas as pd

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.curation import Evaluations, current_evaluations
from enrich_assets.archive.home import Archive
from enrich_assets.archive.labelling.worklist import advice, next_frames
from enrich_assets.archive.sides.sites import with_site
from enrich_assets.archive.values import Value
from enrich_assets.core.planner import Planner
from enrich_assets.core.where import arms_of
from enrich_assets.defs.assets import graph_of


def label_next(archive: Archive, task: str, n: int, side: str) -> tuple[pd.DataFrame, str]:
    """What to label next, and what that is expected to add.

    Parameters
    ----------
    archive, task
        Whose frames.
    n
        How many.
    side
        train or test.

    Returns
    -------
    frames : pandas.DataFrame
        Columns of `archive.labelling.worklist.COLUMNS`, the first to label first.
    advice : str
        A sentence or two.

    Raises
    ------
    MissingArtefact
        If frames, labels or vectors were not made yet.
    """
    catalogue, settings = Catalogue(archive), archive.profile.tasks[task]
    frames, labels = catalogue.frame_table(), catalogue.labels()
    if settings.quota_per_site is not None:
        manifests = pd.concat([archive.register.rows(batch) for batch in archive.pinned], ignore_index=True)
        frames = with_site(frames, manifests, archive.profile)
    rows = next_frames(task, settings, n, frames, labels, catalogue.vectors(), side=side)
    concluded = Value(archive.store, Planner(archive, graph_of(archive.profile)).held(f"{task}/comparison"))
    return rows, advice(task, settings, n, frames, labels, evaluations_of(archive, task).table(), concluded)


def evaluations_of(archive: Archive, task: str) -> Evaluations:
    """The evaluations of a task that hold for the subsets of today."""
    planner = Planner(archive, graph_of(archive.profile))
    arms = arms_of(archive.profile.tasks[task])
    held = {
        asset: {arm: Value(archive.store, planner.held(f"{task}/{arm}/{asset}")) for arm in arms}
        for asset in ("evaluation", "subset")
    }
    return current_evaluations(held["evaluation"], held["subset"])
