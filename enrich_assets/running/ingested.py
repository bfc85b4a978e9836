"""What `enrich ingest` says when it is done."""

from __future__ import annotations

from collections.abc import Iterator

from enrich_assets.archive.home import Archive
from enrich_assets.archive.ingest import Ingested
from enrich_assets.archive.sides.summary import side_report
from enrich_assets.studies.dicom import short_name

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
