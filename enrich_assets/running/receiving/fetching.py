"""`enrich fetch`: studies from a PACS by DICOMweb (QIDO-RS to find, WADO-RS to retrieve) into `incoming/`.

dicomweb-client speaks the protocol. A study is handed over when its last file has come; one that broke off goes on with the next fetch.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from enrich_assets.running.receiving.arrivals import Arrivals, Kept

PAGE = 100  # studies asked for at a time


def fetch_studies(
    url: str,
    arrivals: Arrivals,
    filters: Mapping[str, str],
    say: Callable[[str], None],
    *,
    most: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> list[str]:
    """Fetch every study that matches.

    Parameters
    ----------
    url : str
        Of the DICOMweb service, for instance http://localhost:8042/dicom-web.
    filters : mapping
        DICOM keyword -> value as QIDO-RS has it, for instance StudyDate: 20260101-20260201.
    most : int, optional
        Studies at most.
    headers : mapping, optional
        Of each request, for instance an authorization.

    Returns
    -------
    list of str
        Names of the new drops.

    Raises
    ------
    OSError
        The server is not there, refuses, or breaks off; studies that had come whole are handed over.
    """
    from dicomweb_client.api import DICOMwebClient

    client = DICOMwebClient(url=url, headers=dict(headers or {}))
    drops: list[str] = []
    for count, study in enumerate(_found(client, filters, most), 1):
        new = 0
        for dataset in client.iter_study(study):
            content = io.BytesIO()
            dataset.save_as(content, enforce_file_format=True)
            new += arrivals.keep(study, str(dataset.SOPInstanceUID), content.getvalue()) is Kept.NEW
        handed = arrivals.hand_over(whole=study)
        drops += handed
        say(f"study {count:,}: {new:,} new files" + (f", incoming/{handed[0]}" if handed else "; nothing new"))
    return drops


def _found(client: Any, filters: Mapping[str, str], most: int | None) -> Iterator[str]:
    """StudyInstanceUIDs, page by page."""
    offset = 0
    while most is None or offset < most:
        asked = PAGE if most is None else min(PAGE, most - offset)
        page = client.search_for_studies(search_filters=dict(filters), limit=asked, offset=offset)
        for study in page:
            yield str(study["0020000D"]["Value"][0])
        offset += len(page)
        if len(page) < asked:
            return
