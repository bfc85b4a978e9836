"""Labels as the next run will find them: those of the last run, with what was imported since laid over them."""

from __future__ import annotations

import pandas as pd

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.labels import Labels
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.annotations import Annotations


class LabelsSoFar:
    """What is known of the labels of each task right after an import, without a run.

    Parameters
    ----------
    catalogue
        Of the archive.

    Raises
    ------
    MissingArtefact
        If labels were never read.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.archive = catalogue.archive
        self.of_last_run: Labels = catalogue.labels()
        self._log = Annotations(self.archive.store.folder).all()

    def of_task(self, task: str) -> pd.DataFrame:
        """A row per labelled frame: `frame_id`, `label` (missing for masks)."""
        latest, settings = self._latest(task), self.archive.profile.tasks[task]
        usable = latest
        if kind_of(settings.kind).answers == "class":
            label = latest["label"].astype("string").str.strip()
            usable = latest[~label.isin(settings.ignore)]
            if settings.classes is not None:
                usable = usable[label[usable.index].isin(settings.classes)]
        before = self.of_last_run.of_task(task)[["frame_id", "label"]]
        before = before[~before["frame_id"].isin(latest["frame_id"])]
        return pd.concat([before, usable[["frame_id", "label"]]], ignore_index=True).astype({"label": "object"})

    def ignored(self, task: str) -> set[str]:
        """Frames that a labeller could not tell."""
        latest = self._latest(task)
        if kind_of(self.archive.profile.tasks[task].kind).answers == "mask":
            return self.of_last_run.ignored(task)
        could_not_tell = latest["label"].astype("string").str.strip().isin(self.archive.profile.tasks[task].ignore)
        said = set(latest["frame_id"])
        return (self.of_last_run.ignored(task) - said) | set(latest.loc[could_not_tell, "frame_id"])

    def classes(self, task: str) -> list[str]:
        """Class names: the profile's, else those of the labels so far, in alphabetical order; [] where there are none."""
        settings = self.archive.profile.tasks[task]
        kind = kind_of(settings.kind)
        if settings.classes is not None or kind.answers == "mask":
            return list(self.of_last_run.classes(task, settings).value)
        return list(kind.class_names(None, self.of_task(task)["label"].dropna().astype(str), 0))

    def _latest(self, task: str) -> pd.DataFrame:
        return self._log[self._log["task"] == task].drop_duplicates("frame_id", keep="last")
