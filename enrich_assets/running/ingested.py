"""What `enrich ingest` says when it is done."""

from __future__ import annotations

from collections.abc import Iterator

from enrich_assets.archive.home import Archive
from enrich_assets.archive.ingest import Ingested
from enrich_assets.archive.sides.summary import side_report
from enrich_assets.method.kinds import kind_of
from enrich_assets.settings import did_you_mean
from enrich_assets.store.annotations import Annotations
from enrich_assets.studies.errors import listed
from enrich_assets.studies.manifest import label_columns
from enrich_assets.studies.sealed_paths import short_name

MOST_REFUSED = 20  # files named one by one


def ingested_lines(archive: Archive, found: Ingested) -> Iterator[str]:
    """What became of the files, who stands on which side now, and warnings."""
    held = found.batch
    yield from found.guesses
    if not found.is_new:
        yield f"nothing new: these files are batch {held.name}, received {held.received_at[:16]}"
        return
    known = f", {found.n_known} rows known from before" if found.n_known else ""
    refused = f", {found.n_refused} refused" if found.n_refused else ""
    yield f"batch {held.name}: {found.n_files} files{known}{refused}"
    for path, reason in archive.register.refused(held).head(MOST_REFUSED).itertuples(index=False):
        yield f"  refused {short_name(path)}: {reason}"
    if found.n_refused > MOST_REFUSED:
        yield f'  and {found.n_refused - MOST_REFUSED:,} more (after `enrich run`: enrich sql "FROM refused")'
    if not found.n_files:
        yield "nothing of it can be used as it is; correct it and ingest it again"
        return
    yield from side_report(archive, found.warnings)
    yield from unlabelled_lines(archive)


def unlabelled_lines(archive: Archive) -> Iterator[str]:
    """Tasks for whose labels no manifest has the column: a misspelling, or an archive that is still to be labelled."""
    columns = dict.fromkeys(
        column for batch in archive.pinned for column in label_columns(archive.register.rows(batch))
    )
    entries = Annotations(archive.store.folder).all()["task"]
    for name, task in archive.profile.tasks.items():
        if kind_of(task.kind).answers == "mask" or task.label in columns or (entries == name).any():
            continue
        others = [column for column in columns if column not in archive.profile.sites]
        if others:
            yield (
                f"warning: task {name} takes its labels from the column {task.label!r}, which no manifest has (there are: "
                f"{listed(others)}{did_you_mean(task.label, others)}): set tasks.{name}.label in the profile"
            )
        else:
            yield f"task {name} has no labels yet: after `enrich run --no-training`, `enrich worklist {name}` says what to label"
